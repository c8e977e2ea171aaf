"""Options of ``valuefree inspect``; no torch."""

from dataclasses import dataclass
from typing import ClassVar

from valuefree.cli.options.groups import (
    REFERENCE_SAMPLES,
    DataOptions,
    LengthOptions,
    ModelOptions,
    ScoreOptions,
    option,
)
from valuefree.cli.options.objective import PARTITIONED, ObjectiveOptions
from valuefree.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class InspectConfig(DataOptions, ModelOptions, LengthOptions, ScoreOptions, ObjectiveOptions):
    """Of ``valuefree inspect``."""

    about: ClassVar[str] = "What this data and these settings will do, before anything is trained."
    reference_samples: str | None = option(None, REFERENCE_SAMPLES)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in PARTITIONED:
            raise ConfigError(
                f"objective {self.objective} has no partition to inspect; {', '.join(PARTITIONED)} has one."
            )
