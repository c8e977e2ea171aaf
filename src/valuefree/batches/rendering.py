"""Render and tokenise prompts and responses, truncate them to the limits, and count the truncated ones."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import datasets
import pyarrow as pa
from datasets.utils import tqdm
from transformers import PreTrainedTokenizerBase

from valuefree.batches.turns import separated, stop_ids, token_ids
from valuefree.data.columns import batches
from valuefree.data.prompts import Prompt, as_messages, as_text
from valuefree.data.storage import RowStore
from valuefree.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

TOKENIZED_ROWS = 1024  # rows held as Python lists at a time


@dataclass(frozen=True)
class Limits:
    """Longest sequences, in tokens.

    max_length: of prompt and response together (decoder-only), or of each of them (encoder-decoder).
    max_prompt_length, max_response_length: of the prompt and of the response alone; None for no separate limit.
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
    """Numbers of truncated prompts and responses, and of all rows."""

    prompts: int
    responses: int
    rows: int

    def __str__(self) -> str:
        return f"truncated: {self.prompts} prompts and {self.responses} responses of {self.rows} rows"


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Token id of padding; no result depends on it."""
    return int(cast("int", tokenizer.pad_token_id))


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, *, encoder_decoder: bool) -> list[int]:
    """Token ids of a prompt, up to where the response starts; the tokenizer's chat template is applied if there is one.

    Without a template, a decoder's prompt ends with a separator; see `valuefree.batches.turns.separated`.
    """
    return _prompts_ids(tokenizer, [prompt], encoder_decoder)[0]


def _prompts_ids(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], encoder_decoder: bool
) -> list[list[int]]:
    if tokenizer.chat_template:
        chats = [as_messages(prompt) for prompt in prompts]
        texts = [str(tokenizer.apply_chat_template(c, add_generation_prompt=True, tokenize=False)) for c in chats]
        return token_ids(tokenizer, texts, add_special_tokens=False)
    texts = [as_text(prompt) for prompt in prompts]
    if not encoder_decoder:
        texts = separated(tokenizer, texts)
    return token_ids(tokenizer, texts)


def response_ids(tokenizer: PreTrainedTokenizerBase, response: str, *, encoder_decoder: bool) -> list[int]:
    """Token ids of a response, including the token that ends it; see `valuefree.batches.turns.end_of_turn`."""
    return _responses_ids(tokenizer, [response], encoder_decoder)[0]


def _responses_ids(tokenizer: PreTrainedTokenizerBase, responses: list[str], encoder_decoder: bool) -> list[list[int]]:
    if encoder_decoder:
        rows = token_ids(tokenizer, text_target=responses)
    else:
        rows = token_ids(tokenizer, responses, add_special_tokens=False)
    stops = stop_ids(tokenizer)
    return [ids if ids and ids[-1] in stops else [*ids, stops[0]] for ids in rows]


def cut_prompt(ids: list[int], longest: int, *, encoder_decoder: bool) -> list[int]:
    """A prompt of at most `longest` tokens.

    For an encoder the beginning and the closing token are kept, for a decoder the end, where the response starts.
    """
    if len(ids) <= longest:
        return ids
    return [*ids[: longest - 1], ids[-1]] if encoder_decoder else ids[-longest:]


def _truncated(
    prompt: list[int], response: list[int], limits: Limits, encoder_decoder: bool
) -> tuple[list[int], list[int], bool]:
    """Prompt and response within the limits, and whether the limits leave any token for the response."""
    kept = cut_prompt(prompt, limits.max_prompt_length or limits.max_length, encoder_decoder=encoder_decoder)
    room = limits.max_length if encoder_decoder else limits.max_length - len(kept)
    room = min(room, limits.max_response_length or room)
    return kept, response[: max(room, 0)], room > 0


def tokenize(
    dataset: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, *, limits: Limits, encoder_decoder: bool
) -> tuple[datasets.Dataset, Truncation]:
    """The data set with the columns prompt_ids and response_ids (int32) added, and the counts of truncated texts.

    A truncated response has no end token, so the policy does not learn to stop there. A large table is written to a
    temporary file, as in `valuefree.data.read_triplets`.

    Raises:
        DataError: truncation leaves no token of a response; the message names the rows.
    """
    store = RowStore()
    faults: list[str] = []
    prompts_cut = responses_cut = row = 0
    with tqdm(total=len(dataset), desc="tokenise", unit=" rows", leave=False) as bar:
        for table in batches(dataset, rows=TOKENIZED_ROWS):
            prompts = _prompts_ids(tokenizer, table.column("prompt").to_pylist(), encoder_decoder)
            responses = _responses_ids(tokenizer, table.column("response").to_pylist(), encoder_decoder)
            cut = [_truncated(*ids, limits, encoder_decoder) for ids in zip(prompts, responses, strict=True)]
            faults += [
                f"row {index}: the prompt alone has {len(prompt)} tokens"
                for index, (prompt, _, room) in enumerate(cut, start=row)
                if not room
            ]
            prompts_cut += sum(len(kept) < len(whole) for (kept, _, _), whole in zip(cut, prompts, strict=True))
            responses_cut += sum(len(kept) < len(whole) for (_, kept, _), whole in zip(cut, responses, strict=True))
            if not faults:
                _store(store, table, [prompt for prompt, _, _ in cut], [response for _, response, _ in cut])
            row += len(table)
            bar.update(len(table))
    if faults:
        heading = f"{len(faults)} of {len(dataset)} responses are truncated away (max_length={limits.max_length}):"
        raise DataError.from_faults(heading, faults, "Raise max_length, or set max_prompt_length below it.")
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
