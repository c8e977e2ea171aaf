"""Completions from the rows of completions.jsonl, and the merged completions of several runs."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from valuefree.data.prompts import as_text
from valuefree.report.model import Completions, Verdict

T = TypeVar("T")
K = TypeVar("K")
SAME = 1e-9  # rewards that differ by at most this are a tie, as in the counts of wins


def rewarded(rows: Iterable[Mapping[str, Any]], names: Mapping[str, str], *, judge: str) -> list[Completions]:
    """Completions of an evaluation, with the reward as a judge: the larger reward wins.

    Args:
        rows: of completions.jsonl. names: display names of `policy` and `reference`. judge: name of the reward.
    """
    completions = []
    for row in rows:
        rewards = {names[who]: value for who, value in row["rewards"].items()}
        policy, reference = names["policy"], names["reference"]
        ahead = rewards[policy] - rewards[reference]
        outcome = "neutral" if abs(ahead) <= SAME else "first" if ahead > 0 else "second"
        completions.append(
            Completions(
                as_text(row["prompt"]),
                {names[who]: text for who, text in row["responses"].items()},
                rewards,
                [Verdict(judge, policy, reference, outcome)],
            )
        )
    return completions


def with_occurrence(items: Iterable[T], key: Callable[[T], K]) -> Iterator[tuple[tuple[K, int], T]]:
    """Each item with its key and how many items before it have the same key."""
    times: Counter[K] = Counter()
    for item in items:
        name = key(item)
        yield (name, times[name]), item
        times[name] += 1


def side_by_side(runs: Iterable[Sequence[Completions]]) -> list[Completions]:
    """Completions of several runs; the k-th completions of one prompt are merged.

    Completions with different texts or rewards of one system stay separate.
    """
    merged: dict[tuple[str, int], list[Completions]] = {}
    for run in runs:
        for key, entry in with_occurrence(run, lambda entry: entry.prompt):
            places = merged.setdefault(key, [])
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
