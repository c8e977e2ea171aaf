"""The rules by which a study supports a claim of the paper or not, one function per claim.

Each gives a verdict and the numbers that it rests on. Supported: every interval that the claim is about lies on its
side. Contradicted: one lies on the other side. Undecided: neither. Not tested: nothing that the claim is about was
measured. Intervals are of 95 %, one by one.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from studies.paper.methods import METHODS, REFERENCE, label
from studies.paper.published import BASELINES, METRICS
from studies.paper.results import REWARD_JUDGE, Judged, Results
from studies.paper.scales import MAIN_TAU, Scale
from valuefree.evaluation.stats import t_mean

Outcome = Literal["supported", "contradicted", "undecided", "not tested"]
WIDE, NEARLY_ALL = 80.0, 90.0  # percent: Tables III and VI in the paper's words
STEADY = 0.05  # of a metric's mean: how far it may move over τ and still be called stable
Rule = Callable[[Results, Scale], tuple[Outcome, str]]


def decide(sides: Sequence[int]) -> Outcome:
    """Of +1 (for the claim), −1 (against it) and 0 (open): all for it, any against it, or neither; of none untested."""
    if not sides:
        return "not tested"
    if any(side < 0 for side in sides):
        return "contradicted"
    return "supported" if all(side > 0 for side in sides) else "undecided"


def counted(sides: Sequence[int], of: str) -> str:
    """How many are for a claim, against it, of how many."""
    return f"{sum(s > 0 for s in sides)} for it, {sum(s < 0 for s in sides)} against, of {len(sides)} {of}"


def _open_without(lacking: Sequence[str], sides: Sequence[int]) -> Outcome:
    """`decide`, with an open side for each part of the claim that has no numbers, if any has."""
    return decide([*sides, *(0 for _ in lacking)] if sides else [])


def _rate_side(found: Judged, bound: float) -> int:
    """Whether a win rate lies above or below a bound in percent, with its interval."""
    rate = found.rate
    if rate is None or rate.interval is None:
        return 0
    return 1 if rate.interval[0] > bound else -1 if rate.interval[1] < bound else 0


def _rates(
    results: Results, scale: Scale, others: Sequence[str], taus: Sequence[float], *, models_only: bool = False
) -> dict[str, Judged]:
    """By name; models_only: without the reward function, for claims about language models as judges."""
    several = len(taus) > 1
    found = {
        f"{other}{f' at τ = {tau:g}' if several else ''} by {judge}": results.judged(
            judge, scale.name, "RPO", other, tau, tau
        )
        for judge in results.counted(scale.name)
        if not (models_only and judge == REWARD_JUDGE)
        for other in others
        for tau in taus
    }
    return {name: one for name, one in found.items() if one is not None and one.rate is not None}


def _listed(rates: dict[str, Judged], lacking: Sequence[str]) -> str:
    """RPO's win rates, and over whom it has none."""
    said = [
        f"{name}: {one.rate.mean:.0f} %"
        + (f" [{one.rate.interval[0]:.0f}, {one.rate.interval[1]:.0f}]" if one.rate.interval else "")
        + f" (sign test p = {one.p_value:.2g})"
        for name, one in rates.items()
        if one.rate is not None
    ]
    told = [f"RPO over {'; '.join(said)}."] if said else []
    return " ".join([*told, *([f"Not judged: {', '.join(lacking)}."] if lacking else [])])


def _unjudged(results: Results, scale: Scale, others: Sequence[str], taus: Sequence[float] = (MAIN_TAU,)) -> list[str]:
    """Those of the others, at a temperature, that no judge has compared with RPO."""
    return [label(name, tau) for tau in taus for name in others if not _rates(results, scale, (name,), (tau,))]


def _metric_sides(
    results: Results,
    scale: Scale,
    first: tuple[str, float],
    second: tuple[str, float],
    names: Sequence[str] | None = None,
) -> list[tuple[str, int]]:
    """Per metric whether `first` is better, by Student's interval of the difference paired on seeds."""
    sides = []
    for metric in METRICS:
        if names is not None and metric.ours not in names:
            continue
        ours, theirs = (results.metric_runs(scale.name, *one, metric.ours) for one in (first, second))
        shared = sorted(ours.keys() & theirs.keys())
        if not shared:
            continue
        found = t_mean([ours[seed] - theirs[seed] for seed in shared])
        side = 0
        if found.interval is not None:
            side = 1 if found.interval[0] > 0 else -1 if found.interval[1] < 0 else 0
        sides.append((metric.name, side if metric.better == "higher" else -side))
    return sides


def _unmeasured(found: Sequence[tuple[str, int]], names: Sequence[str]) -> str:
    lacking = [metric.name for metric in METRICS if metric.ours in names and metric.name not in dict(found)]
    return f"; not measured: {', '.join(lacking)}" if lacking else ""


# --------------------------------------------------------------------------------------------------------- the rules


def _beats_baselines(results: Results, scale: Scale) -> tuple[Outcome, str]:
    quality = [metric.ours for metric in METRICS if metric.ours != "toxicity"]
    found = [
        one
        for other in ("KTO", "DRO")
        for one in _metric_sides(results, scale, ("RPO", MAIN_TAU), (other, MAIN_TAU), quality)
    ]
    sides = [side for _, side in found]
    if not sides:
        return "not tested", "no metric of RPO and a baseline was measured."
    better, worse = sum(s > 0 for s in sides), sum(s < 0 for s in sides)
    verdict: Outcome = "supported" if better > len(sides) / 2 and not worse else "undecided"
    if worse > better:
        verdict = "contradicted"
    return verdict, f"{counted(sides, 'metrics × baselines')} (paired on seeds){_unmeasured(found, quality)}."


def _less_toxic(results: Results, scale: Scale) -> tuple[Outcome, str]:
    sides = [
        side
        for other in ("KTO", "DRO")
        for _, side in _metric_sides(results, scale, ("RPO", MAIN_TAU), (other, MAIN_TAU), ["toxicity"])
    ]
    return decide(sides), counted(sides, "baselines") + "." if sides else "toxicity was not measured."


def _above(results: Results, scale: Scale, others: Sequence[str], taus: Sequence[float], bound: float):
    """Whether all win rates of RPO lie above a bound, the lacking ones open."""
    rates, lacking = _rates(results, scale, others, taus), _unjudged(results, scale, others, taus)
    sides = [_rate_side(one, bound) for one in rates.values()]
    return _open_without(lacking, sides), _listed(rates, lacking)


def _wins_everywhere(results: Results, scale: Scale) -> tuple[Outcome, str]:
    return _above(results, scale, BASELINES, [MAIN_TAU], 50.0)


def _wide_margins(results: Results, scale: Scale) -> tuple[Outcome, str]:
    found = _rates(results, scale, BASELINES, [MAIN_TAU], models_only=True)
    rates = {name: one for name, one in found.items() if "mistral" in name.lower()}
    if not rates:
        return "not tested", "Mistral was no judge here."
    sides = [_rate_side(one, WIDE) for one in rates.values()]
    often = sum(side > 0 for side in sides)
    said = f"{often} of {len(sides)} rates lie above {WIDE:.0f} % with their interval. {_listed(rates, [])}"
    if all(side < 0 for side in sides):
        return "contradicted", said
    return ("supported" if often >= len(sides) / 2 else "undecided"), said


def _judges_agree(results: Results, scale: Scale) -> tuple[Outcome, str]:
    by_judge = {
        judge: [
            _rate_side(one, 50.0)
            for other in BASELINES
            if (one := results.judged(judge, scale.name, "RPO", other)) is not None and one.rate is not None
        ]
        for judge in results.counted(scale.name)
    }
    known = {judge: sides for judge, sides in by_judge.items() if sides}
    said = "; ".join(f"{judge}: {counted(sides, 'baselines')}" for judge, sides in known.items())
    if len(known) < 2:
        return "not tested", f"fewer than two judges gave verdicts{f' ({said})' if said else ''}."
    lacking = _unjudged(results, scale, BASELINES)
    said += f". Not judged: {', '.join(lacking)}." if lacking else "."
    return _open_without(lacking, [side for sides in known.values() for side in sides]), said


def _faster(results: Results, scale: Scale) -> tuple[Outcome, str]:
    rows, sides, said = results.timing, [], []
    if not rows or not scale.width:
        return "not tested", "not timed at this scale."
    for size in dict.fromkeys(row["size"] for row in rows):
        own = {(row["method"], row["repeat"]): row["train_seconds"] for row in rows if row["size"] == size}
        for other in ("KTO", "DRO"):
            ratios = [own[other, k] / own["RPO", k] for name, k in own if name == other]
            found = t_mean([float(np.log(ratio)) for ratio in ratios])
            low, high = found.interval or (0.0, 0.0)
            sides.append(1 if low > 0 else -1 if high < 0 else 0)
            said.append(f"{other} at {size} takes {np.exp(found.value):.2f} of RPO's time")
    return decide(sides), "; ".join(said) + ". A step of KTO as published costs what one of RPO does."


def _by_tau(results: Results, scale: Scale, method: str) -> tuple[Outcome, str, str]:
    """Whether a method's gain is the same at every τ (contradicted or open), its gains, and the widest difference."""
    gains = {tau: results.gain(scale.name, method, tau) for tau in results.taus}
    known = {tau: gain for tau, gain in gains.items() if gain is not None}
    if len(known) < 2:
        return "not tested", "", ""
    best, worst = (pick(known, key=lambda tau: known[tau].value) for pick in (max, min))
    apart = results.difference(scale.name, (method, best), (method, worst))
    said = ", ".join(f"τ = {tau:g}: {gain}" for tau, gain in known.items())
    if apart is None or apart.interval is None:
        return "undecided", said, ""
    low, high = apart.interval
    moved = f"; from τ = {worst:g} to {best:g} {apart.value:+.3f} [{low:+.3f}, {high:+.3f}]"
    return ("contradicted" if low > 0 else "undecided"), said, moved


ONE_TAU = "fewer than two temperatures of it were run and rewarded."


def _tau_robust(results: Results, scale: Scale) -> tuple[Outcome, str]:
    verdict, gains, moved = _by_tau(results, scale, "RPO")
    return verdict, f"gain over the reference at {gains}{moved}." if gains else ONE_TAU


def _one_size(results: Results, scale: Scale) -> tuple[Outcome, str]:
    return "not tested", "a scale is one size; the claim compares sizes of one family on the same data."


def _tau_moderate(results: Results, scale: Scale) -> tuple[Outcome, str]:
    above = [tau for tau in results.taus if tau >= MAIN_TAU]
    verdict, said = _above(results, scale, (REFERENCE,), above, 50.0)
    if len(above) == 1:
        return _open_without(["a larger τ"], [1 if verdict == "supported" else 0]), f"{said} No larger τ was run."
    return verdict, said


def _tau_sharpness(results: Results, scale: Scale) -> tuple[Outcome, str]:
    kls = {}
    for tau in results.taus:
        values = [run.kl["value"] for run in results.runs(scale.name, "RPO", tau) if run.kl]
        if values:
            kls[tau] = t_mean(values)
    sides = []
    for small, large in zip(list(kls)[:-1], list(kls)[1:], strict=True):
        a, b = kls[small], kls[large]
        if a.interval is None or b.interval is None:
            sides.append(0)
        else:
            sides.append(1 if a.interval[0] > b.interval[1] else -1 if a.interval[1] < b.interval[0] else 0)
    said = "; ".join(f"τ = {tau:g}: {kl.value:.2f} nats" for tau, kl in kls.items())
    if not sides:
        return "not tested", "fewer than two temperatures were run."
    return decide(sides), (
        f"by the distance alone, not the entropy: KL to the reference at {said} (Student's intervals over runs)."
    )


def _normalisation_metrics(results: Results, scale: Scale) -> tuple[Outcome, str]:
    found = [one for tau in results.taus for one in _metric_sides(results, scale, ("RPO", tau), ("RPO-noNorm", tau))]
    sides = [side for _, side in found]
    if not sides:
        return "not tested", "no metric of both was measured."
    lacking = _unmeasured(found, [metric.ours for metric in METRICS])
    return decide(sides), f"{counted(sides, 'metrics × temperatures')} (paired on seeds){lacking}."


def _normalisation_stable(results: Results, scale: Scale) -> tuple[Outcome, str]:
    moves, apart = {}, {}
    for metric in METRICS:
        found = {tau: results.metric(scale.name, "RPO", tau, metric.ours) for tau in results.taus}
        means = {tau: one.mean for tau, one in found.items() if one is not None}
        if len(means) < 2 or not any(means.values()):
            continue
        low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        moves[metric.name] = (means[high] - means[low]) / abs(float(np.mean(list(means.values()))))
        sides = dict(_metric_sides(results, scale, ("RPO", high), ("RPO", low), [metric.ours]))
        apart[metric.name] = sides.get(metric.name, 0) != 0
    if not moves:
        return "not tested", "no metric was measured at two temperatures."
    moved = [name for name, move in moves.items() if move > STEADY and apart[name]]
    verdict: Outcome = "contradicted" if moved else "supported" if max(moves.values()) <= STEADY else "undecided"
    said = ", ".join(f"{name} {move:.0%}{'' if apart[name] else ' (not shown)'}" for name, move in moves.items())
    return verdict, (
        f"range over τ of its mean: {said}; stable is up to {STEADY:.0%}, not shown where Student's interval of the "
        "difference, paired on seeds, holds zero."
    )


def _normalisation_tau(results: Results, scale: Scale) -> tuple[Outcome, str]:
    verdict, gains, _ = _by_tau(results, scale, "RPO-noNorm")
    return verdict, f"its gain over the reference at {gains}." if gains else ONE_TAU


def _normalisation_toxicity(results: Results, scale: Scale) -> tuple[Outcome, str]:
    sides = [
        side
        for tau in results.taus
        for _, side in _metric_sides(results, scale, ("RPO", tau), ("RPO-noNorm", tau), ["toxicity"])
    ]
    return decide(sides), counted(sides, "temperatures") + "." if sides else "toxicity was not measured."


def _normalisation_judges(results: Results, scale: Scale) -> tuple[Outcome, str]:
    rates = _rates(results, scale, ("RPO-noNorm",), results.taus, models_only=True)
    if not rates:
        return "not tested", "no language model whose verdicts count judged the two."
    return decide([_rate_side(one, NEARLY_ALL) for one in rates.values()]), _listed(rates, [])


def _answers(results: Results, scale: Scale) -> tuple[Outcome, str]:
    verdict, said = _above(results, scale, ("KTO", "DRO"), [MAIN_TAU], 50.0)
    return verdict, f"by verdicts on all prompts in place of chosen examples. {said}"


def _no_value_model(results: Results, scale: Scale) -> tuple[Outcome, str]:
    make = METHODS["RPO"].make
    needs = make(MAIN_TAU).requires if make else frozenset()
    trained = "value_outputs" in needs
    return (
        "contradicted" if trained else "supported"
    ), f"its objective takes {', '.join(sorted(needs))} and no learned value."


RULES: dict[str, Rule] = {
    "beats-baselines": _beats_baselines,
    "less-toxic": _less_toxic,
    "wins-everywhere": _wins_everywhere,
    "wide-margins": _wide_margins,
    "judges-agree": _judges_agree,
    "faster": _faster,
    "tau-robust": _tau_robust,
    "tau-small": _one_size,
    "tau-moderate": _tau_moderate,
    "tau-size": _one_size,
    "tau-sharpness": _tau_sharpness,
    "normalisation-metrics": _normalisation_metrics,
    "normalisation-stable": _normalisation_stable,
    "normalisation-tau": _normalisation_tau,
    "normalisation-toxicity": _normalisation_toxicity,
    "normalisation-judges": _normalisation_judges,
    "separation": _one_size,
    "answers": _answers,
    "no-value-model": _no_value_model,
}
