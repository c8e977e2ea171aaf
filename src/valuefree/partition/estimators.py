r"""③ Estimators of the log-partition V̂(x) = τ log Ẑ(x), one value per prompt, one class each.

Everything is float64 on the CPU, in log space, without gradient, and over the whole data set at once: a partition over
a batch or a rank would be another number. Index spaces are part of names: ``_R`` responses, ``_P`` prompts.
"""

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from valuefree.errors import ConfigError
from valuefree.partition.inputs import PartitionData
from valuefree.partition.ranks import ranks
from valuefree.partition.regression import ridge_predictions, ridge_values
from valuefree.partition.segments import log1mexp, segment_logsumexp, segment_max, segment_mean, segment_sum

if TYPE_CHECKING:
    from valuefree.partition.report import PartitionReport

Input = Literal["reference_logps", "reference_samples", "features", "on_policy"]


class Estimator(ABC):
    """An estimator of V̂(x), without state. Subclasses are final and registered by `register`.

    name: by which settings choose it. summary: what it estimates, in one line; docs/partition.md repeats it. reads:
    inputs that change its values, besides the rewards and their prompts. allows_token_means: whether reference scores
    may be means per token, which are not log-probabilities of responses. reward_cancels: whether the reward of a
    prompt's only response cancels out of its target. recommended: whether reports name it as a remedy.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    reads: ClassVar[frozenset[Input]] = frozenset()
    allows_token_means: ClassVar[bool] = True
    reward_cancels: ClassVar[bool] = False
    recommended: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, data: PartitionData, *, tau: float, on_policy: bool) -> Float[Tensor, " P"]:
        """V̂ of every prompt; `data` holds what the estimator reads."""

    def target_rewards(self, data: PartitionData) -> Float[Tensor, " R"]:
        """The rewards that enter the target (r − V̂)/τ; by default as they are."""
        return data.rewards_R

    def warnings(self, report: "PartitionReport") -> list[str]:
        """What is likely to go wrong with this estimator on these data, and what to change."""
        return []


ESTIMATORS: dict[str, Estimator] = {}
E = TypeVar("E", bound=Estimator)


def register(cls: type[E]) -> type[E]:
    """Class decorator that adds an estimator to `ESTIMATORS`."""
    ESTIMATORS[cls.name] = cls()
    return cls


def estimator_named(name: str) -> Estimator:
    """The registered estimator.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in ESTIMATORS:
        raise ConfigError(f"unknown estimator {name!r}; choose from {', '.join(ESTIMATORS)}.")
    return ESTIMATORS[name]


@register
class Reference(Estimator):
    """V* + τ log π*(observed responses): it differs from V* by a coverage that more samples do not cure."""

    name = "reference"
    summary = "τ log Σ_j e^{ℓ_j + r_j/τ} over distinct responses (eq. 19)"
    reads = frozenset({"reference_logps"})
    reward_cancels = True

    def __call__(self, data: PartitionData, *, tau: float, on_policy: bool) -> Float[Tensor, " P"]:
        return tau * segment_logsumexp(data.logps_R + data.rewards_R / tau, data.prompt_of_R, data.prompts)

    def warnings(self, report: "PartitionReport") -> list[str]:
        """Responses that cover little of the reference's probability."""
        covered = report.median_log_coverage
        if covered >= -1:
            return []
        what = "probability (median)"
        if report.settings.length_normalize:
            what = "probability per token, summed over a prompt's responses (median)"
        return [
            f"the responses cover e^{covered:.0f} of the reference's {what}: eq. 19 then asks for targets near that "
            "many nats, whatever the reward. Use estimator='informed'."
        ]


@register
class MonteCarlo(Estimator):
    """Consistent where the responses, or the reference samples, were drawn from the reference."""

    name = "monte_carlo"
    summary = "τ (logsumexp(r/τ) − log n)"
    reads = frozenset({"reference_samples"})
    reward_cancels = True

    def __call__(self, data: PartitionData, *, tau: float, on_policy: bool) -> Float[Tensor, " P"]:
        return _log_mean_exp(*data.draws, data.prompts, tau)

    def warnings(self, report: "PartitionReport") -> list[str]:
        """A temperature below the rule for n responses."""
        return _tail_warnings(report)


@register
class Coverage(Estimator):
    """The exact sum over the observed responses, and V₀ for the rest of the reference's probability.

    C = Σ_j e^{ℓ_j} ≤ 1. V₀ is ``monte_carlo`` on-policy or with reference samples, else ``mean``.
    """

    name = "coverage"
    summary = (
        "τ log[Σ_j e^{ℓ_j + r_j/τ} + (1 − C) e^{V₀/τ}], C = Σ_j e^{ℓ_j}; between `reference` (C → 1) and V₀ (C → 0)"
    )
    reads = frozenset({"reference_logps", "reference_samples", "on_policy"})
    allows_token_means = False

    def __call__(self, data: PartitionData, *, tau: float, on_policy: bool) -> Float[Tensor, " P"]:
        unseen = "monte_carlo" if on_policy or data.samples is not None else "mean"
        return _seen_and_unseen(data, tau, ESTIMATORS[unseen](data, tau=tau, on_policy=on_policy))


@register
class Informed(Estimator):
    """``coverage`` with another V₀; r̄(x) is that of the reference samples, if there are any.

    r̄(x) is shrunk by the variance that the prediction leaves unexplained, beyond the noise of n rewards.
    """

    name = "informed"
    summary = (
        "`coverage`, with V₀ a mix of r̄(x) and a prediction of it; the prediction is a ridge regression on hidden "
        "states of the reference, fitted without this prompt"
    )
    reads = frozenset({"reference_logps", "reference_samples", "features"})
    allows_token_means = False
    recommended = True

    def __call__(self, data: PartitionData, *, tau: float, on_policy: bool) -> Float[Tensor, " P"]:
        means_P, variances_P = _means(*data.draws, data.prompts)
        predicted_P = ridge_predictions(_features(data, self.name), means_P)
        if variances_P is None:  # one reward per prompt: nothing tells noise from signal, so the prediction stands
            return _seen_and_unseen(data, tau, predicted_P)
        unexplained = ((means_P - predicted_P).square().mean() - variances_P.mean()).clamp(min=0.0)
        own_P = _own_weight(unexplained, variances_P)
        return _seen_and_unseen(data, tau, own_P * means_P + (1 - own_P) * predicted_P)


@register
class Mean(Estimator):
    """Shrunk by between / (between + within/n), the variances of the means and of a prompt's own mean."""

    name = "mean"
    summary = "r̄(x), shrunk toward the mean of the r̄(x)"
    recommended = True

    def __call__(self, data: PartitionData, *, tau: float, on_policy: bool) -> Float[Tensor, " P"]:
        return _shrunk(*_means(data.rewards_R, data.prompt_of_R, data.prompts))


@register
class GroupMean(Estimator):
    """With κ = ∞ the target is (r − r̄)/τ, that of PMD-mean (Kimi k1.5, arXiv 2501.12599; arXiv 2602.05933)."""

    name = "group_mean"
    summary = "r̄(x), as it is; of a single response its own reward, which then has no effect"
    reward_cancels = True

    def __call__(self, data: PartitionData, *, tau: float, on_policy: bool) -> Float[Tensor, " P"]:
        return segment_mean(data.rewards_R, data.prompt_of_R, data.prompts)


@register
class Pooled(Estimator):
    """The shrinkage is that of ``mean``, with the jackknife variance of ``monte_carlo``."""

    name = "pooled"
    summary = (
        "`monte_carlo`; the noisier a prompt's value (jackknife variance), the more it is shrunk toward the mean over "
        "prompts"
    )
    reads = frozenset({"reference_samples"})

    def __call__(self, data: PartitionData, *, tau: float, on_policy: bool) -> Float[Tensor, " P"]:
        rewards, prompt_of = data.draws
        estimates_P = _log_mean_exp(rewards, prompt_of, data.prompts, tau)
        if len(rewards) == data.prompts:
            return _shrunk(estimates_P, None)
        return _shrunk(estimates_P, _jackknife_variance(rewards, prompt_of, data.prompts, tau))

    def warnings(self, report: "PartitionReport") -> list[str]:
        """A temperature below the rule for n responses."""
        return _tail_warnings(report)


@register
class Quantile(Estimator):
    """The target takes the ranks too, so τ is in quantile units.

    With m reference samples V̂ is τ log Z_m, Z_m = (1/(m+1)) Σ_{k=0..m} e^{k/(mτ)}.
    """

    name = "quantile"
    summary = "`monte_carlo` of the ranks (`rank_rewards`)"
    reads = frozenset({"reference_samples"})

    def __call__(self, data: PartitionData, *, tau: float, on_policy: bool) -> Float[Tensor, " P"]:
        if data.samples is None:
            ranks_R = ranks(data.rewards_R, data.prompt_of_R, data.prompts, None)
            return _log_mean_exp(ranks_R, data.prompt_of_R, data.prompts, tau)
        counts: list[int] = torch.bincount(data.samples[1], minlength=data.prompts).numpy().tolist()
        value_of = {
            m: tau * float(torch.logsumexp(torch.arange(m + 1, dtype=torch.float64) / (m * tau), 0) - math.log(m + 1))
            for m in set(counts)
        }
        return torch.tensor([value_of[m] for m in counts], dtype=torch.float64)

    def target_rewards(self, data: PartitionData) -> Float[Tensor, " R"]:
        """Quantiles of the rewards."""
        return ranks(data.rewards_R, data.prompt_of_R, data.prompts, data.samples)


@register
class Regressed(Estimator):
    """``monte_carlo`` is regressed on-policy or with reference samples. Strengths are averaged by predictive error."""

    name = "regressed"
    summary = (
        "only the regression's prediction: of `monte_carlo` on-policy or with reference samples, otherwise of r̄(x)"
    )
    reads = frozenset({"reference_samples", "features", "on_policy"})

    def __call__(self, data: PartitionData, *, tau: float, on_policy: bool) -> Float[Tensor, " P"]:
        if on_policy or data.samples is not None:
            return ridge_values(_features(data, self.name), _log_mean_exp(*data.draws, data.prompts, tau))
        return ridge_values(_features(data, self.name), segment_mean(data.rewards_R, data.prompt_of_R, data.prompts))


@register
class Zero(Estimator):
    """The paper's RPO-noNorm."""

    name = "zero"
    summary = "0"

    def __call__(self, data: PartitionData, *, tau: float, on_policy: bool) -> Float[Tensor, " P"]:
        return torch.zeros(data.prompts, dtype=torch.float64)


# ------------------------------------------------------------------------------------------------- shared computations


def _log_mean_exp(
    rewards: Float[Tensor, " N"], prompt_of: Int[Tensor, " N"], prompts: int, tau: float
) -> Float[Tensor, " {prompts}"]:
    """τ log mean e^{r/τ}, −∞ without rows. A prompt's largest reward is subtracted before the division by τ."""
    top_P = segment_max(rewards, prompt_of, prompts)
    counts_P = torch.bincount(prompt_of, minlength=prompts).clamp(min=1)
    rest_P = segment_logsumexp((rewards - top_P[prompt_of]) / tau, prompt_of, prompts)
    return top_P + tau * (rest_P - counts_P.double().log())


def _seen_and_unseen(data: PartitionData, tau: float, unseen_P: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
    """The exact sum over what was observed, and `unseen_P` for the rest of the reference's probability."""
    log_coverage_P = segment_logsumexp(data.logps_R, data.prompt_of_R, data.prompts).clamp(max=0.0)
    seen_P = tau * segment_logsumexp(data.logps_R + data.rewards_R / tau, data.prompt_of_R, data.prompts)
    return tau * torch.logaddexp(seen_P / tau, log1mexp(log_coverage_P) + unseen_P / tau)


def _means(
    rewards: Float[Tensor, " N"], prompt_of: Int[Tensor, " N"], prompts: int
) -> tuple[Float[Tensor, " {prompts}"], Float[Tensor, " {prompts}"] | None]:
    """Mean reward of each prompt and the variance of that mean, None where every prompt has one reward."""
    means_P = segment_mean(rewards, prompt_of, prompts)
    if len(rewards) == prompts:
        return means_P, None
    within = (rewards - means_P[prompt_of]).square().sum() / (len(rewards) - prompts)
    return means_P, within / torch.bincount(prompt_of, minlength=prompts)


def _own_weight(between: Tensor, variances_P: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
    """Weight between / (between + own variance), 0 for 0/0."""
    total_P = between + variances_P
    return torch.where(total_P > 0, between / total_P, torch.zeros_like(total_P))


def _shrunk(estimates_P: Float[Tensor, " P"], variances_P: Float[Tensor, " P"] | None) -> Float[Tensor, " P"]:
    """a·estimate + (1 − a)·mean of the estimates, a from `_own_weight`; the mean alone without variances."""
    if len(estimates_P) == 1:
        return estimates_P
    if variances_P is None:
        return estimates_P.mean().expand_as(estimates_P).clone()
    between = (estimates_P.var(correction=1) - variances_P.mean()).clamp(min=0.0)
    own_P = _own_weight(between, variances_P)
    return own_P * estimates_P + (1 - own_P) * estimates_P.mean()


def _jackknife_variance(
    rewards: Float[Tensor, " N"], prompt_of: Int[Tensor, " N"], prompts: int, tau: float
) -> Float[Tensor, " {prompts}"]:
    """Jackknife variance of `monte_carlo` per prompt; a singleton takes the mean per-draw variance of the others.

    Rewards are taken relative to the prompt's largest, so that r/τ may exceed the precision of a float.
    """
    counts_P = torch.bincount(prompt_of, minlength=prompts)
    several = counts_P[prompt_of] > 1
    below = rewards - segment_max(rewards, prompt_of, prompts)[prompt_of]
    total_P = segment_logsumexp(below / tau, prompt_of, prompts)
    # Subtracting the largest term would cancel, so its sum is formed afresh; any other is at most half of the total.
    order = torch.argsort(below, descending=True, stable=True)
    order = order[torch.argsort(prompt_of[order], stable=True)]
    largest = torch.zeros_like(several)
    largest[order[counts_P.cumsum(0) - counts_P]] = True
    rest_P = _log_mean_exp(below[~largest], prompt_of[~largest], prompts, tau)
    others = (counts_P[prompt_of] - 1).clamp(min=1).double().log()
    remaining = torch.where(largest, -math.inf, below / tau - total_P[prompt_of])
    left_out = torch.where(largest, rest_P[prompt_of], tau * (total_P[prompt_of] + log1mexp(remaining) - others))
    left_out = left_out.where(several, torch.zeros_like(below))
    centred = left_out - segment_mean(left_out, prompt_of, prompts)[prompt_of]
    variance_P = segment_sum(centred.square(), prompt_of, prompts) * (counts_P - 1) / counts_P
    per_draw = (variance_P * counts_P)[counts_P > 1].mean()
    return torch.where(counts_P > 1, variance_P, per_draw)


def _features(data: PartitionData, name: str) -> Float[Tensor, "P D"]:
    if data.features_PD is None:
        raise ConfigError(f"estimator={name!r} needs features, a vector per prompt; the trainer computes them.")
    return data.features_PD


def _tail_warnings(report: "PartitionReport") -> list[str]:
    tau = report.settings.temperature
    if tau >= report.tau_floor:
        return []
    return [
        f"tau={tau:g} is below spread/√(2 log n) = {report.tau_floor:.2g}: so few responses cannot "
        "show the tail that such a tau weighs, and V̂ will come out too low. Raise tau, or use estimator='mean'."
    ]
