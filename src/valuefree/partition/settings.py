"""Settings of a partition, checked before anything is computed."""

import math
from dataclasses import dataclass

from valuefree.errors import ConfigError
from valuefree.partition.estimators import ESTIMATORS, Estimator, estimator_named


@dataclass(frozen=True)
class PartitionSettings:
    """Settings of a partition; the trainer passes them on without reading them.

    tau: temperature, in reward units. estimator: a name in `ESTIMATORS`. on_policy: the responses were drawn from the
    reference; None, which counts as False, for a caller that cannot tell. merge_duplicates: the same response twice for
    one prompt counts once, with its mean reward. length_normalize: reference scores are means per token instead of
    sums. level: κ, the prior strength on V̂ in pseudo-responses; read by the report alone. on_policy_reason: how
    `on_policy` was decided, for the report. value_tau: temperature of V̂, where it is not that of the target.

    Raises:
        ConfigError: τ ≤ 0, an unknown estimator, or token means for an estimator that needs probabilities of responses.
    """

    tau: float
    estimator: str
    on_policy: bool | None = None
    merge_duplicates: bool = True
    length_normalize: bool = False
    level: float = math.inf
    on_policy_reason: str = ""
    value_tau: float | None = None

    def __post_init__(self) -> None:
        for name, tau in (("tau", self.tau), ("value_tau", self.temperature)):
            if not (tau > 0 and math.isfinite(tau)):
                raise ConfigError(f"{name} is {tau!r}; expected a positive number, in reward units.")
        if not self.rule.allows_token_means and self.length_normalize:
            raise ConfigError(
                f"estimator={self.estimator!r} needs probabilities of responses; length_normalize=True has none."
            )

    @property
    def temperature(self) -> float:
        """Temperature of V̂, in reward units."""
        return self.tau if self.value_tau is None else self.value_tau

    @property
    def rule(self) -> Estimator:
        """The estimator that the name stands for.

        Raises:
            ConfigError: an unknown name.
        """
        return estimator_named(self.estimator)

    @property
    def needs_features(self) -> bool:
        """Whether the estimator reads a vector per prompt."""
        return "features" in self.rule.reads

    def check_reference_samples(self) -> None:
        """Raise ConfigError unless the estimator reads samples of the reference."""
        if "reference_samples" not in self.rule.reads:
            readers = [name for name, rule in ESTIMATORS.items() if "reference_samples" in rule.reads]
            raise ConfigError(
                f"reference_samples are not read by estimator={self.estimator!r}, but by {', '.join(readers)}."
            )
