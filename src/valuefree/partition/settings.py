"""What an objective asks of the partition, checked before anything is computed. No torch."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from valuefree.errors import ConfigError

ESTIMATORS = ("reference", "monte_carlo", "coverage", "mean", "pooled", "quantile", "regressed", "zero")
USES_REFERENCE_SAMPLES = ("monte_carlo", "coverage", "pooled", "quantile", "regressed")


def check_settings(tau: float, estimator: str) -> None:
    """Raise ConfigError unless τ is positive and the estimator known."""
    if not (tau > 0 and math.isfinite(tau)):
        raise ConfigError(f"tau is {tau!r}; expected a positive number, in reward units.")
    if estimator not in ESTIMATORS:
        raise ConfigError(f"unknown estimator {estimator!r}; choose from {', '.join(ESTIMATORS)}.")


@dataclass(frozen=True)
class PartitionSettings:
    """What an objective asks of the partition; the trainer passes it on without reading it.

    tau: temperature, in reward units. estimator: a name from `ESTIMATORS`. on_policy: the responses were drawn from
    the reference. merge_duplicates: the same response twice for one prompt counts once, with its mean reward.
    length_normalize: token means instead of sums. level: κ, for the diagnostics.
    """

    tau: float
    estimator: str
    on_policy: bool = False
    merge_duplicates: bool = True
    length_normalize: bool = False
    level: float = math.inf

    def __post_init__(self) -> None:
        check_settings(self.tau, self.estimator)

    @property
    def needs_features(self) -> bool:
        """Whether a vector per prompt is to be given with the rewards."""
        return self.estimator == "regressed"

    def knobs(self) -> dict[str, Any]:
        """Keywords of `partition_report`; token means are taken before it."""
        return {name: value for name, value in asdict(self).items() if name != "length_normalize"}
