"""How a response ends, and what separates it from its prompt, by the chat template or without one."""

from collections.abc import Sequence

from transformers import GenerationConfig, PreTrainedTokenizerBase

_ANSWER = "valuefree"  # content that is looked for in a rendered chat


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """Token id that ends a response in training: what the chat template writes after an assistant's message.

    The template renders a question and an answer. If one of the tokenizer's special or added tokens follows the answer
    (white space aside), it is the end of the turn: ``<|im_end|>`` in ChatML, ``<end_of_turn>`` in Gemma's template. In
    all other cases, and without a template, the tokenizer's end of sequence is.
    """
    if tokenizer.chat_template:
        chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _ANSWER}]
        _, found, rest = str(tokenizer.apply_chat_template(chat, tokenize=False)).rpartition(_ANSWER)
        tokens = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.content}
        following = [text for text in tokens if found and rest.lstrip().startswith(text)]
        if following:
            return tokens[max(following, key=len)]
    return int(tokenizer.eos_token_id)  # type: ignore[arg-type]


def stop_ids(tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig | None = None) -> list[int]:
    """Token ids that end a response, without repetition; the first is the one that training appends.

    They are the end of the template's assistant turn, the tokenizer's end of sequence and, in generation, every
    ``eos_token_id`` of the model's `generation_config`.
    """
    own = generation_config.eos_token_id if generation_config is not None else None
    ids = [] if own is None else [own] if isinstance(own, int) else [int(token) for token in own]
    return list(dict.fromkeys([end_of_turn(tokenizer), int(tokenizer.eos_token_id), *ids]))  # type: ignore[arg-type]


def separated(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[str]:
    """Texts of prompts with what separates each from a response where there is no chat template: a newline.

    Nothing is appended to a prompt that ends in white space, nor where the tokenizer separates two texts by itself
    (SentencePiece writes a space before each) or has no newline. A chat template replaces this rule.
    """
    if _together(tokenizer, "a") != "ab" or _together(tokenizer, "a\n") != "a\nb":
        return list(texts)
    return [text if text[-1:].isspace() else text + "\n" for text in texts]


def _together(tokenizer: PreTrainedTokenizerBase, first: str) -> str:
    rows = tokenizer([first, "b"], add_special_tokens=False)["input_ids"]
    return str(tokenizer.decode([*rows[0], *rows[1]], clean_up_tokenization_spaces=False))  # type: ignore[misc]
