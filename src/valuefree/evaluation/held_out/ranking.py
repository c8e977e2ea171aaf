"""How the log-ratio and the reward agree: concordance of pairs, permutations, correlations."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from valuefree.errors import DataError
from valuefree.evaluation.held_out.contrasts import Contrasts, centre
from valuefree.evaluation.held_out.intervals import share_interval, skewed_estimate
from valuefree.evaluation.stats.estimate import Estimate
from valuefree.evaluation.stats.resampling import (
    RESAMPLES,
    bootstrap_intervals,
    rounding,
    unanimous_interval,
)

_DRAWS = 10_000_000  # permuted values, or drawn clusters, at most; seconds
_FEWEST = 999


def concordance(
    values: Float[np.ndarray, " N"], rewards: Float[np.ndarray, " N"], block: Int[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """For each point: how many points of its block have another reward, and with how many of these `values` agree.

    A pair agrees if the larger reward has the larger value; a tie of the values counts ½. Each pair is counted at both
    of its points. Time is N log² N: two rewards are compared at the highest bit in which their ranks differ.

    Returns:
        agreeing (N,), compared (N,).
    """
    rank = np.unique(rewards, return_inverse=True)[1].astype(np.int64)
    position = np.unique(values, return_inverse=True)[1].astype(np.int64)
    positions = int(position.max()) + 1
    agreeing, compared = np.zeros(len(values)), np.zeros(len(values))
    for bit in range(int(rank.max()).bit_length()):
        branch = block * ((int(rank.max()) >> (bit + 1)) + 1) + (rank >> (bit + 1))
        start, key = branch * positions, branch * positions + position
        upper = (rank >> bit) % 2 == 1
        for here, there, larger in ((upper, ~upper, True), (~upper, upper, False)):
            others = np.sort(key[there])
            first, below, not_above, last = (
                np.searchsorted(others, bound, side="left")
                for bound in (start[here], key[here], key[here] + 1, start[here] + positions)
            )
            agreeing[here] += (below - first if larger else last - not_above) + (not_above - below) / 2
            compared[here] += last - first
    return agreeing, compared


@dataclass(frozen=True, eq=False)
class Ranked:
    """Pairs that agree, and pairs that are compared, as counted at the points (N,)."""

    contrasts: Contrasts
    agreeing: Float[np.ndarray, " N"]
    compared: Float[np.ndarray, " N"]

    @property
    def pairs(self) -> int:
        """Number of pairs with different rewards."""
        return round(float(self.compared.sum()) / 2)

    @property
    def accuracy(self) -> float:
        """Share of the pairs that agree."""
        return float(self.agreeing.sum() / self.compared.sum())

    def influence(self) -> Float[np.ndarray, " U"]:
        """Change of the accuracy by each unit, times the number of units; its mean is 0."""
        unit = self.contrasts.unit
        each = self.agreeing - self.accuracy * self.compared
        counted = 1.0 if self.contrasts.by == "pairs" else 2.0  # a pair of two units moves with each of them
        return counted * np.bincount(unit, weights=each) / self.compared.sum() * self.contrasts.units

    def standard_error(self) -> float:
        """Standard error of the accuracy, clustered by prompt; 0 for one prompt."""
        units = self.contrasts.units
        return float(np.sqrt((self.influence() ** 2).sum() / max(units - 1, 1) / units)) if units > 1 else 0.0


def rank_pairs(contrasts: Contrasts, values: Float[np.ndarray, " N"]) -> Ranked:
    """Compare `values` with the rewards.

    Raises:
        DataError: no two rewards of a block differ.
    """
    agreeing, compared = concordance(values, contrasts.rewards, contrasts.block)
    if not compared.any():
        raise DataError("no two responses that could be compared have different rewards, so nothing can be ranked.")
    return Ranked(contrasts, agreeing, compared)


def resamples_for(units: int) -> int:
    """Bootstrap resamples: 10,000, and fewer from 1,000 prompts on."""
    return int(np.clip(_DRAWS // units, _FEWEST, RESAMPLES))


def accuracy_estimates(ranked: list[Ranked], *, seed: int) -> list[Estimate]:
    """Accuracy of each, with its interval; all compare the same pairs.

    For "pairs" the interval resamples prompts. For "rows" every pair belongs to two prompts; the interval is that of
    the linearised statistic (DeLong's, for two values of the reward) on the logit scale. Where all prompts have the
    same share it is Clopper's and Pearson's. There is none where the values do not differ, as for the untouched
    reference.
    """
    units = ranked[0].contrasts.units
    if ranked[0].contrasts.by == "rows":
        intervals = [share_interval(one.accuracy, one.standard_error(), units) for one in ranked]
    else:
        unit = ranked[0].contrasts.unit
        agreeing = np.stack([np.bincount(unit, weights=one.agreeing) for one in ranked], axis=1)
        compared = np.bincount(unit, weights=ranked[0].compared)
        varied = int((compared > 0).sum())
        intervals = _ratio_intervals(agreeing, compared, seed=seed)
        intervals = [
            unanimous_interval(one.accuracy, varied, bounds=(0.0, 1.0)) if interval is None and varied > 1 else interval
            for one, interval in zip(ranked, intervals, strict=True)
        ]
    return [
        Estimate(one.accuracy, interval if units > 1 and not _all_tied(one) else None, units)
        for one, interval in zip(ranked, intervals, strict=True)
    ]


def _all_tied(ranked: Ranked) -> bool:
    return bool((ranked.agreeing == ranked.compared / 2).all())


def _ratio_intervals(
    numerators: Float[np.ndarray, "C K"], denominator: Float[np.ndarray, " C"], *, seed: int
) -> list[tuple[float, float] | None]:
    """Bootstrap intervals of K ratios of sums."""
    table = np.column_stack([denominator, numerators])

    def ratios(weights: Float[np.ndarray, "B C"]) -> Float[np.ndarray, "B K"]:
        sums = weights @ table
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums[:, 1:] / sums[:, :1]

    return bootstrap_intervals(ratios, len(table), seed=seed, resamples=resamples_for(len(table)))


def accuracy_difference(first: Ranked, second: Ranked, *, seed: int) -> Estimate:
    """Accuracy of `first` minus that of `second` over the same pairs, paired by prompt."""
    value, units = first.accuracy - second.accuracy, first.contrasts.units
    if first.contrasts.by == "pairs":
        unit = first.contrasts.unit
        difference = np.bincount(unit, weights=first.agreeing - second.agreeing)
        (interval,) = _ratio_intervals(difference[:, None], np.bincount(unit, weights=first.compared), seed=seed)
        return Estimate(value, interval, units)
    return skewed_estimate(value, first.influence() - second.influence())


# --------------------------------------------------------------------------------------------------------- permutations


def permutation_p(contrasts: Contrasts, *, seed: int) -> float:
    """(1 + #{T_perm ≥ T}) / (1 + B) for T = Σ ρ̃ r̃, with rewards permuted within the strata.

    B is 9,999, and fewer from 1,000 points on. Small p: the policy's log-ratios rise with the rewards by more than
    chance. One-sided, exact if rewards are exchangeable within a stratum.
    """
    logratios, rewards, _ = contrasts.centred
    draws = int(np.clip(_DRAWS // len(rewards), _FEWEST, 9999))
    generator = np.random.default_rng(seed)
    observed, permuted = 0.0, np.zeros(draws)
    counts = np.bincount(contrasts.stratum)
    order = np.argsort(contrasts.stratum, kind="stable")
    size_of = counts[contrasts.stratum[order]]
    for size in np.unique(counts[counts > 0]):
        chosen = order[size_of == size].reshape(-1, size)  # one stratum per row
        own, reward = logratios[chosen], rewards[chosen]
        observed += float((own * reward).sum())
        if size == 1:
            permuted += float((own * reward).sum())
            continue
        batch = max(1, 1_000_000 // chosen.size)
        for start in range(0, draws, batch):
            number = min(batch, draws - start)
            shuffled = generator.permuted(np.broadcast_to(reward, (number, *reward.shape)), axis=-1)
            permuted[start : start + number] += np.einsum("gs,bgs->b", own, shuffled)
    scale = float(np.sqrt((logratios**2).sum() * (rewards**2).sum()))
    return float((1 + (permuted >= observed - rounding(1.0) * scale).sum()) / (1 + draws))


def permutation_z(contrasts: Contrasts) -> float:
    """(T − E[T]) / sd(T) under the permutations of `permutation_p`, in closed form; 0 where T never changes."""
    logratios, rewards, _ = contrasts.centred
    own, reward = centre(logratios, contrasts.stratum), centre(rewards, contrasts.stratum)
    squares = np.bincount(contrasts.stratum, weights=own**2) * np.bincount(contrasts.stratum, weights=reward**2)
    variance = float((squares / np.maximum(np.bincount(contrasts.stratum) - 1, 1)).sum())
    return float(own @ reward / np.sqrt(variance)) if variance > 0 else 0.0
