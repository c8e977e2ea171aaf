"""Strengths of several systems from comparisons of two: the Bradley-Terry model."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, logit  # type: ignore[reportMissingTypeStubs]  # scipy has none

from valuefree.errors import DataError
from valuefree.evaluation.stats.estimate import (
    Clusters,
    Estimate,
    Statistic,
    Values,
    check_lengths,
    cluster_index,
    shares,
)
from valuefree.evaluation.stats.resampling import (
    RESAMPLES,
    Interval,
    bootstrap_intervals,
    rounding,
    unanimous_interval,
)

PRIOR = 1.0  # virtual tied comparisons per pair of items
_STEPS, _HALVINGS = 100, 40
_PRECISION = 1e-9


@dataclass(frozen=True)
class Ranking(Statistic):
    """Strengths of items, as log-odds with mean zero, in the order of `names`.

    Attributes:
        names: the items.
        strengths: one per item; the difference of two is the log-odds that the first wins.
        probabilities: probabilities[i][j] that item i wins against item j, where a tie counts half; ½ for i = j.
        wins: wins[i][j] is the sum of the scores of item i against item j, without the prior.
        comparisons: number of comparisons.
        prior: virtual ties per pair of items that the strengths include.
    """

    names: tuple[Hashable, ...]
    strengths: tuple[Estimate, ...]
    probabilities: tuple[tuple[Estimate, ...], ...]
    wins: tuple[tuple[float, ...], ...]
    comparisons: int
    prior: float

    def __str__(self) -> str:
        return "\n".join(f"{name}: {strength}" for name, strength in self.ranked())

    def ranked(self) -> list[tuple[Hashable, Estimate]]:
        """Name and strength of each item, strongest first."""
        return sorted(zip(self.names, self.strengths, strict=True), key=lambda pair: -pair[1].value)

    def probability(self, first: Hashable, second: Hashable) -> Estimate:
        """Predicted probability that `first` wins against `second`, whether or not they were compared.

        Raises:
            DataError: a name that was not ranked.
        """
        unknown = [name for name in (first, second) if name not in self.names]
        if unknown:
            raise DataError(f"{unknown[0]!r} was not ranked; the items are {', '.join(map(repr, self.names))}.")
        return self.probabilities[self.names.index(first)][self.names.index(second)]


def bradley_terry(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    scores: Values,
    *,
    names: Sequence[Hashable] | None = None,
    clusters: Clusters | None = None,
    prior: float = PRIOR,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Ranking:
    r"""Maximum-likelihood strengths θ with P(i wins against j) = σ(θ_i − θ_j) and Σ θ = 0.

    .. math:: \max_\theta \sum_{i \ne j} \bigl(w_{ij} + \tfrac12\,\mathrm{prior}\bigr) \log\sigma(\theta_i - \theta_j)

    w_ij is the sum of the scores of i against j; a tie is half a win for each. Without a prior, an item that wins
    every comparison is infinitely strong. The default prior is one virtual tie per pair of items: half a win and half a
    loss. For two items this gives Haldane's and Anscombe's log((w + ½)/(l + ½)), which has less bias than log(w/l). The
    prior has the weight of one comparison of each pair; pass `prior=0` for the likelihood alone.

    Where an item won all comparisons with another, no resample shows how often it may lose. The interval of their
    difference then extends to the Clopper–Pearson bound on one side and to infinity on the other.

    Args:
        first: an item per comparison (N,): a name or, if `names` is given, its index.
        second: the item that it was compared with (N,).
        scores: score of the first (N,), between 0 (lost) and 1 (won).
        names: the items, in the order of the result; default: in order of appearance.
        clusters: prompt of each comparison. Intervals resample whole prompts. Without it every comparison counts as
            independent, which several comparisons on one prompt are not.
        prior: virtual ties per pair of items, ≥ 0.
        seed: random seed of the resamples.
        resamples: number of resamples. With `prior=0`, those without a finite maximum are left out, and an interval is
            None if they are more than one in twenty.

    Raises:
        DataError: columns of different length, scores outside [0, 1], an item compared with itself, an unknown item,
            fewer than two items, a negative prior; with `prior=0`, a graph of wins that is not strongly connected: some
            items never lose or tie against the rest, and no finite maximum exists (Ford, 1957).

    Source: Bradley and Terry (1952), Rank Analysis of Incomplete Block Designs; Ford (1957).
    """
    check_lengths(first=first, second=second, scores=scores)
    data = shares(scores, "one per comparison")
    if not 0 <= prior < np.inf:
        raise DataError(f"prior={prior} is not a number of virtual ties; pass 0 or more.")
    items, one, two = _factorize(first, second, names)
    index, count = cluster_index(clusters, len(data))
    wins_CKK = np.zeros((count, len(items), len(items)))
    np.add.at(wins_CKK, (index, one, two), data)
    np.add.at(wins_CKK, (index, two, one), 1 - data)
    wins = wins_CKK.sum(axis=0)
    virtual = prior / 2 * (1 - np.eye(len(items)))
    if not _connected((wins + virtual)[None])[0]:
        raise DataError(_no_maximum(wins, items))
    left, right = np.triu_indices(len(items), k=1)
    flat = wins_CKK.reshape(count, -1)

    def statistic(weights: Float[np.ndarray, "B C"]) -> Float[np.ndarray, "B values"]:
        strengths = _maximum((weights @ flat).reshape(-1, *wins.shape) + virtual)
        return np.concatenate([strengths, strengths[:, left] - strengths[:, right]], axis=1)

    values = statistic(np.ones((1, count)))[0]
    size = len(items)
    intervals = bootstrap_intervals(statistic, count, seed=seed, resamples=resamples)
    if prior > 0 and count > 1:  # without a prior, None may also mean that no maximum exists
        strengths, gaps = _widened(values, intervals, wins_CKK, left, right)
        intervals = [*strengths, *gaps]
    estimates = [Estimate(float(value), interval, count) for value, interval in zip(values, intervals, strict=True)]
    return Ranking(
        names=items,
        strengths=tuple(estimates[:size]),
        probabilities=_probabilities(estimates[size:], left, right, size, count),
        wins=tuple(tuple(float(cell) for cell in row) for row in wins),
        comparisons=len(data),
        prior=float(prior),
    )


def _widened(
    values: Float[np.ndarray, " values"],
    intervals: list[Interval | None],
    wins_CKK: Float[np.ndarray, "C K K"],
    left: Int[np.ndarray, " pairs"],
    right: Int[np.ndarray, " pairs"],
) -> tuple[list[Interval | None], list[Interval | None]]:
    """Intervals of strengths and of their differences, widened for pairs with equal scores in all prompts.

    An item that won every comparison of a pair wins them in every resample. The interval of the difference is then
    extended to the bounds of `unanimous_interval`, and that of a strength, the mean of its differences, by the mean of
    these extensions.
    """
    size = wins_CKK.shape[1]
    ends = np.array([interval or (value, value) for value, interval in zip(values, intervals, strict=True)])
    strengths, gaps = ends[:size].copy(), ends[size:].copy()
    lacking = np.array([interval is None for interval in intervals])
    for pair, (i, j) in enumerate(zip(left, right, strict=True)):
        played = wins_CKK[:, i, j] + wins_CKK[:, j, i]
        shares = wins_CKK[played > 0, i, j] / played[played > 0]
        if not len(shares) or np.ptp(shares) > rounding(1.0):
            continue
        bounds = logit(np.clip(unanimous_interval(float(shares[0]), len(shares), bounds=(0.0, 1.0)), 0.0, 1.0))
        more = np.maximum([gaps[pair, 0] - bounds[0], bounds[1] - gaps[pair, 1]], 0.0)
        gaps[pair] += [-more[0], more[1]]
        strengths[i] += [-more[0] / size, more[1] / size]
        strengths[j] += [-more[1] / size, more[0] / size]
        lacking[size + pair] = False
    lacking[:size] &= lacking[size:].any()
    ends_N2: Float[np.ndarray, "N 2"] = np.concatenate([strengths, gaps])
    widened = [
        None if lacks else (float(low), float(high)) for lacks, (low, high) in zip(lacking, ends_N2, strict=True)
    ]
    return widened[:size], widened[size:]


def _factorize(
    first: Sequence[Hashable], second: Sequence[Hashable], names: Sequence[Hashable] | None
) -> tuple[tuple[Hashable, ...], Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """The items, and both columns as positions among them."""
    if names is None:
        items = tuple(dict.fromkeys(item for pair in zip(first, second, strict=True) for item in pair))
        number: dict[Hashable, int] = {item: position for position, item in enumerate(items)}
    else:
        items = tuple(names)
        number = {position: position for position in range(len(items))}
        number |= {item: position for position, item in enumerate(items)}
    unknown = [item for column in (first, second) for item in column if item not in number]
    if unknown:
        raise DataError(f"{unknown[0]!r} is neither an index nor one of the names {', '.join(map(repr, items))}.")
    if len(items) < 2 or len(set(items)) < len(items):
        raise DataError(f"expected two or more different items to rank; got {', '.join(map(repr, items)) or 'none'}.")
    one, two = (np.array([number[item] for item in column], dtype=np.int64) for column in (first, second))
    if (one == two).any():
        row = int((one == two).argmax())
        raise DataError(f"comparison {row} is of {items[one[row]]!r} with itself, which says nothing; leave it out.")
    return items, one, two


def _reaches(wins_BKK: Float[np.ndarray, "B K K"]) -> Bool[np.ndarray, "B K K"]:
    """Whether a chain of wins leads from one item to another."""
    reached = (wins_BKK > 0) | np.eye(wins_BKK.shape[1], dtype=bool)
    for _ in range(max(1, int(np.ceil(np.log2(wins_BKK.shape[1]))))):
        reached = np.matmul(reached.astype(np.float32), reached.astype(np.float32)) > 0
    return reached


def _connected(wins_BKK: Float[np.ndarray, "B K K"]) -> Bool[np.ndarray, " B"]:
    """Whether chains of wins lead from every item to every other: the condition for a finite maximum."""
    return np.asarray(_reaches(wins_BKK).all(axis=(1, 2)))


def _no_maximum(wins: Float[np.ndarray, "K K"], items: tuple[Hashable, ...]) -> str:
    """Message that names the items that never lost to the rest: no chain of wins from outside leads to them."""
    reached = _reaches(wins[None])[0]
    mutual = reached & reached.T
    for position in range(len(items)):
        group = mutual[position]
        if not wins[~group][:, group].any() and not group.all():
            named = ", ".join(repr(items[i]) for i in np.flatnonzero(group))
            break
    else:  # pragma: no cover: a graph that is not strongly connected has such a group
        raise AssertionError("a condensed graph without a source")
    return (
        f"the strengths have no finite maximum: {named} never lost or tied against any of the others "
        "(or was not compared with them). Compare more, or keep a prior of virtual ties (prior=1)."
    )


def _log_likelihood(
    strengths_BK: Float[np.ndarray, "B K"], wins_BKK: Float[np.ndarray, "B K K"]
) -> Float[np.ndarray, " B"]:
    gaps = strengths_BK[:, :, None] - strengths_BK[:, None, :]
    return -(wins_BKK * np.logaddexp(0, -gaps)).sum(axis=(1, 2))


def _maximum(wins_BKK: Float[np.ndarray, "B K K"]) -> Float[np.ndarray, "B K"]:
    """Strengths that maximise the likelihood, by Newton's method with halved steps; NaN where none is finite."""
    size = wins_BKK.shape[1]
    connected = _connected(wins_BKK)
    wins = np.where(connected[:, None, None], wins_BKK, 1.0)
    played = wins + wins.transpose(0, 2, 1)
    strengths = np.zeros(wins.shape[:2])
    reached = _log_likelihood(strengths, wins)
    solve: Any = np.linalg.solve  # numpy types its result as unknown
    for _ in range(_STEPS):
        chance = expit(strengths[:, :, None] - strengths[:, None, :])
        slope = (wins - played * chance).sum(axis=2)
        if np.abs(slope).max() <= _PRECISION * max(1.0, played.max()):
            break
        curvature = played * chance * (1 - chance)
        curvature[:, range(size), range(size)] = 0.0
        laplacian = np.eye(size) * curvature.sum(axis=2)[:, :, None] - curvature
        step: Float[np.ndarray, "B K"] = solve(laplacian + 1 / size, slope[:, :, None])[:, :, 0]  # + 1/K keeps Σ θ = 0
        for _ in range(_HALVINGS):
            ahead = _log_likelihood(strengths + step, wins)
            worse = ahead < reached - 1e-12 * np.abs(reached)
            if not worse.any():
                break
            step[worse] /= 2
        strengths = strengths + step
        reached = _log_likelihood(strengths, wins)
    strengths[~connected] = np.nan
    return strengths


def _probabilities(
    gaps: list[Estimate], left: Int[np.ndarray, " pairs"], right: Int[np.ndarray, " pairs"], size: int, count: int
) -> tuple[tuple[Estimate, ...], ...]:
    """Winning probabilities and their intervals from the differences of strengths; σ preserves the order of bounds."""
    even = Estimate(0.5, None, count)
    table = [[even] * size for _ in range(size)]
    for i, j, gap in zip(left, right, gaps, strict=True):
        value, bounds = float(expit(gap.value)), None
        if gap.interval is not None:
            bounds = (float(expit(gap.interval[0])), float(expit(gap.interval[1])))
        table[i][j] = Estimate(value, bounds, count)
        table[j][i] = Estimate(1 - value, bounds and (1 - bounds[1], 1 - bounds[0]), count)
    return tuple(map(tuple, table))
