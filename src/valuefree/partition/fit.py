"""③ The partition of a data set: V̂ of every prompt, and the report on it, from one computation."""

import math
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from valuefree.partition.inputs import Features, Index, PartitionData, Values, check_inputs
from valuefree.partition.report import PartitionReport
from valuefree.partition.settings import PartitionSettings


@dataclass(frozen=True)
class Partition:
    """The partition of R responses to P prompts.

    rewards_R: rewards as they enter the target (r − V̂)/τ, float64. values_P: V̂, float64.
    """

    settings: PartitionSettings
    data: PartitionData
    rewards_R: Float[Tensor, " R"]
    values_P: Float[Tensor, " P"]

    @cached_property
    def report(self) -> PartitionReport:
        """Diagnostics of these values; made once, when first asked for."""
        return PartitionReport.of(self.settings, self.data, self.rewards_R, self.values_P)


def fit_partition(
    rewards: Values,
    reference_logps: Values,
    prompt_of: Index,
    settings: PartitionSettings,
    *,
    response_of: Index | None = None,
    reference_rewards: Values | None = None,
    reference_prompt_of: Index | None = None,
    features: Features | None = None,
) -> Partition:
    """V̂ of every prompt, and what goes with it, by the estimator of the settings.

    Arguments besides `settings`, and errors, as in `partition_values`. With ``length_normalize`` the caller passes
    reference scores that are means per token.
    """
    rule = settings.rule
    if reference_rewards is not None:
        settings.check_reference_samples()
    data = check_inputs(
        rewards,
        reference_logps,
        prompt_of,
        response_of=response_of,
        reference_rewards=reference_rewards,
        reference_prompt_of=reference_prompt_of,
        features=features,
    )
    counted = data.merged() if settings.merge_duplicates else data
    values_P = rule(counted, tau=settings.temperature, on_policy=bool(settings.on_policy))
    return Partition(settings, data, rule.target_rewards(data), values_P)


def partition_values(
    rewards: Values,
    reference_logps: Values,
    prompt_of: Index,
    *,
    tau: float,
    estimator: str = "reference",
    on_policy: bool = True,
    response_of: Index | None = None,
    reference_rewards: Values | None = None,
    reference_prompt_of: Index | None = None,
    features: Features | None = None,
) -> Float[Tensor, " P"]:
    r"""V̂(x) for every prompt.

    Args:
        rewards: shape (R,), any unit.
        reference_logps: ℓ = log π_ref(y|x), shape (R,), in nats.
        prompt_of: the prompt of each response, shape (R,), numbered 0 … P−1 in any order without a gap.
        tau: temperature, in the unit of the rewards (of quantiles for ``quantile``).
        estimator: a name in `valuefree.partition.ESTIMATORS`; docs/partition.md has their formulas.
        on_policy: whether the responses were drawn from the reference; read by ``coverage`` and ``regressed``.
        response_of: shape (R,); equal numbers within a prompt are one response, which counts once with its mean
            reward. Without it every row is distinct.
        reference_rewards, reference_prompt_of: shape (S,), rewards of samples drawn from the reference.
        features: (P, d), read by ``informed`` and ``regressed``: a vector per prompt, such as states of the reference;
            float32 and arrays mapped from a file are read in batches, not copied.

    Returns:
        float64 tensor of shape (P,) on the CPU, without gradient.

    Raises:
        ConfigError: an unknown estimator; τ ≤ 0; reference samples for an estimator that does not read them; no
            features for one that does.
        DataError: unequal lengths, values that are not finite, a gap in `prompt_of`.

    Source: eq. 11 and 19 of the paper; docs/partition.md for the others.
    """
    return fit_partition(
        rewards,
        reference_logps,
        prompt_of,
        PartitionSettings(tau, estimator, on_policy),
        response_of=response_of,
        reference_rewards=reference_rewards,
        reference_prompt_of=reference_prompt_of,
        features=features,
    ).values_P


def partition_report(
    rewards: Values,
    reference_logps: Values,
    prompt_of: Index,
    *,
    tau: float,
    estimator: str = "reference",
    on_policy: bool = True,
    response_of: Index | None = None,
    reference_rewards: Values | None = None,
    reference_prompt_of: Index | None = None,
    features: Features | None = None,
    level: float = math.inf,
    merge_duplicates: bool = True,
    length_normalize: bool = False,
) -> PartitionReport:
    """Diagnostics of V̂ for a data set; the other arguments and the errors are those of `partition_values`.

    Args:
        rewards, reference_logps, prompt_of: shape (R,).
        response_of: shape (R,); without it no duplicate is counted.
        level: κ of the run, which weighs the differences between prompts in the initial loss.
        merge_duplicates: whether duplicates count once in V̂; they are counted as duplicates either way.
        length_normalize: whether `reference_logps` are means per token.
    """
    return fit_partition(
        rewards,
        reference_logps,
        prompt_of,
        PartitionSettings(tau, estimator, on_policy, merge_duplicates, length_normalize, level),
        response_of=response_of,
        reference_rewards=reference_rewards,
        reference_prompt_of=reference_prompt_of,
        features=features,
    ).report
