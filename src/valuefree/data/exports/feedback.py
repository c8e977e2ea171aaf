"""Read an export of a feedback tool, from files to rows, and recognise one where rows of this package are expected."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from valuefree.data.exports.account import Account, Record, Settings
from valuefree.data.exports.guess import guess_columns
from valuefree.data.exports.plain import advice
from valuefree.data.exports.recognise import READERS, recognise, tables_of
from valuefree.data.reward_values import read_categories
from valuefree.data.sources import ArrowRows, RawRow, chunks_of, rows_of
from valuefree.data.summary import DataSummary
from valuefree.data.validation import NESTED
from valuefree.errors import ConfigError, DataError
from valuefree.runs.files import expected_form

logger = logging.getLogger(__name__)

NAMES = ("prompt", "response", "reward")
WITH_NAMED_SCORES = ("langfuse", "langsmith", "otel", "phoenix", "argilla", "label-studio")
WITHOUT_COLUMNS = ("open-webui", "langfuse", "langsmith", "otel", "phoenix", "trl", "openai")


@dataclass(frozen=True)
class Feedback:
    """Rows of an export (prompt, response, reward and more; of pairs prompt, chosen, rejected), and the account."""

    rows: list[dict[str, Any]]
    account: Account

    @property
    def pairs(self) -> bool:
        """Whether the rows are pairs."""
        return "chosen" in self.rows[0]

    def with_skipped(self, summary: DataSummary) -> DataSummary:
        """The counts of these rows as they were read, with what the export skipped among the dropped."""
        return replace(summary, dropped=dict(self.account.skipped + Counter(summary.dropped)))


def read_feedback(
    source: Any,
    *,
    from_: str = "auto",
    score_name: str | None = None,
    categories: Mapping[str, float] | Iterable[str] = (),
    prompt: str | None = None,
    response: str | None = None,
    reward: str | None = None,
    thumbs: bool = False,
    split: str | None = None,
) -> Feedback:
    """Rows of a feedback tool's export, and the account of what was joined and skipped.

    Args:
        source: a JSONL, JSON, CSV or Parquet file, a folder or a list of these (such as scores and observations), a
            list of records, a hub name or a `datasets.Dataset`. All of it is read into memory.
        from_: open-webui, langfuse, langsmith, otel, phoenix, argilla, label-studio, trl, openai, csv (any table), or
            auto, which recognises all but csv by their fields.
        score_name: which score is the reward, where an export has several.
        categories: label → reward, or texts such as ``good=1,bad=-1``.
        prompt, response, reward: columns of a table; prompt and response also fields of argilla and label-studio.
        thumbs: 1 and 0, in a column of nothing else, are rewards +1 and −1.
        split: of a hub data set.

    Returns:
        Rows of prompt and response (text or messages), reward, and where the tool has them tools, raters (the number of
        ratings that the reward is the mean of), model, source_id. Pass ``.rows`` to `read_triplets`, or to `read_pairs`
        if ``.pairs``.

    Raises:
        DataError: unrecognised, or no row. ConfigError: a choice that the export leaves to the user.
    """
    records, unreadable = read_records(source, split)
    tool, by = recognise(records) if from_ == "auto" else (from_, "")
    if tool not in READERS:
        raise ConfigError(f"from is {tool!r}; choose from auto, {', '.join(READERS)}.")
    labels = read_categories(
        (f"{name}={number}" for name, number in categories.items()) if isinstance(categories, Mapping) else categories
    )
    settings = Settings(score_name, labels, prompt, response, reward, thumbs)
    _check_read(tool, settings)
    account = Account(tool, by)
    if unreadable:
        account.skipped["unreadable record"] += len(unreadable)
        account.notes.append(f"first unreadable record: {unreadable[0]}")
    tables, strange = tables_of(records, tool)
    if strange:
        _check_one_format(records, strange, tool, isinstance(source, (list, tuple)))
    account.read.update({kind: len(rows) for kind, rows in tables.items()})
    account.notes += [f"not read: {file}, which has no records of {tool}" for file in strange]
    advice = f"Remove the record at fault, or choose another tool than {tool} by --from; docs/exports.md lists them."
    with expected_form(f"{_named(source)}, {account.read_counts} of {tool}", advice):
        rows = READERS[tool].read(tables, settings, account)
    account.rows = len(rows)
    if not rows:
        wanted = "; ".join(f"{kind}: {', '.join(fields)}" for kind, fields in READERS[tool].KINDS.items() if fields)
        raise DataError(
            f"no row can be made of {_named(source)}.\n{account}\nThe reader of {tool} expects {wanted or 'rows'}."
        )
    return Feedback(rows, account)


def _check_one_format(records: Sequence[tuple[str, Record]], strange: Sequence[str], tool: str, listed: bool) -> None:
    """Raise DataError for files without a record of `tool`: all of them, or one in a list that holds other feedback."""
    others = [(file, record) for file, record in records if file in strange]
    files, read = ", ".join(strange), ", ".join(dict.fromkeys(file for file, _ in records if file not in strange))
    if read and not listed:
        return
    try:
        format = recognise(others)[0]
    except DataError as error:
        guess = guess_columns([record for _, record in others])
        if guess.prompt is None or guess.response is None:
            if read:
                return
            raise DataError(f"{files}: no records of {tool}; {error}") from None
        format = "csv"
    if not read:
        raise DataError(f"{files}: no records of {tool}. This looks like {format}: give --from {format}.")
    raise DataError(
        f"the files are of two formats: {read} is {tool}, and {files} looks like {format}. Import each on its own, "
        "with its own --out."
    )


def _named(source: Any) -> str:
    """A source, for messages."""
    if isinstance(source, (list, tuple)):
        return ", ".join(map(str, source)) if isinstance(source[0], (str, Path)) else "the records"
    return str(source)


def read_records(source: Any, split: str | None = None) -> tuple[Sequence[tuple[str, Record]], list[str]]:
    """All records with the file that each is from, and the faults of those that are unreadable.

    Raises:
        DataError: no record, with the first fault.
    """
    several = isinstance(source, (list, tuple)) and bool(source) and isinstance(source[0], (str, Path))
    rows = [(part, row) for part in (source if several else [source]) for row in rows_of(part, split)]
    found = [(_file_of(row, part), row.values) for part, row in rows if not row.fault]
    faults = [f"{row.where}: {row.fault}" for _, row in rows if row.fault]
    if not found:
        raise DataError(f"{_named(source)} holds no records: {faults[0] if faults else 'it is empty'}.")
    return found, faults


def _file_of(row: RawRow, source: Any) -> str:
    """The file in ``file:line``; of a source that is one file, its path."""
    if isinstance(source, (str, Path)) and Path(source).is_file():
        return str(source)
    return row.where.rpartition(":")[0] or _named(source)


def export_in(
    source: Any,
    *,
    from_: str,
    split: str | None,
    names: Sequence[str] = NAMES,
    desirable: str | None = None,
    guess: bool = True,
    **knobs: Any,
) -> Feedback | None:
    """The converted rows where `source` is an export; None for rows of this package, whose first row tells.

    Args:
        names: columns of prompt, response and reward; the default names leave the choice to the reader.
        desirable: column that may stand in for the reward. guess: raise for a table under other column names, rather
            than return None. knobs: of `read_feedback`.

    Raises:
        DataError: a table under other column names, with the guess and the flags to give.
    """
    if from_ == "auto" and not _is_export(source, split, names, desirable, guess):
        return None
    chosen = {role: None if name == role else name for role, name in zip(NAMES, names, strict=True)}
    found = read_feedback(source, from_=from_, split=split, **chosen, **knobs)
    logger.info("%s", found.account)
    return found


def _is_export(source: Any, split: str | None, names: Sequence[str], desirable: str | None, guess: bool) -> bool:
    chunk = next(iter(chunks_of(source, split, list(names))), [])
    first = None if isinstance(chunk, ArrowRows) else next((row for row in chunk if not row.fault), None)
    if first is None or _is_own(first.values, names, desirable):
        return False
    whole = isinstance(source, (str, Path)) and Path(source).is_dir()
    rows = rows_of(source, split) if whole else chunk
    records = [(_file_of(row, source), row.values) for row in rows if not row.fault]
    try:
        recognise(records)
    except DataError:
        table = [record for _, record in records]
        if guess and tuple(names) == NAMES and not any(set(names) & record.keys() for record in table):
            raise DataError(
                f"{source}: no column 'prompt', 'response' or 'reward', and not the export of a known tool.\n"
                f"{advice(table)}"
            ) from None
        return False
    return True


def _is_own(values: Record, names: Sequence[str], desirable: str | None) -> bool:
    prompt, response, reward = names
    if prompt not in values:
        return False
    rewarded = reward in values or (desirable or "") in values
    return (response in values and rewarded) or any(name in values for name in NESTED)


def _check_read(tool: str, settings: Settings) -> None:
    """Raise ConfigError for a setting that the reader of this tool does not read."""
    if settings.score_name is not None and tool not in WITH_NAMED_SCORES:
        raise ConfigError(f"nothing reads score_name: {tool} has no scores with names. Leave it out.")
    columns = [name for name in NAMES if getattr(settings, name) is not None]
    if tool in WITHOUT_COLUMNS and columns:
        raise ConfigError(f"nothing reads {', '.join(columns)}: {tool} has fields of its own. Leave it out.")
    if settings.reward is not None and tool != "csv":
        raise ConfigError(f"nothing reads reward: {tool} has scores with names, --score-name chooses. Leave it out.")
