r"""③ Estimates of the log-partition V̂(x) = τ log Ẑ(x), one per prompt, from rewards and reference scores alone.

Everything here is float64 on the CPU, in log space, without gradient, and over the whole data set at once: a partition
over a batch or a rank would be another number. Index spaces are part of the names: ``_R`` responses, ``_P`` prompts.
"""

import math

import numpy as np
import torch
from torch import Tensor

from valuefree.errors import ConfigError
from valuefree.partition.inputs import Index, Rows, Values, checked_rows, floats, prompt_index, reference_samples_of
from valuefree.partition.regression import ridge_predictions, ridge_values
from valuefree.partition.segments import log1mexp, segment_logsumexp, segment_max, segment_mean, segment_sum
from valuefree.partition.settings import USES_REFERENCE_SAMPLES, PartitionSettings, check_settings


def _log_mean_exp(rewards_R: Tensor, prompt_of_R: Tensor, prompts: int, tau: float) -> Tensor:
    """τ log mean e^{r/τ}, −∞ without rows; r is taken from the prompt's largest before it is divided by τ."""
    top_P = segment_max(rewards_R, prompt_of_R, prompts)
    counts_P = torch.bincount(prompt_of_R, minlength=prompts).clamp(min=1)
    beyond_P = segment_logsumexp((rewards_R - top_P[prompt_of_R]) / tau, prompt_of_R, prompts)
    return top_P + tau * (beyond_P - counts_P.double().log())


def _reference(rows: Rows, tau: float, on_policy: bool) -> Tensor:
    return tau * segment_logsumexp(rows.logps_R + rows.rewards_R / tau, rows.prompt_of_R, rows.prompts)


def _draws(rows: Rows) -> tuple[Tensor, Tensor]:
    """What stands for draws from the reference: its scored samples if there are any, else the data."""
    return rows.samples or (rows.rewards_R, rows.prompt_of_R)


def _monte_carlo(rows: Rows, tau: float, on_policy: bool) -> Tensor:
    rewards, prompt_of = _draws(rows)
    return _log_mean_exp(rewards, prompt_of, rows.prompts, tau)


def _coverage(rows: Rows, tau: float, on_policy: bool) -> Tensor:
    sampled = on_policy or rows.samples is not None
    return _seen_and_unseen(rows, tau, (_monte_carlo if sampled else _mean)(rows, tau, on_policy))


def _seen_and_unseen(rows: Rows, tau: float, unseen_P: Tensor) -> Tensor:
    """The exact sum over what was observed, and `unseen_P` for the rest of the reference's probability."""
    log_coverage_P = segment_logsumexp(rows.logps_R, rows.prompt_of_R, rows.prompts).clamp(max=0.0)
    return tau * torch.logaddexp(_reference(rows, tau, True) / tau, log1mexp(log_coverage_P) + unseen_P / tau)


def _shrunk(estimates_P: Tensor, variances_P: Tensor, no_variance: bool) -> Tensor:
    """a·estimate + (1 − a)·mean of the estimates, a = between / (between + own variance), 0 for 0/0."""
    if len(estimates_P) == 1:
        return estimates_P
    if no_variance:
        return estimates_P.mean().expand_as(estimates_P).clone()
    between = (estimates_P.var(correction=1) - variances_P.mean()).clamp(min=0.0)
    total_P = between + variances_P
    weight_P = torch.where(total_P > 0, between / total_P, torch.zeros_like(total_P))
    return weight_P * estimates_P + (1 - weight_P) * estimates_P.mean()


def _mean(rows: Rows, tau: float, on_policy: bool) -> Tensor:
    counts_P = torch.bincount(rows.prompt_of_R, minlength=rows.prompts)
    means_P = segment_mean(rows.rewards_R, rows.prompt_of_R, rows.prompts)
    responses = len(rows.rewards_R)
    if responses == rows.prompts:
        return _shrunk(means_P, torch.zeros_like(means_P), no_variance=True)
    within = (rows.rewards_R - means_P[rows.prompt_of_R]).square().sum() / (responses - rows.prompts)
    return _shrunk(means_P, within / counts_P, no_variance=False)


def _jackknife_variance(rewards: Tensor, prompt_of: Tensor, prompts: int, tau: float) -> Tensor:
    """Jackknife variance of `monte_carlo` per prompt; a singleton takes the mean per-draw variance of the others.

    All is relative to the prompt's largest reward, so that a size of r/τ beyond the digits of a float costs nothing.
    """
    counts_P = torch.bincount(prompt_of, minlength=prompts)
    several = counts_P[prompt_of] > 1
    below = rewards - segment_max(rewards, prompt_of, prompts)[prompt_of]
    total_P = segment_logsumexp(below / tau, prompt_of, prompts)
    # Leaving out the largest term cancels, so it is summed afresh; any other is at most half of the total.
    order = torch.argsort(below, descending=True, stable=True)
    order = order[torch.argsort(prompt_of[order], stable=True)]
    largest = torch.zeros_like(several)
    largest[order[counts_P.cumsum(0) - counts_P]] = True
    rest_P = _log_mean_exp(below[~largest], prompt_of[~largest], prompts, tau)
    others = (counts_P[prompt_of] - 1).clamp(min=1).double().log()
    remaining = torch.where(largest, -math.inf, below / tau - total_P[prompt_of])
    values = torch.where(largest, rest_P[prompt_of], tau * (total_P[prompt_of] + log1mexp(remaining) - others)).where(
        several, torch.zeros_like(below)
    )
    centred = values - segment_mean(values, prompt_of, prompts)[prompt_of]
    variance_P = segment_sum(centred.square(), prompt_of, prompts) * (counts_P - 1) / counts_P
    per_draw = (variance_P * counts_P)[counts_P > 1].mean()
    return torch.where(counts_P > 1, variance_P, per_draw)


def _pooled(rows: Rows, tau: float, on_policy: bool) -> Tensor:
    rewards, prompt_of = _draws(rows)
    estimates_P = _log_mean_exp(rewards, prompt_of, rows.prompts, tau)
    if len(rewards) == rows.prompts:
        return _shrunk(estimates_P, torch.zeros_like(estimates_P), no_variance=True)
    return _shrunk(estimates_P, _jackknife_variance(rewards, prompt_of, rows.prompts, tau), no_variance=False)


def _quantile(rows: Rows, tau: float, on_policy: bool) -> Tensor:
    if rows.samples is None:
        ranks_R = rank_rewards(rows.rewards_R, rows.prompt_of_R)
        return _log_mean_exp(ranks_R, rows.prompt_of_R, rows.prompts, tau)
    counts_P = torch.bincount(rows.samples[1], minlength=rows.prompts)
    level_of = {
        m: tau * float(torch.logsumexp(torch.arange(m + 1, dtype=torch.float64) / (m * tau), 0) - math.log(m + 1))
        for m in counts_P.unique().tolist()
    }
    return torch.tensor([level_of[m] for m in counts_P.tolist()], dtype=torch.float64)


def _informed(rows: Rows, tau: float, on_policy: bool) -> Tensor:
    features_PD = _needed_features(rows, "informed")
    rewards, prompt_of = _draws(rows)
    counts_P = torch.bincount(prompt_of, minlength=rows.prompts)
    means_P = segment_mean(rewards, prompt_of, rows.prompts)
    predicted_P = ridge_predictions(features_PD, means_P)
    if len(rewards) == rows.prompts:  # one draw each: nothing tells noise from signal, so the others' word counts
        return _seen_and_unseen(rows, tau, predicted_P)
    within = (rewards - means_P[prompt_of]).square().sum() / (len(rewards) - rows.prompts)
    variance_P = within / counts_P
    beyond = ((means_P - predicted_P).square().mean() - variance_P.mean()).clamp(min=0.0)
    total_P = beyond + variance_P
    own_P = torch.where(total_P > 0, beyond / total_P, torch.zeros_like(total_P))
    return _seen_and_unseen(rows, tau, own_P * means_P + (1 - own_P) * predicted_P)


def _needed_features(rows: Rows, name: str) -> Tensor:
    if rows.features_PD is None:
        raise ConfigError(f"estimator={name!r} needs features, a vector per prompt; the trainer computes them.")
    return rows.features_PD


def _regressed(rows: Rows, tau: float, on_policy: bool) -> Tensor:
    features_PD = _needed_features(rows, "regressed")
    if on_policy or rows.samples is not None:
        return ridge_values(features_PD, _monte_carlo(rows, tau, on_policy))
    return ridge_values(features_PD, segment_mean(rows.rewards_R, rows.prompt_of_R, rows.prompts))


def _zero(rows: Rows, tau: float, on_policy: bool) -> Tensor:
    return torch.zeros(rows.prompts, dtype=torch.float64)


_BY_NAME = {
    "reference": _reference,
    "monte_carlo": _monte_carlo,
    "coverage": _coverage,
    "informed": _informed,
    "mean": _mean,
    "pooled": _pooled,
    "quantile": _quantile,
    "regressed": _regressed,
    "zero": _zero,
}


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
    features: Tensor | np.ndarray | None = None,
) -> Tensor:
    r"""V̂(x) for every prompt.

    ================  ==========================================================================================
    ``reference``     τ log Σ_j exp(ℓ_j + r_j/τ), eq. 19; V* + τ log π*(observed): a coverage number
    ``monte_carlo``   τ (logsumexp(r/τ) − log n); consistent when y ~ π_ref
    ``coverage``      τ log[Σ_j e^{ℓ_j + r_j/τ} + (1 − C) e^{V₀/τ}], C = Σ_j e^{ℓ_j} ≤ 1, V₀ = ``monte_carlo`` on
                      policy (or with reference samples), else ``mean``
    ``informed``      ``coverage`` with V₀ = r̄(x) (of the reference samples, if any) shrunk toward its ridge prediction
                      from the `features` of the other prompts, by what the prediction leaves unexplained
    ``mean``          r̄(x) shrunk toward the mean of the r̄(x) by between / (between + within/n)
    ``pooled``        ``monte_carlo`` shrunk toward its mean over prompts, with its jackknife variance
    ``quantile``      ``monte_carlo`` of `rank_rewards`; with m reference samples τ log Z_m; τ in quantile units
    ``regressed``     ridge regression on `features` of ``monte_carlo`` on policy (or with reference samples), else of
                      r̄(x); averaged over strengths by how well each prompt is predicted from the others
    ``zero``          0, the paper's RPO-noNorm
    ================  ==========================================================================================

    Args:
        rewards: shape (R,), any unit.
        reference_logps: ℓ = log π_ref(y|x), shape (R,), in nats.
        prompt_of: the prompt of each response, shape (R,), numbered 0 … P−1 in any order without a gap.
        tau: temperature, in the unit of the rewards (of quantiles for ``quantile``).
        estimator: a name from the table.
        on_policy: whether the responses were drawn from the reference; read by ``coverage`` and ``regressed``.
        response_of: shape (R,); equal numbers within a prompt are one response, which counts once with its mean
            reward. Without it every row is distinct.
        reference_rewards, reference_prompt_of: shape (S,), rewards of samples drawn from the reference.
        features: (P, d), read by ``informed`` and ``regressed``: a vector per prompt, such as states of the reference;
            float32 and arrays mapped from a file are read in batches, not copied.

    Returns:
        float64 tensor of shape (P,) on the CPU, without gradient.

    Raises:
        ConfigError: unknown estimator, τ ≤ 0, or reference samples for an estimator that does not use them, no
            features for the one that does.
        DataError: unequal lengths, values that are not finite, a gap in `prompt_of`.

    Source: eq. 11 and 19 of the paper; docs/partition.md for the others.
    """
    check_settings(tau, estimator)
    if reference_rewards is not None and estimator not in USES_REFERENCE_SAMPLES:
        raise ConfigError(
            f"estimator {estimator!r} does not use reference_rewards; {', '.join(USES_REFERENCE_SAMPLES)} do."
        )
    rows = checked_rows(
        rewards, reference_logps, prompt_of, response_of, reference_rewards, reference_prompt_of, features
    )
    return _BY_NAME[estimator](rows, tau, on_policy)


def rank_rewards(
    rewards: Values,
    prompt_of: Index,
    *,
    reference_rewards: Values | None = None,
    reference_prompt_of: Index | None = None,
) -> Tensor:
    """Rewards as quantiles of their prompt, float64 of shape (R,): QRPO's transform (arXiv 2507.08068).

    Without reference samples the in-group mid-rank (k − ½)/n, ties sharing their mean rank; with them the share of the
    prompt's reference samples that are ≤ r. Arguments and errors as in `partition_values`.
    """
    rewards_R = floats("rewards", rewards)
    prompt_of_R, prompts = prompt_index("prompt_of", prompt_of, len(rewards_R))
    samples = reference_samples_of(reference_rewards, reference_prompt_of, prompts)
    pool, pool_prompt = samples or (rewards_R, prompt_of_R)
    below_R, equal_R = _counts_below(rewards_R, prompt_of_R, pool, pool_prompt, prompts)
    counts_R = torch.bincount(pool_prompt, minlength=prompts)[prompt_of_R]
    if samples is not None:
        return (below_R + equal_R) / counts_R
    return (below_R + 0.5 * equal_R) / counts_R


def _counts_below(values, prompt_of, pool, pool_prompt, prompts: int) -> tuple[Tensor, Tensor]:
    """For each value, how many of its prompt's pool are smaller, and how many equal; by sorting, O(N log N)."""
    _, levels = torch.unique(torch.cat([pool, values]), return_inverse=True)
    width = int(levels.max()) + 1
    keys = torch.sort(pool_prompt * width + levels[: len(pool)]).values
    wanted = prompt_of * width + levels[len(pool) :]
    starts = torch.searchsorted(keys, prompt_of * width)
    first, last = torch.searchsorted(keys, wanted), torch.searchsorted(keys, wanted, right=True)
    return (first - starts).double(), (last - first).double()


def partition_targets(
    rewards: Values,
    reference_logps: Values,
    prompt_of: Index,
    settings: PartitionSettings,
    **rows,
) -> tuple[Tensor, Tensor]:
    """The rewards that enter the target (R,) and V̂ per prompt (P,): ``quantile`` changes both.

    `rows` takes `response_of`, `reference_rewards`, `reference_prompt_of` and `features` as in `partition_values`.
    """
    values_P = partition_values(
        rewards,
        reference_logps,
        prompt_of,
        tau=settings.tau,
        estimator=settings.estimator,
        on_policy=settings.on_policy,
        **{**rows, "response_of": rows.get("response_of") if settings.merge_duplicates else None},
    )
    if settings.estimator != "quantile":
        return floats("rewards", rewards), values_P
    samples = {name: rows.get(name) for name in ("reference_rewards", "reference_prompt_of")}
    return rank_rewards(rewards, prompt_of, **samples), values_P
