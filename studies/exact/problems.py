"""Problems of the exact world: the data of a seed, and the optimum on held-out prompts."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from studies.exact.world import (
    Prompts,
    World,
    WorldSettings,
    make_prompts,
    make_world,
    optimum,
    rewards_of,
    sample,
    tilted,
)
from studies.harness.controls import permuted

VALUE_SAMPLES = 4096  # of the reference per prompt, for V* where it has no closed form


@dataclass(frozen=True)
class Regime:
    """How data are drawn: responses per prompt, prompts, tilt of the behaviour policy, noise on the rewards, τ of J."""

    name: str
    responses: int = 4
    prompts: int = 256
    tilt: float = 0.0
    noise: float = 0.0
    tau: float = 1.0

    @property
    def on_policy(self) -> bool:
        """Whether the reference itself wrote the responses."""
        return self.tilt == 0


@dataclass
class Problem:
    """One seed: a world, its training rows (prompt by prompt), and prompts to choose and to test on."""

    seed: int
    world: World
    regime: Regime
    train: Prompts
    tokens: Tensor  # (P, n, T)
    rewards: Tensor  # (P, n), as observed
    sampled: Tensor  # (P, m), rewards of reference samples, as observed
    response_of: Tensor | None = None  # (P, n), equal numbers are one response; None: every row is distinct
    yardsticks: dict[str, "Optimum"] = field(default_factory=dict)  # of the parts validation and test


@dataclass(frozen=True)
class Optimum:
    """Prompts, and the optimum there: log π* (of the additive reward), and V* with its standard error."""

    prompts: Prompts
    best: Tensor
    values: Tensor  # (P,)
    error: float = 0.0

    @classmethod
    def at(cls, world: World, prompts: Prompts, tau: float) -> "Optimum":
        """At the evaluation's temperature: exact for an additive reward, else from samples of the reference."""
        best, values = optimum(prompts.reference, prompts.reward, tau)
        if world.settings.reward == "additive":
            return cls(prompts, best, values + prompts.offset)
        drawn = rewards_of(world, prompts, sample(prompts.reference, VALUE_SAMPLES, torch.Generator().manual_seed(1)))
        values = tau * (torch.logsumexp(drawn / tau, dim=1) - math.log(VALUE_SAMPLES))
        ratio = ((drawn - values[:, None]) / tau).exp()
        error = tau * ratio.var(1).div(VALUE_SAMPLES).mean().div(len(values)).sqrt()
        return cls(prompts, best, values, float(error))


def make_problem(
    settings: WorldSettings, regime: Regime, seed: int, *, control: str | None = None, held_out: int = 128
) -> Problem:
    """A world of one seed and its data; see `draw_problem`."""
    return draw_problem(make_world(settings, seed), regime, seed, control=control, held_out=held_out)


def draw_problem(
    world: World,
    regime: Regime,
    seed: int,
    *,
    control: str | None = None,
    held_out: int = 128,
    draw: Callable[[Prompts, int, torch.Generator], Tensor] | None = None,
) -> Problem:
    """Data of one seed; `control`, a key of `studies.harness.controls.REMOVES`, permutes their rewards.

    `draw` gives the responses (P, n, T) from prompts, n and a generator; default: samples of the reference, tilted as
    the regime says.
    """
    prompts = make_prompts(world, regime.prompts, seed=seed, part="train")
    generator = torch.Generator().manual_seed(777 + seed)
    if draw is None:
        behaviour = prompts.reference if regime.on_policy else tilted(prompts, regime.tilt)
        tokens = sample(behaviour, regime.responses, generator)
    else:
        tokens = draw(prompts, regime.responses, generator)
    rewards = rewards_of(world, prompts, tokens)
    rewards = rewards + regime.noise * torch.randn(rewards.shape, generator=generator, dtype=torch.float64)
    drawn = rewards_of(world, prompts, sample(prompts.reference, 4, generator))
    drawn = drawn + regime.noise * torch.randn(drawn.shape, generator=generator, dtype=torch.float64)
    if control is not None:
        prompt_of = torch.arange(len(rewards)).repeat_interleave(rewards.shape[1])
        shuffled = permuted(rewards.flatten().tolist(), prompt_of.tolist(), control, seed=seed)
        rewards = torch.tensor(shuffled, dtype=rewards.dtype).reshape(rewards.shape)
    problem = Problem(seed, world, regime, prompts, tokens, rewards, drawn)
    for part in ("validation", "test"):
        held = make_prompts(world, held_out, seed=seed, part=part)
        problem.yardsticks[part] = Optimum.at(world, held, regime.tau)
    return problem
