"""Options of ``valuefree report``; no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import Options, option, required
from valuefree.errors import ConfigError
from valuefree.runs.outputs import OutputKind


@dataclass(frozen=True, kw_only=True)
class ReportConfig(Options):
    """Of ``valuefree report``."""

    about: ClassVar[str] = VERBS["report"]
    group: ClassVar[str] = "output"
    shown_first: ClassVar[tuple[str, ...]] = ("runs", "out")
    runs: tuple[str, ...] = required(
        "folders of train, demo, evaluate or judge, or of one study; several are compared, their answers side by side"
    )
    out: str | None = option(
        None,
        "folder for report.html, report.md and figures",
        otherwise="that of the one run",
        output="folder",
    )

    def outputs(self) -> dict[str, tuple[str, OutputKind]]:
        """Without --out, the report is written into the folder of its run."""
        written = super().outputs()
        if self.out is None and Path(self.runs[0]).exists():
            written["runs"] = (self.runs[0], "folder")
        return written

    def __post_init__(self) -> None:
        if not self.runs:
            raise ConfigError("no run; give at least one folder: valuefree report RUN…")
        if len(self.runs) > 1 and self.out is None:
            raise ConfigError(f"{len(self.runs)} runs and no --out; name the folder for the report that compares them.")
