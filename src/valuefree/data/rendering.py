"""Render and tokenise prompts and responses, within limits, and count what was cut."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from transformers import PreTrainedTokenizerBase

from valuefree.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

Prompt = str | Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Limits:
    """Longest sequences, in tokens.

    max_length: of prompt and response together (decoder-only), or of each (encoder-decoder). max_prompt_length and
    max_response_length: of either alone, None for no limit of its own.
    """

    max_length: int = 1024
    max_prompt_length: int | None = None
    max_response_length: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_length", "max_prompt_length", "max_response_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; expected at least 1 token, or None.")


@dataclass(frozen=True)
class Truncation:
    """How many prompts and responses were cut, of how many rows."""

    prompts: int
    responses: int
    rows: int

    def __str__(self) -> str:
        return f"truncated: {self.prompts} prompts and {self.responses} responses of {self.rows} rows"


def as_messages(prompt: Prompt) -> list[dict[str, str]]:
    """A prompt as chat messages; a string is one user turn."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": message["role"], "content": message["content"]} for message in prompt]


def as_text(prompt: Prompt) -> str:
    """A prompt where there is no chat template: one user turn as it stands, several as ``role: content`` lines."""
    messages = as_messages(prompt)
    if len(messages) == 1 and messages[0]["role"] == "user":
        return messages[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)


def end_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """Token id that ends a response."""
    return int(tokenizer.eos_token_id)  # type: ignore[arg-type]


def padding_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """Token id that fills a batch; its content is never read."""
    return int(tokenizer.pad_token_id)  # type: ignore[arg-type]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Token ids of a prompt, ready to be answered: through the chat template where the tokenizer has one."""
    if tokenizer.chat_template:
        rendered = str(tokenizer.apply_chat_template(as_messages(prompt), add_generation_prompt=True, tokenize=False))
        return tokenizer(rendered, add_special_tokens=False)["input_ids"]
    return tokenizer(as_text(prompt))["input_ids"]


def response_ids(tokenizer: PreTrainedTokenizerBase, response: str, *, encoder_decoder: bool) -> list[int]:
    """Token ids of a response, end of sequence included."""
    if encoder_decoder:
        ids = tokenizer(text_target=response)["input_ids"]
    else:
        ids = tokenizer(response, add_special_tokens=False)["input_ids"]
    end = end_of(tokenizer)
    return ids if ids and ids[-1] == end else [*ids, end]


def cut_prompt(ids: list[int], longest: int, *, encoder_decoder: bool) -> list[int]:
    """An encoder keeps the beginning and its closing token, a decoder the end, where the answer begins."""
    if len(ids) <= longest:
        return ids
    return [*ids[: longest - 1], ids[-1]] if encoder_decoder else ids[-longest:]


def tokenize(
    dataset: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, *, limits: Limits, encoder_decoder: bool
) -> tuple[datasets.Dataset, Truncation]:
    """Columns prompt_ids and response_ids beside the given ones, and what was truncated.

    A response that is cut loses its end-of-sequence token, so that stopping there is not learned.

    Raises:
        DataError: a response of which no token is left; names the rows.
    """
    gone: list[str] = []

    def row(example: dict[str, Any], index: int) -> dict[str, Any]:
        prompt = prompt_ids(tokenizer, example["prompt"])
        response = response_ids(tokenizer, example["response"], encoder_decoder=encoder_decoder)
        kept = cut_prompt(prompt, limits.max_prompt_length or limits.max_length, encoder_decoder=encoder_decoder)
        room = limits.max_length if encoder_decoder else limits.max_length - len(kept)
        room = min(room, limits.max_response_length or room)
        if room < 1:
            gone.append(f"row {index}: the prompt alone has {len(kept)} tokens")
        short = response[: max(room, 0)]
        return {
            "prompt_ids": kept,
            "response_ids": short,
            "prompt_cut": len(kept) < len(prompt),
            "response_cut": len(short) < len(response),
        }

    table = dataset.map(row, with_indices=True, load_from_cache_file=False, keep_in_memory=True, desc="tokenise")
    if gone:
        heading = f"{len(gone)} of {len(dataset)} responses are truncated away (max_length={limits.max_length}):"
        raise DataError.from_faults(heading, gone, "Raise max_length, or set max_prompt_length below it.")
    cut = Truncation(sum(table["prompt_cut"]), sum(table["response_cut"]), len(table))
    if cut.prompts or cut.responses:
        logger.warning("%s", cut)
    return table.remove_columns(["prompt_cut", "response_cut"]), cut
