"""Answers of the first seed at τ = 1: Table VII, with prompts selected as in the paper and at random; all answers."""

import random
from collections.abc import Sequence

from studies.paper.cells import Pair
from studies.paper.methods import OURS, REFERENCE, SELF_TUNED
from studies.paper.results import Results
from studies.paper.wording import sentence, table
from valuefree.data.prompts import as_text
from valuefree.report import Completions, Section, Table, Verdict
from valuefree.report.judged import OUTCOMES

SHOWN = 5
COLUMNS = ("RPO", "DRO", "KTO", OURS)
BROWSED = (REFERENCE, "KTO", "DRO", "RPO", "RPO-noNorm", OURS, SELF_TUNED, "SFT-all")
JUDGED = ("RPO", OURS, SELF_TUNED)


def preferred(results: Results) -> tuple[list[int], int]:
    """Prompts at which every judge prefers RPO to DRO and to KTO (seed 0), and how many all of them judged.

    A judge without a verdict on either is left out; with verdicts on one of the two it has judged no prompt.
    """
    sets: list[dict[int, float]] = []
    for judge in results.judges:
        pairs = [results.judged(judge, Pair("RPO", other)) for other in ("DRO", "KTO")]
        verdicts = [() if judged is None else judged.of_seed(0) for judged in pairs]
        if any(verdicts):
            sets += [
                {number: row["score"] for number, row in enumerate(rows) if row["score"] is not None}
                for rows in verdicts
            ]
    if not sets:
        return [], 0
    everywhere = set(sets[0]).intersection(*sets[1:])
    return sorted(number for number in everywhere if all(one[number] > 0.5 for one in sets)), len(everywhere)


def qualitative(results: Results, key: str, suffix: str) -> Section | None:
    """Table VII, for prompts selected as in the paper and for prompts drawn at random."""
    answers = results.first_responses(COLUMNS)
    if "RPO" not in answers:
        return None
    prompts = results.held_out["prompts"]
    chosen, judged = preferred(results)
    drawn = sorted(random.Random(0).sample(range(len(prompts)), min(SHOWN, len(prompts))))

    def side_by_side(key: str, numbers: Sequence[int]) -> Table:
        rows = [[as_text(prompts[n]), *(own[n]["response"] for own in answers.values())] for n in numbers]
        return table(key, rows, list(answers))

    text = sentence("chosen", chosen=len(chosen), judged=judged)
    tables = [side_by_side("chosen", chosen[:SHOWN])] if chosen else []
    tables.append(side_by_side("drawn", drawn))
    return Section(f"answers{key}", f"Table VII: answers side by side{suffix}", [text], tables=tables)


def completions(results: Results) -> list[Completions]:
    """All answers with the verdicts on them, for the browser of the report."""
    answers = results.first_responses(BROWSED)
    verdicts: dict[int, list[Verdict]] = {}
    for judge in results.judges:
        for pair in (Pair(first, second) for first in JUDGED for second in BROWSED if first != second):
            judged = results.judged(judge, pair)
            for number, verdict in enumerate(judged.of_seed(0) if judged is not None else ()):
                shown = Verdict(judge, pair.first, pair.second, OUTCOMES[verdict["category"]])
                verdicts.setdefault(number, []).append(shown)
    held_out = results.held_out
    return [
        Completions(
            as_text(prompt),
            {name: own[number]["response"] for name, own in answers.items()},
            {name: own[number]["reward"] for name, own in answers.items() if own[number]["reward"] is not None},
            verdicts.get(number, ()),
            held_out["references"][number],
        )
        for number, prompt in enumerate(held_out["prompts"])
    ]
