"""Completions from the rows of completions.jsonl, and those of several runs side by side."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from valuefree.data.prompts import as_text
from valuefree.report.model import Completions, Verdict

SAME = 1e-9  # rewards that differ by less are equal, as in the counts of wins


def rewarded(rows: Iterable[Mapping[str, Any]], names: Mapping[str, str], *, judge: str) -> list[Completions]:
    """Completions of an evaluation, with the reward as a judge: the larger one wins.

    Args:
        rows: of completions.jsonl. names: of the systems `policy` and `reference`, as they are to be called.
        judge: what the reward is called.
    """
    found = []
    for row in rows:
        rewards = {names[who]: value for who, value in row["rewards"].items()}
        policy, reference = names["policy"], names["reference"]
        ahead = rewards[policy] - rewards[reference]
        outcome = "neutral" if abs(ahead) <= SAME else "first" if ahead > 0 else "second"
        found.append(
            Completions(
                as_text(row["prompt"]),
                {names[who]: text for who, text in row["responses"].items()},
                rewards,
                [Verdict(judge, policy, reference, outcome)],
            )
        )
    return found


def side_by_side(runs: Iterable[Sequence[Completions]]) -> list[Completions]:
    """Completions of several runs, those to the same prompt as one: the k-th of each.

    Where two runs have different texts or rewards of one system, both stand by themselves.
    """
    merged: dict[tuple[str, int], list[Completions]] = {}
    for run in runs:
        times: Counter[str] = Counter()
        for entry in run:
            places = merged.setdefault((entry.prompt, times[entry.prompt]), [])
            times[entry.prompt] += 1
            for place, other in enumerate(places):
                if _agree(other, entry):
                    places[place] = _joined(other, entry)
                    break
            else:
                places.append(entry)
    return [entry for places in merged.values() for entry in places]


def _agree(one: Completions, two: Completions) -> bool:
    pairs = ((one.responses, two.responses), (one.rewards, two.rewards))
    if any(mine[name] != theirs[name] for mine, theirs in pairs for name in mine if name in theirs):
        return False
    return one.reference is None or two.reference is None or one.reference == two.reference


def _joined(one: Completions, two: Completions) -> Completions:
    return Completions(
        one.prompt,
        {**one.responses, **two.responses},
        {**one.rewards, **two.rewards},
        [*one.verdicts, *(verdict for verdict in two.verdicts if verdict not in one.verdicts)],
        one.reference if one.reference is not None else two.reference,
    )
