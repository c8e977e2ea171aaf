"""Gain in reward over the reference, by importance weights w = e^ρ; for rows that the reference wrote."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from valuefree.evaluation.held_out.contrasts import prompt_means
from valuefree.evaluation.held_out.intervals import controlled, skewed_estimate, skewed_mean
from valuefree.evaluation.held_out.learned import Gain
from valuefree.evaluation.held_out.rows import LoggedRows
from valuefree.evaluation.held_out.wording import with_interval
from valuefree.evaluation.stats.estimate import Estimate

SMALLEST_SHARE = 0.35  # effective sample size as a share of the rows, below which no gain is printed
FEWEST_PROMPTS = 20  # below which the checks cannot fail often enough
_LARGEST = 300.0  # log-ratios are cut here, so that squares of weights are finite; the checks see the uncut ones


@dataclass(frozen=True, eq=False)
class Weighted:
    """Weights of the rows, and the two checks that come before any gain.

    Attributes:
        weights: e^ρ (R,), at most e³⁰⁰.
        mean_weight: mean over prompts of the prompt's mean weight; 1 for rows that the reference wrote.
        effective_share: (Σw)² / (R Σw²), Kish's effective sample size as a share of the rows.
    """

    weights: Float[np.ndarray, " R"]
    mean_weight: Estimate
    effective_share: float

    def failed(self) -> str | None:
        """Which check fails, as a sentence with its figures; None if a gain may be estimated."""
        if self.mean_weight.n < FEWEST_PROMPTS:
            return f"{self.mean_weight.n} prompts are too few for importance weights (at least {FEWEST_PROMPTS})."
        share = f"{100 * self.effective_share:.0f} %"
        mean = with_interval(self.mean_weight)
        if self.effective_share < SMALLEST_SHARE:
            return (
                f"the policy is too far from the reference: the effective sample size is {share} of the rows, below "
                f"{100 * SMALLEST_SHARE:.0f} % (mean weight {mean})."
            )
        low, high = self.mean_weight.interval or (self.mean_weight.value,) * 2
        if low - 1e-9 <= 1 <= high + 1e-9:
            return None
        return (
            f"the importance weights π/π_ref must average 1 on rows that the reference wrote, and they average {mean}. "
            "Either it did not write these rows as they were scored, or responses with large weights are missing."
        )


def weigh(rows: LoggedRows) -> Weighted:
    """Importance weights of the rows, with their checks."""
    weights = np.exp(np.minimum(rows.logratios, _LARGEST))
    scaled = np.exp(rows.logratios - rows.logratios.max())
    share = float(scaled.sum() ** 2 / (scaled**2).sum() / len(rows))
    return Weighted(weights, skewed_mean(prompt_means(weights, rows)), share)


def baselines(rows: LoggedRows, predicted: Float[np.ndarray, " P"] | None = None) -> Float[np.ndarray, " R"]:
    """The baseline b of each row, which depends on no reward of that row.

    It is the mean reward of the prompt's other responses. For a prompt with one response it is `predicted`, from prompt
    features, or else the mean over the other prompts of their mean rewards.
    """
    counts, means = rows.counts, prompt_means(rows.rewards, rows)
    single = means if rows.prompts == 1 else (means.sum() - means) / (rows.prompts - 1)
    if predicted is not None:
        single = predicted
    count = counts[rows.prompt_of]
    others = (means[rows.prompt_of] * count - rows.rewards) / np.maximum(count - 1, 1)
    return np.where(count > 1, others, single[rows.prompt_of])


def gain_terms(
    rows: LoggedRows, weights: Float[np.ndarray, " R"], baseline: Float[np.ndarray, " R"]
) -> Float[np.ndarray, " P"]:
    """Prompt means of (w − 1)(r − b); their mean over prompts is Ĝ.

    With two or more responses it is the unbiased sample covariance of w and r over the prompt's responses.
    """
    return prompt_means((weights - 1) * (rows.rewards - baseline), rows)


def estimate_gain(
    rows: LoggedRows, weighted: Weighted, *, tau: float | None, predicted: Float[np.ndarray, " P"] | None = None
) -> Gain:
    r"""Gain, KL and objective, each a mean over prompts with the interval of `skewed_mean`.

    .. math:: \hat G = \frac1P \sum_i \frac1{n_i} \sum_j (w_{ij} - 1)(r_{ij} - b_{ij}), \qquad
              \text{gain} = \hat G - \hat\beta (\bar w - 1)

    Ĝ is unbiased where E_ref[w | x] = 1 and b does not depend on the row. Ĝ is too small, with too small a standard
    error, in data sets in which large weights happen to be missing. Their mean weight is then below 1, so the
    difference from its known mean corrects for that (`controlled`): the interval is shorter, and it contains the truth
    more often. The KL terms wρ − w + 1 and w − 1 − ρ are not negative.

    Args:
        rows: R rows that the reference wrote.
        weighted: their weights, from `weigh`.
        tau: temperature of the objective in units of the rewards; None for no objective.
        predicted: reward of each prompt (P,), predicted from its features; the baseline of prompts with one response.
    """
    weights = weighted.weights
    baseline = baselines(rows, predicted)
    gains = gain_terms(rows, weights, baseline)
    forward = prompt_means(weights * rows.logratios - weights + 1, rows)
    backward = prompt_means(weights - 1 - rows.logratios, rows)
    control = prompt_means(weights - 1, rows)
    return Gain(
        gain=skewed_estimate(*controlled(gains, control)),
        plain=float(gains.mean()),
        self_normalised=_self_normalised(rows, weights, rows.rewards - baseline),
        mean_weight=weighted.mean_weight,
        effective_share=weighted.effective_share,
        kl_policy=skewed_mean(forward),
        kl_reference=skewed_mean(backward),
        objective=None if tau is None else skewed_estimate(*controlled(gains - tau * forward, control)),
    )


def controlled_gain(
    rows: LoggedRows, weighted: Weighted, *, predicted: Float[np.ndarray, " P"] | None = None
) -> tuple[float, Float[np.ndarray, " P"]]:
    """`gain` of `estimate_gain`, and its influence (P,): a mean whose standard deviation is that of one prompt."""
    terms = gain_terms(rows, weighted.weights, baselines(rows, predicted))
    return controlled(terms, prompt_means(weighted.weights - 1, rows))


def _self_normalised(
    rows: LoggedRows, weights: Float[np.ndarray, " R"], advantages: Float[np.ndarray, " R"]
) -> Estimate:
    """Σ w (r − b) / Σ w minus the mean of r − b, which is 0 where each prompt has two responses or more."""
    numerator, denominator = prompt_means(weights * advantages, rows), prompt_means(weights, rows)
    plain = prompt_means(advantages, rows)
    ratio = float(numerator.sum() / denominator.sum())
    influence = (numerator - ratio * denominator) / denominator.mean() - plain
    return skewed_estimate(ratio - float(plain.mean()), influence)
