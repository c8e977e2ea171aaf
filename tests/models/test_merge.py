"""A merged folder: the logits of the adapter model, in transformers alone; what is refused, and what is published."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, TaskType, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from chat_templates import CHATML, byte_tokenizer
from conftest import make_llama, make_t5
from valuefree.errors import ConfigError
from valuefree.models import merge as module
from valuefree.models.load import load_model
from valuefree.models.merge import merge, push_to_hub
from valuefree.models.strength import strength_of

IDS = torch.arange(3, 9)[None]


def logits(model):
    decoder = {"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model.eval()(input_ids=IDS, **decoder).logits.float()


def adapter_folder(folder: Path, make, tokenizer, *, strength: float = 1.0, **base) -> Path:
    """An adapter with weights that are not zero, and beside it the base model that it names."""
    make(tokenizer, **base).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    model, _ = load_model(str(folder / "base"))
    torch.manual_seed(0)
    policy = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, target_modules="all-linear"))
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    if strength != 1.0:
        strength_of(policy).apply(strength)
    policy.save_pretrained(folder / "run" / "model")
    tokenizer.save_pretrained(folder / "run" / "model")
    return folder / "run"


@pytest.mark.parametrize(("make", "auto"), [(make_llama, AutoModelForCausalLM), (make_t5, AutoModelForSeq2SeqLM)])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_logits_of_the_merged_folder_are_those_of_the_adapter_model(tmp_path, tokenizer, make, auto, strength):
    run = adapter_folder(tmp_path, make, tokenizer, strength=strength)
    adapted, base = (logits(load_model(str(path))[0]) for path in (run, tmp_path / "base"))
    found = merge(run, tmp_path / "merged")
    assert found.encoder_decoder == (make is make_t5)
    merged = logits(auto.from_pretrained(tmp_path / "merged"))
    torch.testing.assert_close(merged, adapted, rtol=1e-5, atol=1e-5)
    assert (merged - base).abs().max() > 0.1
    assert not list((tmp_path / "merged").glob("adapter*"))


def test_each_kind_of_folder_gives_the_same_weights(tmp_path, tokenizer):
    run = adapter_folder(tmp_path, make_llama, tokenizer)
    merge(run, tmp_path / "of_run")
    merge(run / "model", tmp_path / "of_adapter")
    merge(tmp_path / "of_run", tmp_path / "of_weights")
    first, *others = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("of_run", "of_adapter", "of_weights")
    )
    assert all(other == first for other in others)


def test_the_folder_loads_without_this_package_and_stops_at_the_end_of_the_turn(tmp_path):
    """ChatML's end of turn is no end of sequence of this tokenizer: only the generation config tells a server."""
    tokenizer = byte_tokenizer(CHATML, special=("<|im_start|>", "<|im_end|>"))
    run = adapter_folder(tmp_path, make_llama, tokenizer)
    merge(run, tmp_path / "merged", dtype="bfloat16")
    code = (
        "import sys\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "print(model.dtype, model.generation_config.eos_token_id)\n"
        "print(tokenizer.apply_chat_template([{'role': 'user', 'content': 'Hi'}], tokenize=False))\n"
        "assert 'valuefree' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "merged")], capture_output=True, text=True, check=True
    )
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert done.stdout == f"torch.bfloat16 [{end}, 1]\n<|im_start|>user\nHi<|im_end|>\n\n"


def test_the_tokenizer_is_that_of_training(tmp_path, tokenizer, chat_tokenizer):
    run = adapter_folder(tmp_path, make_llama, tokenizer)
    chat_tokenizer.save_pretrained(run / "model")
    assert merge(run, tmp_path / "merged").has_template
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template == chat_tokenizer.chat_template


def test_a_folder_with_files_is_kept(tmp_path, tokenizer):
    run = adapter_folder(tmp_path, make_llama, tokenizer)
    merge(run, tmp_path / "merged")
    with pytest.raises(ConfigError, match="is not empty"):
        merge(run, tmp_path / "merged")
    (tmp_path / "merged" / "model-00002-of-00002.safetensors").write_bytes(b"of an earlier merge")
    merge(run, tmp_path / "merged", overwrite=True)
    assert [file.name for file in (tmp_path / "merged").glob("*.safetensors")] == ["model.safetensors"]
    with pytest.raises(ConfigError, match="is the model that is read"):
        merge(run, run / "model", overwrite=True)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match="may be your own"):
        merge(run, tmp_path / "own", overwrite=True)


def test_what_cannot_be_merged_is_refused(tmp_path, tokenizer):
    run = adapter_folder(tmp_path, make_llama, tokenizer)
    prompts = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=2)
    get_peft_model(load_model(str(tmp_path / "base"))[0], prompts).save_pretrained(tmp_path / "prompts")
    with pytest.raises(ConfigError, match="no weights to merge"):
        merge(tmp_path / "prompts", tmp_path / "merged")
    config = json.loads((run / "model" / "adapter_config.json").read_text())
    (run / "model" / "adapter_config.json").write_text(json.dumps(config | {"task_type": "SEQ_CLS"}))
    with pytest.raises(ConfigError, match="is a reward model"):
        merge(run, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_adapter_on_one_of_two_tied_weights_is_refused(tmp_path, tokenizer):
    """Merging into the head would change the embeddings too, so the merged model would be another policy."""
    make_llama(tokenizer, tie_word_embeddings=True).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    policy = get_peft_model(load_model(str(tmp_path / "base"))[0], LoraConfig(r=2, target_modules=["lm_head"]))
    torch.nn.init.normal_(policy.get_parameter("base_model.model.lm_head.lora_B.default.weight"))
    policy.save_pretrained(tmp_path / "adapter")
    with pytest.raises(ConfigError, match="Tied weights"):
        merge(tmp_path / "adapter", tmp_path / "merged")


class FakeHub:
    """Stands for huggingface_hub.HfApi: it keeps what it is asked for."""

    asked: list

    def create_repo(self, repository, **settings):
        self.asked.append(("create", repository, settings))
        return f"https://huggingface.co/{repository}"

    def upload_folder(self, **settings):
        self.asked.append(
            ("upload", settings["repo_id"], sorted(file.name for file in settings["folder_path"].iterdir()))
        )


def test_a_new_repository_is_private_and_gets_the_files_of_the_folder(tmp_path, monkeypatch):
    FakeHub.asked = []
    monkeypatch.setattr(module, "HfApi", FakeHub)
    (tmp_path / "config.json").write_text("{}")
    assert push_to_hub(tmp_path, "me/policy") == "https://huggingface.co/me/policy"
    assert FakeHub.asked == [
        ("create", "me/policy", {"private": True, "exist_ok": True}),
        ("upload", "me/policy", ["config.json"]),
    ]


def test_an_upload_that_fails_says_how_to_repeat_it(tmp_path):
    with pytest.raises(ConfigError, match="hf upload me/policy"):  # the tests run offline
        push_to_hub(tmp_path, "me/policy")
