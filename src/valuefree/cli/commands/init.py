"""``valuefree init``: look at a log, and write a recipe for ``valuefree train``."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import datasets

from valuefree.cli.commands.recipe import LADDER, Log, Setting, choose_model, recipe_text, settings
from valuefree.cli.options.init import InitConfig
from valuefree.data import DataSummary, read_with_summary
from valuefree.data.exports.feedback import export_in
from valuefree.data.exports.guess import ROLES, SAMPLE, guess_columns
from valuefree.data.profile import profile
from valuefree.data.sources import rows_of
from valuefree.data.validation import NESTED, one_per_response
from valuefree.errors import ConfigError, DataError, number_of
from valuefree.models.availability import find_model
from valuefree.models.footprint import Shape
from valuefree.models.machine import measure_machine
from valuefree.runs.files import write_text

FEW = 20  # prompts, below which docs/choosing.md advises to collect more


def columns_of(options: InitConfig) -> list[Setting]:
    """The columns, as named, by their usual names or guessed; and whether the rewards are thumbs.

    Raises:
        DataError: a column that is neither named nor found.
    """
    first = list(islice(rows_of(options.data, options.split), SAMPLE))
    rows = [row.values for row in first if row.fault is None]
    if not rows:
        fault = f"{first[0].where}: {first[0].fault}" if first else "the file is empty"
        raise DataError(
            f"no readable row in {options.data}: {fault}. Expected one row per response, with a header in CSV."
        )
    there = {name for row in rows for name in row}
    inside = {name for row in rows for inner in one_per_response(row) for name in inner}
    inside |= {"response"} if "text" in inside and there & set(NESTED) else set()  # read without being named
    guess = guess_columns([inner for row in rows for inner in one_per_response(row)])
    found = []
    for role in ROLES:
        name, reason = getattr(options, role), "the column that you named"
        if name is None:
            name, reason = (role, "") if role in inside else (getattr(guess, role), guess.reasons[role])
        if name is None:
            raise _not_found(role, there, guess.reasons[role], guess.alternatives[role], options)
        if name != role:
            found.append(Setting(role, name, reason))
    chosen = {item.key: item.value for item in found}
    reward = chosen.get("reward", "reward")
    if guess_columns([{"reward": value} for value in _values(rows, reward)]).thumbs:
        found.append(Setting("thumbs", True, f"column {reward!r} holds thumbs: +1 and -1"))
    return found


def _values(rows: list[dict[str, Any]], name: str) -> list[Any]:
    """Values of a column, in nested rows too."""
    inner = [item for row in rows for key in NESTED for item in row.get(key) or [] if isinstance(item, Mapping)]
    return [row[name] for row in (*rows, *inner) if name in row]


def _not_found(role: str, there: set[str], reason: str, others: list[str], options: InitConfig) -> DataError:
    return DataError(
        f"no column of the {role} found in {options.data}: {reason}. There are: {', '.join(sorted(there))}. Name it: "
        f"`valuefree init {options.data} --{role} {others[0] if others else 'COLUMN'}`."
    )


def read_log(options: InitConfig) -> Log:
    """Read the rows that can be used.

    Raises:
        DataError: nothing to learn from, or nothing to hold out.
    """
    columns, rows, summary = _rows(options)
    where = [Setting("data", options.data, "relative to the folder in which `valuefree train` is called")]
    if options.split is not None:
        where.append(Setting("split", options.split, "of the hub data set"))
    found = profile(rows)
    if found.reward_std == 0:
        raise DataError(
            f"all {summary.rows} rewards of {options.data} equal {rows[0]['reward']:g}: there is nothing to learn from "
            "them. Log responses that were rated otherwise too, or name another column by --reward."
        )
    if summary.prompts < 2:
        raise DataError(
            f"{options.data} has one prompt, and at least one must be held out. Add prompts; docs/choosing.md says how "
            "many a report needs."
        )
    return Log((*where, *columns), summary, found)


def _rows(options: InitConfig) -> tuple[list[Setting], datasets.Dataset, DataSummary]:
    """The settings that read the rows, and the rows: of an export, or of a table."""
    table = options.from_ == "csv"
    columns = columns_of(options) if table else []
    given: dict[str, Any] = {item.key: item.value for item in columns}
    export = export_in(
        options.data,
        from_=options.from_,
        split=options.split,
        names=[given.get(role) or getattr(options, role) or role for role in ROLES],
        thumbs=given.get("thumbs", False),
        guess=False,
        score_name=options.score_name,
        categories=options.categories,
    )
    if export is None:
        columns = _with_categories(columns_of(options), options)
        given = {item.key: item.value for item in columns}
        rows, summary = read_with_summary(options.data, split=options.split, on_bad="drop", **given)
        if summary.dropped:
            reasons = ", ".join(f"{count} × {reason}" for reason, count in summary.dropped.items())
            columns.append(Setting("on_bad", "drop", f"left out: {reasons}"))
        return columns, rows, summary
    account = export.account
    if export.pairs:
        raise DataError(
            f"{options.data} holds pairs ({account.tool}) and no rewards. Train on them with `valuefree train "
            f"{options.data} --objective dpo`; docs/choosing.md says when TRL is the better choice."
        )
    columns.insert(0, Setting("from", account.tool, str(account).replace("\n", "; ")))
    if options.score_name is not None:
        columns.append(Setting("score_name", options.score_name, "the score that is the reward, as you named it"))
    rows, summary = read_with_summary(export.rows)
    return _with_categories(columns, options), rows, export.with_skipped(summary)


def _with_categories(columns: list[Setting], options: InitConfig) -> list[Setting]:
    labels = [Setting("categories", list(options.categories), "rewards of labels, as you gave them")]
    return [*columns, *(labels if options.categories else [])]


def shape_of(model: str) -> Shape | None:
    """The shape of a model by name; None if it is not known, is not found or is no model."""
    if model in LADDER:
        return LADDER[model]
    try:
        return Shape.of(find_model(model).config())
    except (ConfigError, OSError, ValueError):
        return None


def write_recipe(options: InitConfig) -> Log:
    """Write the recipe; returns what was found in the data."""
    log, machine = read_log(options), measure_machine()
    model = options.model or choose_model(log, machine)
    found = settings(log, machine, model, named=options.model is not None)
    text = recipe_text(options.out, log, machine, found, shape_of(model))
    write_text(Path(options.out), text)
    return log


def command(options: InitConfig) -> None:
    """Write a recipe; print the counts and the next commands."""
    summary = write_recipe(options).summary
    if summary.prompts < FEW:
        print(f"{number_of(summary.prompts, 'prompt')}: docs/choosing.md advises to collect more before training.")
    print(summary)
    print(f"written: {options.out}, with the reason for every setting")
    print(f"check it: valuefree train --config {options.out} --dry-run")
    print(f"train: valuefree train --config {options.out}")
