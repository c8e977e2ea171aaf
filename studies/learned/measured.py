"""What held-out rows say about the policies of a run, by every measure, beside the truth. No torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from studies.learned.points import logged_rows
from valuefree.evaluation.held_out.contrasts import centre
from valuefree.evaluation.held_out.intervals import skewed_mean
from valuefree.evaluation.held_out.measure import quick_measures
from valuefree.evaluation.held_out.rows import LoggedRows
from valuefree.evaluation.held_out.strength_choice import choose_strength
from valuefree.evaluation.held_out.weights import baselines, estimate_gain, gain_terms, weigh
from valuefree.evaluation.stats import Estimate, clustered_mean

RANKING, Z, SHARE, PROGRESS = "ranking accuracy", "permutation z", "explained share", "progress"
GAIN, LOWER = "estimated gain, checked", "lower end of the gain, checked"
UNCHECKED, NORMALISED, REWEIGHTED = "estimated gain, unchecked", "self-normalised gain, unchecked", "reweighted gain"
LOSS, TRAINING_LOSS = "held-out loss", "loss on training rows"
MEASURES = (RANKING, Z, SHARE, GAIN, LOWER, UNCHECKED, NORMALISED, REWEIGHTED)  # of every method
WITH_TAU = (PROGRESS, LOSS, TRAINING_LOSS)  # of methods with a temperature
Values = dict[str, float | None]


def squared_loss(rows: LoggedRows, tau: float) -> float:
    """Mean of ½(ρ̃ − r̃/τ)², with ρ and r centred within prompts."""
    logratios, rewards = (centre(values, rows.prompt_of) for values in (rows.logratios, rows.rewards))
    return float(((logratios - rewards / tau) ** 2).mean() / 2)


def measures_of(rows: LoggedRows, training: LoggedRows, tau: float | None) -> Values:
    """Every measure; larger is better, so losses are negated. None where it is not defined, or refused by its check."""
    quick, weighted = quick_measures(rows, tau=tau, sampled=None), weigh(rows)
    gain = estimate_gain(rows, weighted, tau=None)
    passed = weighted.failed() is None
    interval = gain.gain.interval
    values: Values = {
        RANKING: quick["ranking_accuracy"],
        Z: quick["ranking_z"],
        SHARE: quick["explained_share"],
        GAIN: gain.gain.value if passed else None,
        LOWER: interval[0] if passed and interval is not None else None,
        UNCHECKED: gain.gain.value,
        NORMALISED: gain.self_normalised.value,
        REWEIGHTED: quick["reweighted_gain"],
        PROGRESS: quick.get("progress"),
        LOSS: None if tau is None else -squared_loss(rows, tau),
        TRAINING_LOSS: None if tau is None else -squared_loss(training, tau),
    }
    return {name: value if value is None or np.isfinite(value) else None for name, value in values.items()}


def kl_of(point: Mapping[str, Any]) -> float:
    """KL(policy‖reference) in nats per response: exact, or the mean log-ratio of the policy's samples."""
    return float(np.mean(point.get("kls", point.get("sampled_logratios"))))


def joint(estimate: Estimate, truth: Estimate) -> bool:
    """Whether the truth lies in the estimate's interval, widened by the error of the truth.

    The two half-widths that face each other are added in quadrature, as for independent errors.
    """
    if estimate.interval is None or truth.interval is None:
        return estimate.value == truth.value
    above = truth.value >= estimate.value
    own = estimate.interval[1] - estimate.value if above else estimate.value - estimate.interval[0]
    other = truth.value - truth.interval[0] if above else truth.interval[1] - truth.value
    return abs(truth.value - estimate.value) <= float(np.hypot(own, other))


def checked(rows: LoggedRows, true_gains: np.ndarray) -> dict[str, Any]:
    """The estimated gain beside the true one, and what its checks say; estimates as (value, low, high)."""
    weighted = weigh(rows)
    failed = weighted.failed()
    truth = clustered_mean(true_gains.tolist(), list(range(len(true_gains))))
    gain = estimate_gain(rows, weighted, tau=None).gain
    terms = gain_terms(rows, weighted.weights, baselines(rows))
    paired = skewed_mean(terms - true_gains)
    return {
        "refused": None if failed is None else "share" if "effective sample size is" in failed else "mean weight",
        "effective_share": weighted.effective_share,
        "mean_weight": weighted.mean_weight.value,
        "estimate": _triple(gain),
        "truth": _triple(truth),
        "joint": joint(gain, truth),
        "paired": paired.interval is None or paired.interval[0] <= 0 <= paired.interval[1],
    }


def _triple(estimate: Estimate) -> list[float]:
    return [estimate.value, *(estimate.interval or (estimate.value, estimate.value))]


def measured_curve(curve: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The points of a stored curve with their measures instead of their rows.

    ``whole``: measures on all report prompts. ``halves``: on the prompts with even numbers, and on the others;
    ``half_gains``: the true gain on the prompts that are not in that half. The first point has ``chosen``, the strength
    that `choose_strength` takes by each half.
    """
    tau, points = curve[0]["tau"], []
    by_half: list[dict[float, LoggedRows]] = [{}, {}]
    last = max(point.get("step", 0) for point in curve)
    for point in curve:
        rows, training = logged_rows(point["report"]), logged_rows(point["training"])
        true_P = np.asarray(point["true_gains"])
        if len(true_P) != rows.prompts:
            raise ValueError(f"{rows.prompts} prompts have rows and {len(true_P)} a true gain.")
        parts = [np.arange(half, rows.prompts, 2) for half in (0, 1)]
        halves = [rows.select_prompts(part) for part in parts]
        if point.get("step", 0) == last:
            for half, of_half in enumerate(halves):
                by_half[half][point["scale"]] = of_half
        points.append(
            {
                "step": point.get("step", 0),
                "scale": point["scale"],
                "kl": kl_of(point),
                "gain": float(true_P.mean()),
                "whole": measures_of(rows, training, tau),
                "halves": [measures_of(half, training, tau) for half in halves],
                "half_gains": [float(np.delete(true_P, part).mean()) for part in parts],
                **checked(rows, true_P),
            }
        )
    points[0]["chosen"] = [choose_strength(rows, sampled=None).scale for rows in by_half]
    points[0]["tau"] = tau
    return points
