"""``valuefree import``: the export of a feedback tool as a file of rows."""

import shlex
from dataclasses import replace
from pathlib import Path

from valuefree.cli import show
from valuefree.cli.options.import_ import ImportConfig
from valuefree.data.exports.account import Record, Settings
from valuefree.data.exports.feedback import Feedback, read_feedback, read_records
from valuefree.data.exports.plain import ROLES, flags_of, is_zero_or_one, with_guess
from valuefree.errors import ConfigError, DataError
from valuefree.runs.files import write_jsonl

SHOWN = 3  # rows of the data beside a guess
CHARACTERS = 40  # of each value there


def read(options: ImportConfig) -> Feedback:
    """The rows and the account; for a table the columns that were named, or that --yes takes from the guess."""
    source = list(options.source)
    chosen = {role: getattr(options, role) for role in ROLES}
    thumbs = options.thumbs
    if options.from_ == "csv" and None in chosen.values():
        records = [record for _, record in read_records(source, options.split)[0]]
        if not records:
            raise DataError(f"{' '.join(source)} holds no rows.")
        settings, found = confirmed(options, records)
        chosen, thumbs = {role: getattr(settings, role) for role in ROLES}, found
    return read_feedback(
        source,
        from_=options.from_,
        score_name=options.score_name,
        categories=options.categories,
        thumbs=thumbs,
        split=options.split,
        **chosen,
    )


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
    if missing:
        there = ", ".join(dict.fromkeys(str(name) for record in records for name in record))
        raise ConfigError(f"no guess for {', '.join(missing)}; the columns are {there}. Name them:\n  {command}")
    if not options.yes:
        raise ConfigError(f"the columns are a guess. Take it by --yes, or say it yourself:\n  {command}")
    return settings, settings.thumbs


def command(options: ImportConfig) -> None:
    """Convert an export, write its rows, and say what was joined and skipped."""
    found = read(options)
    file = Path(options.out)
    write_jsonl(file, found.rows)
    print(found.account)
    objective = " --objective dpo" if found.pairs else ""
    print(f"written: {file}\nnext: valuefree train {shlex.quote(str(file))}{objective} --model MODEL")


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= CHARACTERS else text[: CHARACTERS - 1] + "…"
