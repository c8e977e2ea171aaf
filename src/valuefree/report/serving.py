"""Commands that load and serve a trained model, as text: for the command line and for model cards."""

GENERATE = "valuefree generate prompts.jsonl --model {folder} --out responses.jsonl"


def serving_commands(folder: str, *, encoder_decoder: bool, has_template: bool) -> str:
    """What serves the full weights in `folder`: lines of shell, with what to know as comments.

    Args:
        folder: path of the folder, as the commands name it.
        encoder_decoder: an architecture that vLLM does not have. ``transformers serve`` loads it, but takes the prompt
            for a part of the output, so an answer lacks as many tokens as the prompt has.
        has_template: the tokenizer has a chat template.
    """
    generate = GENERATE.format(folder=folder)
    if encoder_decoder:
        return (
            "# vLLM does not serve an encoder-decoder, and transformers serve cuts its answers.\n"
            f"# This package generates from it:\n{generate}"
        )
    lines = ["# pip install 'transformers[serving]'", f"transformers serve {folder}", f"vllm serve {folder}"]
    if not has_template:
        lines.insert(0, "# The tokenizer has no chat template: ask /v1/completions, not /v1/chat/completions.")
    return "\n".join(lines)


def loading_code(folder: str, *, encoder_decoder: bool, adapter: bool = False, classifier: bool = False) -> str:
    """Python that loads the model in `folder` with transformers, or peft, alone."""
    task = "SequenceClassification" if classifier else "Seq2SeqLM" if encoder_decoder else "CausalLM"
    auto = f"{'AutoPeftModelFor' if adapter else 'AutoModelFor'}{task}"
    imports = f"from peft import {auto}\nfrom transformers import" if adapter else f"from transformers import {auto},"
    return (
        f"{imports} AutoTokenizer\n"
        f'model = {auto}.from_pretrained("{folder}")\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{folder}")'
    )


def generating_code(*, encoder_decoder: bool, has_template: bool) -> str:
    """Python that goes on from `loading_code` to a response."""
    asked = 'tokenizer("Hello", return_tensors="pt")'
    if has_template:
        asked = (
            'tokenizer.apply_chat_template(\n    [{"role": "user", "content": "Hello"}], add_generation_prompt=True, '
            'return_tensors="pt", return_dict=True\n)'
        )
    answer = "output[0]" if encoder_decoder else 'output[0][inputs["input_ids"].shape[1]:]'
    return (
        f"inputs = {asked}\noutput = model.generate(**inputs, max_new_tokens=256)\n"
        f"print(tokenizer.decode({answer}, skip_special_tokens=True))"
    )


def ollama_commands(name: str) -> str:
    """What runs a GGUF file with a ``Modelfile`` beside it: lines of shell."""
    return f"ollama create {name} -f Modelfile && ollama run {name}\nllama-server -m {name}.gguf"
