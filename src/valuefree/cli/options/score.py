"""Options of ``valuefree score``; no torch."""

from dataclasses import dataclass
from typing import ClassVar

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import DataOptions, LengthOptions, ModelOptions, ScoreOptions, option


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(DataOptions, ModelOptions, LengthOptions, ScoreOptions):
    """Of ``valuefree score``."""

    about: ClassVar[str] = VERBS["score"]
    shown_first: ClassVar[tuple[str, ...]] = ("data", "model", "out")
    out: str = option(
        "scores.parquet",
        "Parquet file to write: prompt_id, logp (nats), tokens",
        group="output",
        output="file",
    )
    overwrite: bool = option(False, "replace the file out", group="output")
    dry_run: bool = option(False, "read and check the data, print the settings, and stop", group="output")
