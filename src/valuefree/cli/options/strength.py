"""Options of ``valuefree strength``; no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import ResultOptions, option, required
from valuefree.errors import ConfigError
from valuefree.runs.outputs import OutputKind


@dataclass(frozen=True, kw_only=True)
class StrengthConfig(ResultOptions):
    """Of ``valuefree strength``."""

    about: ClassVar[str] = VERBS["strength"]
    group: ClassVar[str] = "evaluation"
    shown_first: ClassVar[tuple[str, ...]] = ("run", "scale", "max_kl")
    run: str = required("folder of a run of valuefree train")
    scale: float | None = option(
        None, "give the policy this strength; 1 is as trained", otherwise="what the selection rows support", above=0
    )
    max_kl: float | None = option(
        None,
        "largest KL to the reference, in nats per response, where it can be estimated",
        otherwise="no limit",
        above=0,
    )
    apply: bool = option(
        True, "write the strength into the saved policy; --no-apply only prints the curve", group="output"
    )
    cache_dir: str | None = option(
        None,
        "folder of reference scores",
        otherwise="valuefree/scores in the user's cache folder",
        output="folder",
    )
    seed: int = option(0, "random seed of the resamples", minimum=0)
    allow_code: bool = option(
        False, "load code that the manifest of the run names, as with trust_remote_code", group="model", guarded=bool
    )

    def outputs(self) -> dict[str, tuple[str, OutputKind]]:
        """The policy is scaled in its own folder."""
        written = super().outputs()
        if self.apply and Path(self.run).exists():
            written["run"] = (self.run, "folder")
        return written

    def __post_init__(self) -> None:
        if self.scale is not None and self.max_kl is not None:
            raise ConfigError("scale gives the strength, max_kl limits its choice; give one of the two.")
