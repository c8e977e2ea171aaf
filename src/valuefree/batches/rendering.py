"""Render and tokenise prompts and responses, truncate them to the limits, and count the truncated ones."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import datasets
import pyarrow as pa
from datasets.utils import tqdm
from transformers import PreTrainedTokenizerBase

from valuefree.batches.chat import IgnoredFields, RenderError, render, row_name, turns_ids
from valuefree.batches.special_tokens import SpecialTokens
from valuefree.batches.turns import separated, stop_ids, token_ids
from valuefree.data.columns import batches
from valuefree.data.prompts import Conversation, Prompt, as_text, conversation_of
from valuefree.data.storage import RowStore
from valuefree.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

RESPONSE_MESSAGES = "response_messages"  # column of the messages of a response, as JSON text
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
    """Numbers of truncated prompts and responses, and of all rows.

    spelled: rows whose texts spell a special token of the tokenizer; it is read as text.
    """

    prompts: int
    responses: int
    rows: int
    spelled: int = 0

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
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], encoder_decoder: bool, *, first: int = 0
) -> list[list[int]]:
    """first: row number of the first prompt, for messages."""
    if tokenizer.chat_template:
        special = SpecialTokens.of(tokenizer)
        texts = [_rendered(special, prompt, row) for row, prompt in enumerate(prompts, start=first)]
        return special.template_ids(texts)
    texts = [as_text(prompt) for prompt in prompts]
    if not encoder_decoder:
        texts = separated(tokenizer, texts)
    return token_ids(tokenizer, texts, split_special_tokens=True)


def _rendered(special: SpecialTokens, prompt: Prompt, row: int) -> str:
    """The prompt through the chat template, with placeholders for special tokens that its texts spell."""
    try:
        return render(special.tokenizer, special.hidden_in(conversation_of(prompt)), generation_prompt=True)
    except RenderError as error:
        raise _not_rendered(row_name(row, prompt), error) from error


def _not_rendered(row: str, error: RenderError) -> DataError:
    return DataError(f"{row}: {error}. Change the row, or choose a model with another chat template.")


def unrendered(dataset: datasets.Dataset, tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Rows that the chat template cannot render, by number, with the reason; none without a template."""
    if not tokenizer.chat_template:
        return {}
    rows = _RowTokenizer(tokenizer, encoder_decoder=False)
    faults: dict[int, str] = {}
    for row, values in enumerate(cast("Iterable[dict[str, Any]]", dataset)):
        prompt, text = values["prompt"], values.get(RESPONSE_MESSAGES)
        try:
            _rendered(rows.special, prompt, row)
            rows.turns_ids(conversation_of(prompt), [] if text is None else json.loads(text), row)
        except DataError as error:
            faults[row] = str(error)
    return faults


def response_ids(tokenizer: PreTrainedTokenizerBase, response: str, *, encoder_decoder: bool) -> list[int]:
    """Token ids of a response, including the token that ends it; see `valuefree.batches.turns.end_of_turn`."""
    return _responses_ids(tokenizer, [response], encoder_decoder)[0]


def _responses_ids(tokenizer: PreTrainedTokenizerBase, responses: list[str], encoder_decoder: bool) -> list[list[int]]:
    if encoder_decoder:
        rows = token_ids(tokenizer, text_target=responses, split_special_tokens=True)
    else:
        rows = token_ids(tokenizer, responses, add_special_tokens=False, split_special_tokens=True)
    stops = stop_ids(tokenizer)
    return [ids if ids and ids[-1] in stops else [*ids, stops[0]] for ids in rows]


class _RowTokenizer:
    """Tokenises rows, and notes which fields of their messages the chat template ignores."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, encoder_decoder: bool):
        self.tokenizer, self.encoder_decoder = tokenizer, encoder_decoder
        self.ignored = IgnoredFields()
        self.special = SpecialTokens.of(tokenizer)
        self.spelled: list[int] = []  # rows whose texts spell a special token

    def ids(self, table: pa.Table, first: int) -> tuple[list[list[int]], list[list[int]]]:
        """Token ids of the prompts and of the responses; `first` is the number of the first row."""
        prompts = table.column("prompt").to_pylist()
        prompt_rows = _prompts_ids(self.tokenizer, prompts, self.encoder_decoder, first=first)
        responses = table.column("response").to_pylist()
        response_rows = _responses_ids(self.tokenizer, responses, self.encoder_decoder)
        given = RESPONSE_MESSAGES in table.column_names
        messages = table.column(RESPONSE_MESSAGES).to_pylist() if given else [None] * len(prompts)
        for index, (prompt, text) in enumerate(zip(prompts, messages, strict=True)):
            conversation = conversation_of(prompt)
            turns = [] if text is None else json.loads(text)
            if self.special.in_text(f"{prompt}{responses[index]}{text}"):
                self.spelled.append(first + index)
            if turns or not conversation.plain:
                own = self.turns_ids(conversation, turns, first + index)
                response_rows[index] = own or response_rows[index]
        return prompt_rows, response_rows

    def turns_ids(self, prompt: Conversation, turns: list[dict[str, Any]], row: int) -> list[int] | None:
        """Token ids of a response of messages; None where those of its text are right."""
        if not self.tokenizer.chat_template:
            if len(turns) > 1:
                raise DataError(
                    f"{row_name(row, prompt.prompt())}: the response has {len(turns)} messages, and the model has no "
                    "chat template to separate them. Train on the last message (--train-on last), or choose a "
                    "chat model."
                )
            return None
        try:
            self.ignored.check(self.tokenizer, prompt, turns, row)
            if not turns:
                return None
            return turns_ids(self.special, self.special.hidden_in(prompt), self.special.hidden(turns))
        except RenderError as error:
            raise _not_rendered(row_name(row, prompt.prompt()), error) from error

    def report(self) -> None:
        """Log what the chat template ignored, and texts that spell special tokens; raises DataError for tool calls."""
        if self.spelled:
            logger.warning(
                "%d rows spell special tokens of the tokenizer, such as %s, in their texts (first: row %d). They are "
                "read as text. Remove them if they are remains of a chat template.",
                len(self.spelled),
                max(self.special.ids, key=len),
                self.spelled[0],
            )
        self.ignored.report(f"the chat template of {self.tokenizer.name_or_path or 'the tokenizer'}")


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
    """Prompt and response within the limits, and whether the limits leave any token of the response to train."""
    kept = cut_prompt(prompt, limits.max_prompt_length or limits.max_length, encoder_decoder=encoder_decoder)
    room = limits.max_length if encoder_decoder else limits.max_length - len(kept)
    room = min(room, limits.max_response_length or room)
    response = response[: max(room, 0)]
    return kept, response, any(token >= 0 for token in response)


def tokenize(
    dataset: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, *, limits: Limits, encoder_decoder: bool
) -> tuple[datasets.Dataset, Truncation]:
    """The data set with the columns prompt_ids and response_ids (int32) added, and the counts of truncated texts.

    In response_ids a negative number ~t is token t as context: it is read and not trained, such as the result of a tool
    between two messages of the assistant.

    A truncated response has no end token, so the policy does not learn to stop there. A large table is written to a
    temporary file, as in `valuefree.data.read_triplets`.

    Raises:
        DataError: truncation leaves no token of a response to train; the chat template cannot render a row, or
            ignores its tools or tool calls. The message names the rows.
    """
    store = RowStore()
    rows = _RowTokenizer(tokenizer, encoder_decoder)
    faults: list[str] = []
    prompts_cut = responses_cut = row = 0
    with tqdm(total=len(dataset), desc="tokenise", unit=" rows", leave=False) as bar:
        for table in batches(dataset, rows=TOKENIZED_ROWS):
            prompts, responses = rows.ids(table, row)
            cut = [_truncated(*ids, limits, encoder_decoder) for ids in zip(prompts, responses, strict=True)]
            faults += [
                f"{row_name(row + index, table['prompt'][index].as_py())}: the prompt alone has {len(prompt)} tokens"
                for index, (prompt, _, room) in enumerate(cut)
                if not room
            ]
            prompts_cut += sum(len(kept) < len(whole) for (kept, _, _), whole in zip(cut, prompts, strict=True))
            responses_cut += sum(len(kept) < len(whole) for (_, kept, _), whole in zip(cut, responses, strict=True))
            if not faults:
                _store(store, table, [prompt for prompt, _, _ in cut], [response for _, response, _ in cut])
            row += len(table)
            bar.update(len(table))
    rows.report()
    if faults:
        heading = f"{len(faults)} of {len(dataset)} responses are truncated away (max_length={limits.max_length}):"
        raise DataError.from_faults(heading, faults, "Raise max_length, or set max_prompt_length below it.")
    truncation = Truncation(prompts_cut, responses_cut, row, len(rows.spelled))
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
