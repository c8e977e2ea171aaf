"""What a study supports: a verdict on each claim of the paper, by `rules` or from runs where the optimum is known."""

from dataclasses import dataclass

from studies.paper.claims import claim_findings
from studies.paper.published import CLAIMS
from studies.paper.results import Results
from studies.paper.rules import RULES, Outcome, counted, decide
from studies.paper.scales import Scale


@dataclass(frozen=True)
class Found:
    """A verdict on a claim (by key) at one scale, and the numbers it rests on."""

    claim: str
    verdict: Outcome
    text: str


MEASURED_ELSEWHERE = {  # by the beginning of what `claim_findings` calls them
    "stable": "Table I, optimisation more stable",
    "dro-unstable": "Table I, optimisation more stable",
    "error-robust": "Table I, robustness to estimation errors",
    "no-tuning": "Table I, practical deployment",
    "limit-coverage": "Section VI, RPO is harmed by insufficient coverage",
    "limit-observed": "Section VI, a trained value model",
    "limit-few": "Section VI, the empirical partition",
    "limit-reference": "Section VI, a poorly aligned reference",
}
REMARKS = {"limit-few": " With few answers; sparse rewards were not run."}
ELSEWHERE = {  # of claims that no run of this study is about
    "no-value-gradient": "a property of the code, shown by a test: V̂ is a column of the rows.",
    "limit-modes": "modes are not measured; whether few answers, noise and little variety hurt stands below.",
    "scalable": "not part of this study: benchmarks/RESULTS.md has ten million rows on two cores.",
}


def findings(results: Results, scale: Scale) -> list[Found]:
    """One per claim of the paper, in its order."""
    known = claim_findings(results.claim_rows) if results.claim_rows else []
    out = []
    for claim in CLAIMS:
        if claim.key in RULES:
            out.append(Found(claim.key, *RULES[claim.key](results, scale)))
            continue
        begins = MEASURED_ELSEWHERE.get(claim.key)
        own = [one for one in known if begins is not None and one.claim.startswith(begins)]
        if own:
            sides = [{"supported": 1, "contradicted": -1, "undecided": 0}[one.verdict] for one in own]
            out.append(
                Found(claim.key, decide(sides), f"{counted(sides, 'statements')}, below.{REMARKS.get(claim.key, '')}")
            )
        else:
            out.append(Found(claim.key, "not tested", ELSEWHERE.get(claim.key, "not measured here.")))
    return out
