"""A finding on each claim of the paper, by its own rule or from the runs where the optimum is known.

A rule gives a verdict and the numbers behind it. Supported: every interval that the claim is about agrees with it.
Contradicted: at least one interval lies on the other side. Undecided: neither. Not tested: nothing that the claim is
about was measured. Each interval has 95 % coverage, without correction for their number.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from studies.paper.cells import Pair, kls_of
from studies.paper.claims import claim_findings
from studies.paper.methods import METHODS, REFERENCE, label
from studies.paper.published import BASELINES, CLAIMS, METRICS, Metric
from studies.paper.results import REWARD_JUDGE, Judged, Results
from studies.paper.scales import MAIN_TAU
from studies.paper.sizes import separation, small_tau, steadier_with_size
from studies.paper.verdicts import Finding, Outcome, counted, decide, shown, side
from studies.paper.wording import WORDS
from valuefree.evaluation.stats import p_shown, t_mean

Ruling = tuple[Outcome, str]
WIDE, NEARLY_ALL = 80.0, 90.0  # percent: Tables III and VI in the paper's words
STEADY = 0.05  # largest range over τ, relative to the metric's mean, that is called stable
QUALITY = [metric for metric in METRICS if metric.ours != "toxicity"]
TOXICITY = [metric for metric in METRICS if metric.ours == "toxicity"]


# ------------------------------------------------------------------------------------------------------------ metrics


def _metric_sides(
    results: Results, pairs: Sequence[Pair], metrics: Sequence[Metric] = METRICS
) -> dict[tuple[Pair, str], int]:
    """By pair and metric: +1 where the first is better, by Student's interval of the difference paired on seeds."""
    found = {
        (pair, metric): results.metric_difference((pair.first, pair.tau), (pair.second, pair.tau), metric.ours)
        for pair in pairs
        for metric in metrics
    }
    return {
        (pair, metric.name): side(one) * (1 if metric.better == "higher" else -1)
        for (pair, metric), one in found.items()
        if one is not None
    }


def _unmeasured(sides: Mapping[tuple[Pair, str], int], metrics: Sequence[Metric]) -> str:
    known = {name for _, name in sides}
    lacking = [metric.name for metric in metrics if metric.name not in known]
    return f"; not measured: {', '.join(lacking)}" if lacking else ""


def _beats_baselines(results: Results) -> Ruling:
    found = _metric_sides(results, [Pair("RPO", other) for other in ("KTO", "DRO")], QUALITY)
    sides = list(found.values())
    if not sides:
        return "not tested", "no metric of RPO and a baseline was measured."
    better, worse = sum(s > 0 for s in sides), sum(s < 0 for s in sides)
    verdict: Outcome = "supported" if better > len(sides) / 2 and not worse else "undecided"
    if worse > better:
        verdict = "contradicted"
    return verdict, f"{counted(sides, 'metrics × baselines')} (paired on seeds){_unmeasured(found, QUALITY)}."


def _toxicity(results: Results, pairs: Sequence[Pair], of: str) -> Ruling:
    sides = list(_metric_sides(results, pairs, TOXICITY).values())
    return decide(sides), counted(sides, of) + "." if sides else "toxicity was not measured."


def _without_normalisation(results: Results) -> list[Pair]:
    return [Pair("RPO", "RPO-noNorm", tau) for tau in results.taus]


def _normalisation_metrics(results: Results) -> Ruling:
    found = _metric_sides(results, _without_normalisation(results))
    sides = list(found.values())
    if not sides:
        return "not tested", "no metric was measured for both methods."
    return decide(sides), f"{counted(sides, 'metrics × temperatures')} (paired on seeds){_unmeasured(found, METRICS)}."


def _normalisation_stable(results: Results) -> Ruling:
    moves, apart = {}, {}
    for metric in METRICS:
        found = {tau: results.metric("RPO", tau, metric.ours) for tau in results.taus}
        means = {tau: one.value for tau, one in found.items() if one is not None}
        if len(means) < 2 or not any(means.values()):
            continue
        low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        moves[metric.name] = (means[high] - means[low]) / abs(float(np.mean(list(means.values()))))
        apart[metric.name] = side(results.metric_difference(("RPO", high), ("RPO", low), metric.ours)) != 0
    if not moves:
        return "not tested", "no metric was measured at two temperatures."
    moved = [name for name, move in moves.items() if move > STEADY and apart[name]]
    verdict: Outcome = "contradicted" if moved else "supported" if max(moves.values()) <= STEADY else "undecided"
    text = ", ".join(f"{name} {move:.0%}{'' if apart[name] else ' (not shown)'}" for name, move in moves.items())
    return verdict, (
        f"range over τ relative to the mean: {text}. Up to {STEADY:.0%} counts as stable; not shown: Student's "
        "interval of the difference, paired on seeds, contains zero."
    )


# ------------------------------------------------------------------------------------------------------------- judges


def _rates(results: Results, pairs: Sequence[Pair], *, models_only: bool = False) -> dict[str, Judged]:
    """Verdicts with a rate, by name; models_only: without the reward function, for claims about language models."""
    several = len({pair.tau for pair in pairs}) > 1
    return {
        f"{pair.second}{f' at τ = {pair.tau:g}' if several else ''} by {judge}": found
        for judge in results.reliable_judges
        if not (models_only and judge == REWARD_JUDGE)
        for pair, found in results.judged_pairs(judge, pairs).items()
        if found.rate is not None
    }


def _listed(rates: Mapping[str, Judged], lacking: Sequence[str] = ()) -> str:
    """RPO's win rates, and the methods over which it has none."""
    text = []
    for name, one in rates.items():
        if one.rate is not None:
            ends = one.rate.interval
            interval = f" [{ends[0]:.0f}, {ends[1]:.0f}]" if ends else ""
            text.append(f"{name}: {one.rate.value:.0f} %{interval} (sign test {p_shown(one.p_value)})")
    parts = [f"RPO over {'; '.join(text)}."] if text else []
    return " ".join([*parts, *([f"Not judged: {', '.join(lacking)}."] if lacking else [])])


def _unjudged(results: Results, pairs: Sequence[Pair]) -> list[str]:
    """The methods, at a temperature, that no judge has compared with RPO."""
    return [label(pair.second, pair.tau) for pair in pairs if not _rates(results, [pair])]


def _open_without(lacking: Sequence[str], sides: Sequence[int]) -> Outcome:
    """`decide`, with an open part for each item that has no numbers, provided that some have."""
    return decide([*sides, *(0 for _ in lacking)] if sides else [])


def _wins(results: Results, pairs: Sequence[Pair], prefix: str = "") -> Ruling:
    """Whether all win rates of RPO lie above one half; a missing rate leaves the claim open."""
    rates, lacking = _rates(results, pairs), _unjudged(results, pairs)
    sides = [side(one.rate, 50.0) for one in rates.values()]
    return _open_without(lacking, sides), prefix + _listed(rates, lacking)


OVER_BASELINES = [Pair("RPO", other) for other in BASELINES]


def _wide_margins(results: Results) -> Ruling:
    found = _rates(results, OVER_BASELINES, models_only=True)
    rates = {name: one for name, one in found.items() if "mistral" in name.lower()}
    if not rates:
        return "not tested", "Mistral was not among the judges."
    sides = [side(one.rate, WIDE) for one in rates.values()]
    often = sum(part > 0 for part in sides)
    text = f"the interval of {often} of {len(sides)} rates lies above {WIDE:.0f} %. {_listed(rates)}"
    if all(part < 0 for part in sides):
        return "contradicted", text
    return ("supported" if often >= len(sides) / 2 else "undecided"), text


def _judges_agree(results: Results) -> Ruling:
    by_judge = {
        judge: [
            side(found.rate, 50.0)
            for found in results.judged_pairs(judge, OVER_BASELINES).values()
            if found.rate is not None
        ]
        for judge in results.reliable_judges
    }
    known = {judge: sides for judge, sides in by_judge.items() if sides}
    text = "; ".join(f"{judge}: {counted(sides, 'baselines')}" for judge, sides in known.items())
    if len(known) < 2:
        return "not tested", f"fewer than two judges gave verdicts{f' ({text})' if text else ''}."
    lacking = _unjudged(results, OVER_BASELINES)
    text += f". Not judged: {', '.join(lacking)}." if lacking else "."
    return _open_without(lacking, [part for sides in known.values() for part in sides]), text


def _normalisation_judges(results: Results) -> Ruling:
    rates = _rates(results, _without_normalisation(results), models_only=True)
    if not rates:
        return "not tested", "no reliable language model judged the two."
    return decide([side(one.rate, NEARLY_ALL) for one in rates.values()]), _listed(rates)


def _tau_moderate(results: Results) -> Ruling:
    above = [Pair("RPO", REFERENCE, tau) for tau in results.taus if tau >= MAIN_TAU]
    verdict, text = _wins(results, above)
    if len(above) == 1:
        return _open_without(["a larger τ"], [1 if verdict == "supported" else 0]), f"{text} No larger τ was run."
    return verdict, text


# --------------------------------------------------------------------------------------------------- time, temperature


def _faster(results: Results) -> Ruling:
    rows, sides, text = results.timing, [], []
    if not rows or not results.scale.width:
        return "not tested", "not timed at this scale."
    for size in dict.fromkeys(row["size"] for row in rows):
        own = {(row["method"], row["repeat"]): row["train_seconds"] for row in rows if row["size"] == size}
        for other in ("KTO", "DRO"):
            found = t_mean([float(np.log(own[other, k] / own["RPO", k])) for name, k in own if name == other])
            sides.append(side(found))
            text.append(f"{other} at {size} takes {np.exp(found.value):.2f} of RPO's time")
    return decide(sides), "; ".join(text) + ". A step of KTO as published costs as much as a step of RPO."


def _gain_by_tau(results: Results, method: str) -> Ruling:
    """Contradicted where the gain over the reference differs between temperatures, else undecided."""
    gains = {tau: results.gain(method, tau) for tau in results.taus}
    known = {tau: gain for tau, gain in gains.items() if gain is not None}
    if len(known) < 2:
        return "not tested", "fewer than two temperatures of it were run and rewarded."
    best, worst = (pick(known, key=lambda tau: known[tau].value) for pick in (max, min))
    apart = results.difference(results.runs(method, best), results.runs(method, worst))
    text = ", ".join(f"τ = {tau:g}: {gain}" for tau, gain in known.items())
    if method == "RPO":
        moved = f"; from τ = {worst:g} to {best:g} {shown(apart, signed=True)}" if apart and apart.interval else ""
        text = f"gain over the reference at {text}{moved}."
    else:
        text = f"its gain over the reference at {text}."
    return ("contradicted" if side(apart) > 0 else "undecided"), text


def _tau_sharpness(results: Results) -> Ruling:
    kls = {tau: kls_of(results.runs("RPO", tau)) for tau in results.taus}
    means = {tau: t_mean(values) for tau, values in kls.items() if values}
    sides = []
    for small, large in zip(list(means.values())[:-1], list(means.values())[1:], strict=True):
        if small.interval is None or large.interval is None:
            sides.append(0)
        else:
            sides.append(
                1 if small.interval[0] > large.interval[1] else -1 if small.interval[1] < large.interval[0] else 0
            )
    if not sides:
        return "not tested", "fewer than two temperatures were run."
    text = "; ".join(f"τ = {tau:g}: {kl.value:.2f} nats" for tau, kl in means.items())
    return decide(sides), (
        f"decided by the KL to the reference alone, not by the entropy: {text} (Student's intervals over runs)."
    )


def _no_value_model(results: Results) -> Ruling:
    make = METHODS["RPO"].make
    needs = make(MAIN_TAU).requires if make else frozenset()
    verdict: Outcome = "contradicted" if "value_outputs" in needs else "supported"
    return verdict, f"its objective requires {', '.join(sorted(needs))} and no learned value."


def _no_value_gradient(results: Results) -> Ruling:
    verdict, _ = _no_value_model(results)
    return verdict, "V̂ is a column of the training rows, computed before training; it has no gradient."


def _triplets_suffice(results: Results) -> Ruling:
    trained = [row for row in results.runs("RPO") if row.end.get("steps")]
    if not trained:
        return "not tested", "RPO was not trained."
    return _no_value_model(results)[0], (
        f"{len(trained)} runs at τ = {MAIN_TAU:g} were trained on rows of prompt, response and reward, with the "
        "log-probabilities of the reference."
    )


RULES: dict[str, Callable[[Results], Ruling]] = {
    "beats-baselines": _beats_baselines,
    "less-toxic": partial(_toxicity, pairs=[Pair("RPO", other) for other in ("KTO", "DRO")], of="baselines"),
    "wins-everywhere": partial(_wins, pairs=OVER_BASELINES),
    "wide-margins": _wide_margins,
    "judges-agree": _judges_agree,
    "faster": _faster,
    "tau-robust": partial(_gain_by_tau, method="RPO"),
    "tau-small": small_tau,
    "tau-moderate": _tau_moderate,
    "tau-size": steadier_with_size,
    "tau-sharpness": _tau_sharpness,
    "normalisation-metrics": _normalisation_metrics,
    "normalisation-stable": _normalisation_stable,
    "normalisation-tau": partial(_gain_by_tau, method="RPO-noNorm"),
    "normalisation-toxicity": lambda results: _toxicity(results, _without_normalisation(results), "temperatures"),
    "normalisation-judges": _normalisation_judges,
    "separation": separation,
    "answers": partial(
        _wins,
        pairs=[Pair("RPO", other) for other in ("KTO", "DRO")],
        prefix="by verdicts on all prompts instead of selected examples. ",
    ),
    "no-value-model": _no_value_model,
    "no-value-gradient": _no_value_gradient,
    "triplets-suffice": _triplets_suffice,
}
MEASURED_ELSEWHERE: dict[str, str] = WORDS["measured_elsewhere"]
REMARKS: dict[str, str] = WORDS["remarks"]
NOT_RUN: dict[str, str] = WORDS["not_run"]


def findings(results: Results) -> list[Finding]:
    """One per claim of the paper, in its order."""
    measured = claim_findings(results.claim_rows) if results.claim_rows else []
    return [Finding(claim.key, *_ruling(claim.key, results, measured)) for claim in CLAIMS]


def _ruling(key: str, results: Results, measured: Sequence[Finding]) -> Ruling:
    if key in RULES:
        return RULES[key](results)
    own = [one for one in measured if key in MEASURED_ELSEWHERE and one.claim.startswith(MEASURED_ELSEWHERE[key])]
    if not own:
        return "not tested", NOT_RUN.get(key, "not measured here.")
    sides = [{"supported": 1, "contradicted": -1}.get(one.verdict, 0) for one in own]
    return decide(sides), f"{counted(sides, 'statements')}, below{REMARKS.get(key, '.')}"
