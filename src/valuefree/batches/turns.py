"""End-of-response tokens, and the separator between prompt and response, with and without a chat template."""

from collections.abc import Sequence
from typing import Any, cast

from transformers import GenerationConfig, PreTrainedTokenizerBase

_ANSWER = "valuefree"  # content of the answer in the chat that `end_of_turn` renders


def eos_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Token id of the tokenizer's end of sequence."""
    return int(cast("int", tokenizer.eos_token_id))


def token_ids(tokenizer: PreTrainedTokenizerBase, *texts: Sequence[str], **options: Any) -> list[list[int]]:
    """Token ids of each text, without a limit; `options` are those of the tokenizer."""
    return cast("Any", tokenizer)(*texts, **options)["input_ids"]  # transformers types the ids as one of many forms


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """Token id that ends a response in training: the token that the chat template writes after an assistant's message.

    The template renders a question and an answer. If one of the tokenizer's special or added tokens follows the answer
    (after white space, if any), that token ends the turn: ``<|im_end|>`` in ChatML, ``<end_of_turn>`` in Gemma's
    template. In all other cases, and without a template, the tokenizer's end of sequence does.
    """
    if tokenizer.chat_template:
        chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _ANSWER}]
        _, answer, rest = str(tokenizer.apply_chat_template(chat, tokenize=False)).rpartition(_ANSWER)
        tokens = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.content}
        following = [text for text in tokens if answer and rest.lstrip().startswith(text)]
        if following:
            return tokens[max(following, key=len)]
    return eos_id(tokenizer)


def stop_ids(tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig | None = None) -> list[int]:
    """Distinct token ids that end a response; training appends the first.

    They are the end of the template's assistant turn, the tokenizer's end of sequence and, in generation, every
    ``eos_token_id`` of the model's `generation_config`.
    """
    configured = generation_config.eos_token_id if generation_config is not None else None
    ids = [] if configured is None else [configured] if isinstance(configured, int) else [int(t) for t in configured]
    return list(dict.fromkeys([end_of_turn(tokenizer), eos_id(tokenizer), *ids]))


def separated(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[str]:
    """Texts of prompts, each with a newline that separates it from a response; for tokenizers without a chat template.

    Nothing is appended to a prompt that ends in white space. No prompt is changed if the tokenizer itself separates
    two texts (SentencePiece writes a space before each) or has no token for a newline.
    """
    if _decoded_with_b(tokenizer, "a") != "ab" or _decoded_with_b(tokenizer, "a\n") != "a\nb":
        return list(texts)
    return [text if text[-1:].isspace() else text + "\n" for text in texts]


def _decoded_with_b(tokenizer: PreTrainedTokenizerBase, first: str) -> str:
    """Decoded tokens of `first` followed by those of "b", each tokenised alone."""
    before, after = token_ids(tokenizer, [first, "b"], add_special_tokens=False)
    return str(tokenizer.decode([*before, *after], clean_up_tokenization_spaces=False))
