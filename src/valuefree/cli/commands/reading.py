"""From the options of the command line to rows; no torch."""

from typing import Any

import datasets

from valuefree.cli.options.groups import DataOptions
from valuefree.cli.options.objective import REWARD_MODEL, objectives_that_read
from valuefree.cli.options.train import TrainConfig
from valuefree.data import DataSummary, read_pairs_with_summary, read_with_summary
from valuefree.data.exports.feedback import Feedback, export_in
from valuefree.errors import ConfigError

Rows = tuple[datasets.Dataset, DataSummary]
_early: dict[DataOptions, Rows] = {}  # rows that `read_early` has read, until the command asks for them


def read_early(options: DataOptions) -> None:
    """Read the rows before the command is imported, so that their faults do not wait for torch and transformers."""
    _early.clear()
    _early[options] = _read(options)


def read(options: DataOptions) -> Rows:
    """The rows, and what was odd about them; of pairs where the options name their columns, or an export has them.

    What was skipped in an export is counted as dropped.
    """
    return _early.pop(options, None) or _read(options)


def _read(options: DataOptions) -> Rows:
    names = ("on_bad", "ignore_case", "train_on", "json_prompts")
    how: dict[str, Any] = {name: getattr(options, name) for name in names}
    where: dict[str, Any] = {"prompt": options.prompt, "split": options.split}
    desirable = None
    if isinstance(options, TrainConfig):
        desirable = options.desirable
        if options.chosen is not None and options.rejected is not None:
            return read_pairs_with_summary(
                options.data, chosen=options.chosen, rejected=options.rejected, **where, **how
            )
    columns: dict[str, Any] = {"response": options.response, "reward": options.reward, "desirable": desirable}
    chosen: dict[str, Any] = {"categories": options.categories, "thumbs": options.thumbs}
    export = export_of(options, desirable)
    if export is None:
        return read_with_summary(options.data, score_name=options.score_name, **where, **columns, **chosen, **how)
    if export.pairs:
        rows, summary = read_pairs_with_summary(export.rows, **how)
    else:
        if desirable is None and _reads_desirable(options) and "desirable" in export.rows[0]:
            desirable = "desirable"
        rows, summary = read_with_summary(export.rows, desirable=desirable, **how)
    return rows, export.with_skipped(summary)


def export_of(options: DataOptions, desirable: str | None) -> Feedback | None:
    """The rows of an export; None for rows of this package.

    Raises:
        ConfigError: an export of pairs for an objective that reads none.
    """
    export = export_in(
        options.data,
        from_=options.from_,
        split=options.split,
        names=(options.prompt, options.response, options.reward),
        desirable=desirable,
        thumbs=options.thumbs,
        score_name=options.score_name,
        categories=options.categories,
    )
    of_pairs = (*objectives_that_read("pair_id"), REWARD_MODEL)
    if export is not None and export.pairs and getattr(options, "objective", None) not in of_pairs:
        raise ConfigError(
            f"{options.data} holds pairs of a chosen and a rejected response, without rewards. Train on them with "
            f"--objective {', '.join(of_pairs[:-1])} or {of_pairs[-1]}."
        )
    return export


def _reads_desirable(options: DataOptions) -> bool:
    """Whether the objective takes a column of true/false, and no threshold was given in its place."""
    if not isinstance(options, TrainConfig):
        return False
    return options.objective in objectives_that_read("desirable") and "threshold" not in options.knobs()
