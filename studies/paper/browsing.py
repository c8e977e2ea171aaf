"""The answers of a study, for the browser of its report: seed 0 at the main temperature, with the verdicts on them."""

from typing import Any

from studies.paper.judging import OURS
from studies.paper.methods import REFERENCE, label
from studies.paper.results import Results
from studies.paper.scales import MAIN_TAU, Scale
from valuefree.batches.rendering import as_text
from valuefree.report import Completions, Verdict

BROWSED = (REFERENCE, "KTO", "DRO", "RPO", "RPO-noNorm", OURS, "SFT-all")


def completions(results: Results, scale: Scale) -> list[Completions]:
    """Answers of seed 0 at τ = 1, with the verdicts on them."""
    held_out = results.held_out(scale.name)
    named = {}
    for method in BROWSED:
        runs = [run for run in results.runs(scale.name, method) if run.cell.seed == 0]
        if runs:
            named[label(method, MAIN_TAU)] = results.responses(runs[0].cell)
    verdicts = _verdicts(results, scale)
    return [
        Completions(
            as_text(prompt),
            {name: answers[number]["response"] for name, answers in named.items()},
            {name: a[number]["reward"] for name, a in named.items() if a[number]["reward"] is not None},
            verdicts.get(number, ()),
            held_out["references"][number],
        )
        for number, prompt in enumerate(held_out["prompts"])
    ]


def _verdicts(results: Results, scale: Scale) -> dict[int, list[Verdict]]:
    """By number of the prompt, of every judge on the pairs that are browsed, seed 0."""
    found: dict[int, list[Verdict]] = {}
    pairs = [(a, b) for a in ("RPO", OURS) for b in BROWSED if a != b]
    for judge in results.judges:
        for first, second in pairs:
            judged = results.judged(judge, scale.name, first, second)
            for number, verdict in enumerate(judged.of_seed(0) if judged is not None else ()):
                said = Verdict(judge, first, second, outcome_of(verdict))
                found.setdefault(number, []).append(said)
    return found


def outcome_of(verdict: dict[str, Any]) -> str:
    """The report's word for a row of verdicts."""
    if verdict["score"] is None:
        return "unjudged"
    if verdict["category"] == "disagreement":
        return "disagree"
    return "neutral" if verdict["score"] == 0.5 else "first" if verdict["score"] > 0.5 else "second"
