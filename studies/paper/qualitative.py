"""Table VII: answers side by side, chosen as the paper chose them, and drawn at random beside these. No torch."""

import random
from collections.abc import Sequence

from studies.paper.judging import OURS
from studies.paper.results import Results
from studies.paper.scales import MAIN_TAU, Scale
from valuefree.batches.rendering import as_text
from valuefree.report import Section, Table

SHOWN = 5
COLUMNS = ("RPO", "DRO", "KTO", OURS)


def preferred(results: Results, scale: Scale) -> tuple[list[int], int]:
    """Prompts at which every judge prefers RPO to DRO and to KTO (seed 0), and how many all of them judged.

    A judge without a verdict on either is left out; with verdicts on one of the two it has judged no prompt.
    """
    sets: list[dict[int, float]] = []
    for judge in results.judges:
        pairs = [results.judged(judge, scale.name, "RPO", other) for other in ("DRO", "KTO")]
        verdicts = [() if judged is None else judged.of_seed(0) for judged in pairs]
        if any(verdicts):
            scores = [{number: row["score"] for number, row in enumerate(rows)} for rows in verdicts]
            sets += [{number: score for number, score in one.items() if score is not None} for one in scores]
    if not sets:
        return [], 0
    everywhere = set(sets[0]).intersection(*sets[1:])
    return sorted(number for number in everywhere if all(one[number] > 0.5 for one in sets)), len(everywhere)


def qualitative(results: Results, scale: Scale, key: str, suffix: str) -> Section | None:
    """Answers of seed 0 at τ = 1."""
    answers = {}
    for method in COLUMNS:
        runs = [run for run in results.runs(scale.name, method, MAIN_TAU) if run.cell.seed == 0]
        if runs:
            answers[method] = results.responses(runs[0].cell)
    if "RPO" not in answers:
        return None
    prompts = results.held_out(scale.name)["prompts"]
    chosen, judged = preferred(results, scale)
    drawn = sorted(random.Random(0).sample(range(len(prompts)), min(SHOWN, len(prompts))))
    named = f"{len(chosen)} of {judged} prompts that all judges judged have every judge prefer RPO to DRO and KTO"

    def table(title: str, numbers: Sequence[int], note: str) -> Table:
        rows = [[as_text(prompts[n]), *(answers[name][n]["response"] for name in answers)] for n in numbers]
        return Table(title, ["prompt", *answers], rows, note)

    made = [table("Drawn at random", drawn, "Answers of the first seed at τ = 1.")]
    if chosen:
        made.insert(0, table("Chosen as the paper chose", chosen[:SHOWN], "The first of them."))
    return Section(
        f"answers{key}",
        f"Table VII: answers side by side{suffix}",
        [
            f"The paper shows ten prompts at which both judges prefer RPO. Here {named}; such a choice says nothing of "
            "how often that is, so prompts drawn at random stand beside it."
        ],
        tables=made,
    )
