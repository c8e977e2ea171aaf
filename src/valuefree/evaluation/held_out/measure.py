"""What a policy has learned, from held-out rows of a feedback log."""

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri  # type: ignore[reportMissingTypeStubs]  # scipy has none

from valuefree.errors import DataError
from valuefree.evaluation.held_out.contrasts import (
    By,
    Contrasts,
    comparison_of,
    contrasts_of,
    fit_features,
    prompt_means,
)
from valuefree.evaluation.held_out.learned import Learned, Needed, Thumbs
from valuefree.evaluation.held_out.moments import explained, moments_of, products, rms, unit_sums
from valuefree.evaluation.held_out.ranking import accuracy_estimates, permutation_p, permutation_z, rank_pairs
from valuefree.evaluation.held_out.reweighted import reweighted_gain
from valuefree.evaluation.held_out.ridge import Ridge
from valuefree.evaluation.held_out.rows import LoggedRows
from valuefree.evaluation.held_out.weights import Weighted, controlled_gain, estimate_gain, weigh
from valuefree.evaluation.stats.estimate import Estimate

SMALL_ADVANTAGE, SMALL_GAIN = 0.05, 0.05  # effects for `Needed`: a ranking accuracy of 55 %, a gain of .05
_POWERED = float(ndtri(0.975) + ndtri(0.8))  # standard errors between chance and an effect that is seen in 80 %


def measure(
    rows: LoggedRows,
    *,
    train: LoggedRows | None = None,
    tau: float | None = None,
    sampled: str | None = None,
    seed: int = 0,
) -> Learned:
    """Measure what a policy has learned on held-out `rows`.

    Responses to the same prompt are compared if 20 prompts, or half of them, have two different rewards (`by="pairs"`).
    Else prompts are compared with each other (`by="rows"`), each with the means of its rows; if `rows` and `train` have
    features, predictions from the features are subtracted from log-ratios and rewards. Then other differences between
    prompts enter the ranking too.

    There is `evidence` of learning if the 95 % interval of the ranking lies above ½ and the one-sided permutation test
    has p < .05. A policy whose log-ratios are independent of the rewards passes in at most 5 % of data sets, about 2 to
    3 % in simulation. `docs/results/coverage_held_out.md` has this rate and the coverage of the intervals.

    No gain is estimated below 20 prompts, below an effective sample size of 35 % of the rows, or where the interval of
    the mean weight excludes 1. A 95 % interval excludes 1 in about 5 % of the sound data sets too.

    Args:
        rows: held-out rows; no policy was chosen by them.
        train: training rows, or a sample of them, for `train_ranking` and for the regression on features.
        tau: temperature of the objective, in units of the rewards of `rows`; None if it has none.
        sampled: None if the reference wrote the rows, as they were scored; else a sentence that says why no gain is
            estimated.
        seed: random seed of permutations, resamples and of a sample of training prompts.

    Raises:
        DataError: all rewards are equal, a temperature that is not positive, or features of different width.
    """
    by = comparison_of(rows)
    if tau is not None and not (np.isfinite(tau) and tau > 0):
        raise DataError(f"expected a temperature above 0 in units of the rewards, or None; got tau={tau}.")
    fitted = _fit(rows, train, seed=seed)
    predicted = None if fitted is None else fitted[1](np.asarray(rows.features))
    contrasts = contrasts_of(rows, by, predicted)
    ranked = rank_pairs(contrasts, contrasts.logratios)
    ranking, shorter = accuracy_estimates([ranked, rank_pairs(contrasts, -contrasts.lengths)], seed=seed)
    moments = moments_of(contrasts, tau=tau, seed=seed)
    p_value = permutation_p(contrasts, seed=seed)
    weighted = weigh(rows) if sampled is None else None
    no_gain = sampled if weighted is None else weighted.failed()
    rewards = None if predicted is None else predicted[:, 1]
    gain, gain_needed = None, None
    if weighted is not None and no_gain is None:
        gain = estimate_gain(rows, weighted, tau=tau, predicted=rewards)
        gain_needed = _prompts_for(_gain_error(rows, weighted, rewards), rows.prompts, SMALL_GAIN)
    return Learned(
        rows=len(rows),
        prompts=rows.prompts,
        by=by,
        compared=ranked.pairs if by == "pairs" else rows.prompts,
        ranking=ranking,
        permutation_p=p_value,
        shorter=shorter,
        partial_correlation=moments.partial_correlation,
        train_ranking=_train_ranking(train, by, fitted, adjusted=contrasts.adjusted, seed=seed),
        implied_tau=moments.implied_tau,
        explained_share=moments.explained_share,
        progress=moments.progress,
        rms=rms(contrasts_of(rows, by)),
        gain=gain,
        no_gain=no_gain,
        mean_weight=None if weighted is None else weighted.mean_weight,
        effective_share=None if weighted is None else weighted.effective_share,
        needed=Needed(_prompts_for(ranked.standard_error(), rows.prompts, SMALL_ADVANTAGE), gain_needed),
        evidence=is_evidence(ranking, p_value),
        adjusted=contrasts.adjusted,
        tau=tau,
        thumbs=thumbs_of(rows),
    )


def thumbs_of(rows: LoggedRows) -> Thumbs | None:
    """The share of thumbs up, where the rewards are −1 and 1, or 0 and 1."""
    values = np.unique(rows.rewards)
    if values.tolist() not in ([-1.0, 1.0], [0.0, 1.0]):
        return None
    return Thumbs(
        float(prompt_means((rows.rewards == 1.0).astype(np.float64), rows).mean()), float(values[1] - values[0])
    )


def is_evidence(ranking: Estimate, p_value: float) -> bool:
    """The rule of `Learned.evidence`: the interval of the ranking lies above ½, and the permutation p is below .05."""
    return ranking.interval is not None and ranking.interval[0] > 0.5 and p_value < 0.05


def _fit(rows: LoggedRows, train: LoggedRows | None, *, seed: int) -> tuple[LoggedRows, Ridge] | None:
    """The regression on features, if both sides have them and a prompt has one response."""
    if train is None or rows.features is None or train.features is None or rows.counts.min() > 1:
        return None
    if train.features.shape[1] != rows.features.shape[1]:
        raise DataError(
            f"expected features of one width; the held-out prompts have {rows.features.shape[1]}, "
            f"the training prompts {train.features.shape[1]}."
        )
    return fit_features(train, seed=seed)


def predict_features(rows: LoggedRows, train: LoggedRows | None, *, seed: int) -> Float[np.ndarray, "P 2"] | None:
    """Log-ratio and reward of each prompt of `rows`, predicted from its features; None without a regression."""
    fitted = _fit(rows, train, seed=seed)
    return None if fitted is None else fitted[1](np.asarray(rows.features))


def _train_ranking(
    train: LoggedRows | None, by: By, fitted: tuple[LoggedRows, Ridge] | None, *, adjusted: bool, seed: int
) -> Estimate | None:
    """Ranking accuracy on training rows, residuals by the regression without the prompt; None if nothing compares."""
    if train is None:
        return None
    predicted = None
    if adjusted and fitted is not None:
        train, predicted = fitted[0], fitted[1].left_out
    contrasts = contrasts_of(train, by, predicted)
    if not _varies(contrasts):
        return None
    return accuracy_estimates([rank_pairs(contrasts, contrasts.logratios)], seed=seed)[0]


def _varies(contrasts: Contrasts) -> bool:
    return bool((contrasts.centred[1] != 0).any())


def _gain_error(rows: LoggedRows, weighted: Weighted, predicted: Float[np.ndarray, " P"] | None) -> float:
    """Standard error of the gain, clustered by prompt."""
    _, influence = controlled_gain(rows, weighted, predicted=predicted)
    return float(influence.std(ddof=1) / np.sqrt(len(influence)))


def _prompts_for(standard_error: float, prompts: int, effect: float) -> int | None:
    """Prompts at which `effect` is seen with 80 % power, two-sided at 5 %; None where the values do not vary."""
    return int(np.ceil(prompts * (_POWERED * standard_error / effect) ** 2)) if standard_error > 0 else None


def quick_measures(rows: LoggedRows, *, tau: float | None = None, sampled: str | None = None) -> dict[str, float]:
    """Measures without intervals, for use during training; the names are those of logged metrics.

    Returns:
        ranking_accuracy: as `Learned.ranking`, without features.
        ranking_z: (T − E[T]) / sd(T) of T = Σ ρ̃ r̃ under permutations of the rewards.
        explained_share: squared correlation of ρ̃ and r̃ with its sign.
        reweighted_gain: see `valuefree.evaluation.held_out.reweighted`.
        rms_logratio: root mean square of ρ̃, in nats.
        progress: τ Σ ρ̃ r̃ / Σ r̃², with `tau`.
        effective_share: with `sampled=None`, which says that the reference wrote the rows.
        gain: likewise, if the checks of `measure` pass.

    Raises:
        DataError: all rewards are equal.
    """
    contrasts = contrasts_of(rows, comparison_of(rows))
    found = products(unit_sums(contrasts).sum(axis=0, keepdims=True))
    measures = {
        "ranking_accuracy": rank_pairs(contrasts, contrasts.logratios).accuracy,
        "ranking_z": permutation_z(contrasts),
        "explained_share": float(explained(found)[0]),
        "reweighted_gain": reweighted_gain(contrasts),
        "rms_logratio": rms(contrasts),
    }
    if tau is not None:
        measures["progress"] = tau * float(found[3, 0] / found[1, 0])
    if sampled is None:
        weighted = weigh(rows)
        measures["effective_share"] = weighted.effective_share
        if weighted.failed() is None:
            measures["gain"] = controlled_gain(rows, weighted)[0]
    return measures
