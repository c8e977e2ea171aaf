"""How often the interval of the estimated gain holds the true gain, in the exact world, where it is known."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studies.exact.world import Prompts, kl_divergence, make_prompts, optimum, rewards_of, sample
from studies.learned.cells import Cell
from studies.learned.exact import NOISE, RESPONSES, ExactScale, gains_of, policy_of, problem_of, rows_at, start
from valuefree.evaluation.held_out.weights import estimate_gain, weigh

KLS = (0.1, 0.25, 0.5)
TRAINED = ("RPO()", "KTO()")


@dataclass(frozen=True)
class CoverageCell:
    """Logged data sets with so many prompts, drawn in the world of a seed."""

    seed: int
    prompts: int

    @property
    def name(self) -> str:
        """Of the cell's file."""
        return f"coverage-{self.prompts}-prompts-seed{self.seed}"


@dataclass(frozen=True)
class CoverageScale:
    """Sizes. A data set draws its prompts from `pool` prompts, over which the true gain is the mean."""

    prompts: tuple[int, ...] = (80, 320, 1000)
    replicates: int = 200
    pool: int = 2000
    exact: ExactScale = field(default_factory=ExactScale)


def at_kl(policy: Callable[[float], Tensor], reference: Tensor, kl: float) -> Tensor:
    """The policy of a family that has this mean KL; the KL rises with the family's parameter, from 0 at 0."""
    low, high = 0.0, 1.0
    while kl_divergence(policy(high), reference).mean() < kl:
        high *= 2
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if kl_divergence(policy(middle), reference).mean() < kl else (low, middle)
    return policy(high)


def families(seed: int, pool: Prompts, scale: ExactScale) -> dict[str, Callable[[float], Tensor]]:
    """Policies by a parameter: tilted along the reward, along another direction, and trained ones at a strength."""

    def tilt(direction: Tensor) -> Callable[[float], Tensor]:
        return lambda size: optimum(pool.reference, size * direction, 1.0)[0]

    found = {"optimum": tilt(pool.reward), "independent of the reward": tilt(pool.other)}
    for label in TRAINED:
        cell = Cell("exact", label, scale.lrs[len(scale.lrs) // 2], seed)
        runs = start(cell, problem_of(cell, scale))
        for _ in range(scale.steps[-1]):
            runs.step()
        weights = runs.weights[0, 0].detach()
        found[f"{label} at a strength"] = lambda size, weights=weights: policy_of(size * weights, pool)
    return found


def measure_cell(cell: CoverageCell, scale: CoverageScale) -> list[dict[str, Any]]:
    """Per policy and KL: in each data set the estimated gain, its interval, and the checks."""
    world = problem_of(Cell("exact", "RPO()", scale.exact.lrs[0], cell.seed), scale.exact).world
    pool = make_prompts(world, scale.pool, seed=cell.seed, part="probe")
    policies = {
        (name, kl): at_kl(family, pool.reference, kl)
        for name, family in families(cell.seed, pool, scale.exact).items()
        for kl in KLS
    }
    found: dict[tuple[str, float], list[list[float]]] = {key: [] for key in policies}
    generator = torch.Generator().manual_seed(cell.seed * 10_000 + cell.prompts)
    for _ in range(scale.replicates):
        chosen = torch.randint(scale.pool, (cell.prompts,), generator=generator)
        prompts = Prompts(*(value[chosen] for value in vars(pool).values()))
        tokens = sample(prompts.reference, RESPONSES, generator)
        rewards = rewards_of(world, prompts, tokens)
        rewards = rewards + NOISE * torch.randn(rewards.shape, generator=generator, dtype=torch.float64)
        for key, policy in policies.items():
            rows = rows_at(policy[chosen], prompts, tokens, rewards)
            weighted = weigh(rows)
            gain = estimate_gain(rows, weighted, tau=None).gain
            low, high = gain.interval or (gain.value, gain.value)
            failed = weighted.failed() or ""
            small = "effective sample size is" in failed
            found[key].append([gain.value, low, high, weighted.effective_share, float(small), float(bool(failed))])
    return [
        summary(name, kl, float(gains_of(policies[name, kl], pool).mean()), np.asarray(results))
        for (name, kl), results in found.items()
    ]


def summary(name: str, kl: float, truth: float, results: np.ndarray) -> dict[str, Any]:
    """Counts over data sets. results: columns estimate, low, high, effective share, share refused, any refusal."""
    value, low, high, share, small, failed = results.T
    covered = (low <= truth) & (truth <= high)
    enough, printed = small == 0, failed == 0
    return {
        "policy": name,
        "kl": kl,
        "truth": truth,
        "data_sets": len(results),
        "bias": float(value.mean() - truth),
        "half_width": float(((high - low) / 2).mean()),
        "effective_share": float(share.mean()),
        "enough": int(enough.sum()),
        "covered_enough": int((covered & enough).sum()),
        "above_enough": int((enough & (low > truth)).sum()),
        "below_enough": int((enough & (high < truth)).sum()),
        "printed": int(printed.sum()),
        "covered_printed": int((covered & printed).sum()),
        "covered": int(covered.sum()),
    }
