"""Options of ``valuefree inspect``; no torch."""

from dataclasses import dataclass
from typing import ClassVar

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import (
    DataOptions,
    LengthOptions,
    ModelOptions,
    ResultOptions,
    ScoreOptions,
)
from valuefree.cli.options.objective import ObjectiveOptions, partitioned, reference_samples_option
from valuefree.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class InspectConfig(DataOptions, ModelOptions, LengthOptions, ScoreOptions, ObjectiveOptions, ResultOptions):
    """Of ``valuefree inspect``."""

    about: ClassVar[str] = VERBS["inspect"]
    shown_first: ClassVar[tuple[str, ...]] = ("data", "model")
    recipe_of: ClassVar[str | None] = "train"
    reference_samples: str | None = reference_samples_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in partitioned():
            raise ConfigError(
                f"objective {self.objective} has no partition to inspect; {', '.join(partitioned())} has one."
            )
