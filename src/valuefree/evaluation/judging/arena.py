"""More than two systems: every pair of them judged, and a ranking."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from valuefree.data.prompts import Prompt
from valuefree.data.validation import prompt_key
from valuefree.errors import DataError
from valuefree.evaluation.judging.asking import Asked
from valuefree.evaluation.judging.judge import judge
from valuefree.evaluation.judging.result import JudgeResult
from valuefree.evaluation.stats import Ranking, bradley_terry

Compare = Callable[..., JudgeResult]


@dataclass(frozen=True)
class ArenaResult:
    """A `JudgeResult` per pair of systems, and the Bradley–Terry ranking; None if nothing is judged."""

    names: tuple[str, ...]
    pairs: Mapping[tuple[str, str], JudgeResult]
    ranking: Ranking | None

    @property
    def asked(self) -> Asked:
        """The calls of all pairs together."""
        return sum((result.asked for result in self.pairs.values()), Asked())

    def report(self) -> str:
        """The report of each pair, and the ranking, strongest first."""
        parts = [result.report() for result in self.pairs.values()]
        if self.ranking is not None:
            parts.append(f"Bradley–Terry strengths (log-odds relative to their mean):\n{self.ranking}")
        return "\n\n".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """For judge.json."""
        return {
            "systems": list(self.names),
            "pairs": [result.to_dict() for result in self.pairs.values()],
            "ranking": self.ranking.to_dict() if self.ranking is not None else None,
        }


def arena(
    prompts: Sequence[Prompt],
    systems: Mapping[str, Sequence[str]],
    *,
    compare: Compare = judge,
    against: str | None = None,
    seed: int = 0,
    **settings: Any,
) -> ArenaResult:
    """Judge all pairs of systems, and rank them by Bradley–Terry on the order-averaged scores, clustered by prompt.

    Args:
        prompts: (P,). systems: name → responses to these prompts, in their order.
        compare: `judge`, or `judge_by_reward`. against: compare only this system with each of the others.
        seed: of the ranking's bootstrap. settings: further arguments of `compare`.

    Raises:
        DataError: fewer than two systems, or `against` is not among them; also errors of `compare`.
    """
    if len(systems) < 2:
        raise DataError(f"{len(systems)} system; expected at least two to compare.")
    if against is not None and against not in systems:
        raise DataError(f"no system {against!r}; there are {', '.join(systems)}.")
    chosen = combinations(systems, 2) if against is None else [(against, name) for name in systems if name != against]
    pairs = {
        (one, two): compare(prompts, systems[one], systems[two], names=(one, two), **settings) for one, two in chosen
    }
    return ArenaResult(tuple(systems), pairs, rank(pairs, seed=seed) if against is None else None)


def rank(pairs: Mapping[tuple[str, str], JudgeResult], *, seed: int = 0) -> Ranking | None:
    """Bradley–Terry strengths from the judged pairs; a score between 0 and 1 counts as that part of a win."""
    judged = [(names, pair) for names, result in pairs.items() for pair in result.judged]
    if not judged:
        return None
    return bradley_terry(
        [names[0] for names, _ in judged],
        [names[1] for names, _ in judged],
        [pair.score for _, pair in judged],  # type: ignore[misc]  # judged pairs have a score
        clusters=[prompt_key(pair.prompt) for _, pair in judged],
        seed=seed,
    )
