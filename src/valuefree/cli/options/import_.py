"""Options of ``valuefree import``; no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import ExportOptions, option, required
from valuefree.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ImportConfig(ExportOptions):
    """Of ``valuefree import``."""

    about: ClassVar[str] = VERBS["import"]
    group: ClassVar[str] = "data"
    shown_first: ClassVar[tuple[str, ...]] = ("source", "from_", "out", "yes")
    source: tuple[str, ...] = required(
        "JSONL, JSON, CSV or Parquet files of an export, a folder of them, or a hub name"
    )
    prompt: str | None = option(None, "column of the prompt", otherwise="guessed, for csv, argilla, label-studio")
    response: str | None = option(None, "column of the response", otherwise="guessed, for csv, argilla, label-studio")
    reward: str | None = option(None, "csv: column of the reward", otherwise="guessed")
    split: str | None = option(None, "split of a hub data set", otherwise="the only split of the set")
    thumbs: bool = option(False, "1 and 0, in a column of nothing else, are rewards +1 and -1")
    yes: bool = option(False, "csv: take the guessed columns")
    out: str = option(
        "rows.jsonl",
        "JSONL file to write: prompt, response, reward and more",
        group="output",
        output="file",
    )
    overwrite: bool = option(False, "replace the file out", group="output")

    def __post_init__(self) -> None:
        if not self.source:
            raise ConfigError("give a file or folder to import.")
        if any(Path(self.out).resolve() == Path(source).resolve() for source in self.source):
            raise ConfigError(f"{self.out} is both read and written; give another --out.")
        if self.from_ not in ("auto", "csv"):
            self.check_unread(("yes",), "only --from csv guesses columns")
