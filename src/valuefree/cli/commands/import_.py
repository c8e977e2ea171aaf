"""``valuefree import``: the export of a feedback tool as a file of rows."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from valuefree.cli import show
from valuefree.cli.options.import_ import ImportConfig
from valuefree.data.exports.account import Record, Settings
from valuefree.data.exports.feedback import Feedback, read_feedback, read_records
from valuefree.data.exports.plain import ROLES, flags_of, is_zero_or_one, with_guess
from valuefree.data.exports.recognise import recognise
from valuefree.data.validation import one_per_response
from valuefree.errors import ConfigError, DataError
from valuefree.runs.files import write_jsonl

SHOWN = 3  # rows of the data beside a guess
CHARACTERS = 40  # of each value there


def read(options: ImportConfig) -> Feedback:
    """The rows and the account; for a table the columns that were named, or that --yes takes from the guess."""
    source = list(options.source)
    chosen = {role: getattr(options, role) for role in ROLES}
    thumbs, tool = options.thumbs, options.from_
    records = read_records(source, options.split)[0]
    if tool == "auto":
        tool = _tool_of(records, options)
    if tool == "csv" and None in chosen.values():
        settings, found = confirmed(options, _responses(records))
        chosen, thumbs = {role: getattr(settings, role) for role in ROLES}, found
    return read_feedback(
        source,
        from_=tool,
        score_name=options.score_name,
        categories=options.categories,
        thumbs=thumbs,
        split=options.split,
        **chosen,
    )


def _tool_of(records: Sequence[tuple[str, Record]], options: ImportConfig) -> str:
    """Auto where the export of a tool is recognised; else csv, if prompt, response and reward are named or guessed.

    Raises:
        DataError: neither; lists what was looked for.
    """
    try:
        recognise(records)
    except DataError:
        named = Settings(prompt=options.prompt, response=options.response, reward=options.reward)
        settings, _ = with_guess(_responses(records), named)
        if any(getattr(settings, role) is None for role in ROLES):
            raise
        print("Not the export of a known tool; read as a table (--from csv).")
        return "csv"
    return "auto"


def _responses(records: Sequence[tuple[str, Record]]) -> list[Record]:
    """The records, one per response."""
    return [row for _, record in records for row in one_per_response(record)]


def confirmed(options: ImportConfig, records: list[Record]) -> tuple[Settings, bool]:
    """The columns with the guessed ones, and whether 1 and 0 are thumbs; prints the guess with rows of the data.

    Raises:
        ConfigError: the guess is incomplete, or --yes was not given; with the command that takes it.
    """
    named = Settings(prompt=options.prompt, response=options.response, reward=options.reward, thumbs=options.thumbs)
    settings, guess = with_guess(records, named)
    settings = replace(settings, thumbs=options.thumbs or is_zero_or_one(records, settings.reward))
    rows = []
    for role in ROLES:
        column = getattr(settings, role)
        reason = "as given" if getattr(options, role) else guess.reasons.get(role, "no column fits")
        values = [_shown(record.get(column)) if column else "" for record in records[:SHOWN]]
        rows.append((role, column or "?", reason, *values, *[""] * (SHOWN - len(values))))
    show.table("Guessed columns", rows, ("", "column", "why", *(f"row {number + 1}" for number in range(SHOWN))))
    missing = [role for role in ROLES if getattr(settings, role) is None]
    command = f"valuefree import {shlex.join(options.source)} --from csv {flags_of(settings)} --out {options.out}"
    command += " --overwrite" if options.overwrite else ""
    if missing:
        there = ", ".join(dict.fromkeys(str(name) for record in records for name in record))
        raise ConfigError(f"no guess for {', '.join(missing)}; the columns are {there}. Name them:\n  {command}")
    if not options.yes:
        raise ConfigError(f"the columns are a guess. Take it by --yes, or say it yourself:\n  {command}")
    return settings, settings.thumbs


def command(options: ImportConfig) -> None:
    """Convert an export, write its rows, and say what was joined and skipped."""
    file = Path(options.out)
    found = read(options)
    write_jsonl(file, found.rows)
    print(found.account)
    objective = " --objective dpo" if found.pairs else ""
    more = "   (or with --objective kto)" if "desirable" in found.rows[0] else ""
    print(f"written: {file}\nnext: valuefree train {shlex.quote(str(file))}{objective} --model MODEL{more}")


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= CHARACTERS else text[: CHARACTERS - 1] + "…"
