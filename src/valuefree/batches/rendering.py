"""Render and tokenise prompts and responses, within limits, and count what was cut."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import pyarrow as pa
from datasets.utils import tqdm
from transformers import PreTrainedTokenizerBase

from valuefree.batches.turns import separated, stop_ids
from valuefree.data.columns import batches
from valuefree.data.storage import RowStore
from valuefree.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

TOKENIZED_ROWS = 1024  # rows that stand as Python lists at a time
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


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Token id that fills a batch; its content is never read."""
    return int(tokenizer.pad_token_id)  # type: ignore[arg-type]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, *, encoder_decoder: bool) -> list[int]:
    """Token ids of a prompt, ready to be answered: through the chat template where the tokenizer has one.

    Without a template, a decoder's prompt is separated from the response that follows it; see
    `valuefree.batches.turns.separated`.
    """
    return _prompts_ids(tokenizer, [prompt], encoder_decoder)[0]


def _prompts_ids(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], encoder_decoder: bool
) -> list[list[int]]:
    if tokenizer.chat_template:
        shape: dict[str, Any] = {"add_generation_prompt": True, "tokenize": False}
        rendered = [str(tokenizer.apply_chat_template(as_messages(prompt), **shape)) for prompt in prompts]
        return tokenizer(rendered, add_special_tokens=False)["input_ids"]  # type: ignore[return-value]
    texts = [as_text(prompt) for prompt in prompts]
    if not encoder_decoder:
        texts = separated(tokenizer, texts)
    return tokenizer(texts)["input_ids"]  # type: ignore[return-value]


def response_ids(tokenizer: PreTrainedTokenizerBase, response: str, *, encoder_decoder: bool) -> list[int]:
    """Token ids of a response, with the token that ends it; see `valuefree.batches.turns.end_of_turn`."""
    return _responses_ids(tokenizer, [response], encoder_decoder)[0]


def _responses_ids(tokenizer: PreTrainedTokenizerBase, responses: list[str], encoder_decoder: bool) -> list[list[int]]:
    if encoder_decoder:
        rows = tokenizer(text_target=responses)["input_ids"]
    else:
        rows = tokenizer(responses, add_special_tokens=False)["input_ids"]
    stops = stop_ids(tokenizer)
    return [ids if ids and ids[-1] in stops else [*ids, stops[0]] for ids in rows]  # type: ignore[index, list-item, union-attr]


def cut_prompt(ids: list[int], longest: int, *, encoder_decoder: bool) -> list[int]:
    """An encoder keeps the beginning and its closing token, a decoder the end, where the answer begins."""
    if len(ids) <= longest:
        return ids
    return [*ids[: longest - 1], ids[-1]] if encoder_decoder else ids[-longest:]


@dataclass(frozen=True)
class _Cutter:
    """Token ids within the limits."""

    limits: Limits
    encoder_decoder: bool

    def cut(self, prompt: list[int], response: list[int]) -> tuple[list[int], list[int], bool]:
        """What is left of prompt and response, and whether there was room for the latter."""
        limits = self.limits
        kept = cut_prompt(prompt, limits.max_prompt_length or limits.max_length, encoder_decoder=self.encoder_decoder)
        room = limits.max_length if self.encoder_decoder else limits.max_length - len(kept)
        room = min(room, limits.max_response_length or room)
        return kept, response[: max(room, 0)], room > 0


def tokenize(
    dataset: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, *, limits: Limits, encoder_decoder: bool
) -> tuple[datasets.Dataset, Truncation]:
    """Columns prompt_ids and response_ids (int32) beside the given ones, and what was truncated.

    A response that is cut loses the token that ends it, so that stopping there is not learned. A large table goes
    to a temporary file, as in `valuefree.data.read_triplets`.

    Raises:
        DataError: a response of which no token is left; names the rows.
    """
    cutter = _Cutter(limits, encoder_decoder)
    store = RowStore()
    gone: list[str] = []
    prompts_cut = responses_cut = row = 0
    with tqdm(total=len(dataset), desc="tokenise", unit=" rows") as bar:
        for table in batches(dataset, rows=TOKENIZED_ROWS):
            prompts = _prompts_ids(tokenizer, table.column("prompt").to_pylist(), encoder_decoder)
            responses = _responses_ids(tokenizer, table.column("response").to_pylist(), encoder_decoder)
            cut = [cutter.cut(*ids) for ids in zip(prompts, responses, strict=True)]
            gone += [
                f"row {index}: the prompt alone has {len(prompt)} tokens"
                for index, (prompt, _, room) in enumerate(cut, start=row)
                if not room
            ]
            prompts_cut += sum(len(kept) < len(whole) for (kept, _, _), whole in zip(cut, prompts, strict=True))
            responses_cut += sum(len(kept) < len(whole) for (_, kept, _), whole in zip(cut, responses, strict=True))
            if not gone:
                _store(store, table, [prompt for prompt, _, _ in cut], [response for _, response, _ in cut])
            row += len(table)
            bar.update(len(table))
    if gone:
        heading = f"{len(gone)} of {len(dataset)} responses are truncated away (max_length={limits.max_length}):"
        raise DataError.from_faults(heading, gone, "Raise max_length, or set max_prompt_length below it.")
    truncation = Truncation(prompts_cut, responses_cut, row)
    if truncation.prompts or truncation.responses:
        logger.warning("%s", truncation)
    return store.dataset(), truncation


def _store(store: RowStore, table: pa.Table, prompts: list[list[int]], responses: list[list[int]]) -> None:
    for name, ids in (("prompt_ids", prompts), ("response_ids", responses)):
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.append_column(name, pa.array(ids, pa.list_(pa.int32())))
    for batch in table.combine_chunks().to_batches():
        store.write(batch)
