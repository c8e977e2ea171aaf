"""The exact world: log-probabilities, gains and KL in closed form, so that only the logged rows have sampling error."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studies.exact.methods import Method
from studies.exact.policies import Batch
from studies.exact.problems import Problem, Regime, make_problem
from studies.exact.training import Runs
from studies.exact.world import Prompts, WorldSettings, expectation, kl_divergence, rewards_of, sample, score
from studies.harness.training import objective_of
from studies.learned.cells import Cell
from studies.learned.points import SCALES, logged_columns
from valuefree.evaluation.held_out.rows import LoggedRows

NOISE = 1.0  # standard deviation, on rewards that have one of 1 within a prompt
RESPONSES = 4
REPORT_SEED = 40_000


@dataclass(frozen=True)
class ExactScale:
    """Sizes. The training rows are train_prompts × 4, the report rows report_prompts × 4."""

    train_prompts: int = 128
    report_prompts: int = 160
    training_prompts: int = 60
    steps: tuple[int, ...] = (20, 60, 160)
    lrs: tuple[float, ...] = (0.001, 0.003, 0.01)
    strengths: tuple[float, ...] = SCALES
    world: WorldSettings = field(default_factory=WorldSettings)


QUICK_SCALE = ExactScale(
    train_prompts=64, report_prompts=80, steps=(8, 20), lrs=(0.003, 0.01), strengths=(0.5, 1.0, 2.0)
)


def policy_of(weights: Tensor, prompts: Prompts) -> Tensor:
    """The policy (P, T, C, A) of weights (F, T, C, A)."""
    return torch.log_softmax(prompts.reference + torch.einsum("pf,ftca->ptca", prompts.features, weights.double()), -1)


def gains_of(policy: Tensor, prompts: Prompts) -> Tensor:
    """Exact gain in reward over the reference by prompt, (P,)."""
    return expectation(policy, prompts.reward) - expectation(prompts.reference, prompts.reward)


def rows_at(policy: Tensor, prompts: Prompts, tokens: Tensor, rewards: Tensor) -> LoggedRows:
    """Logged rows with what `policy` says of them. tokens: (P, n, T). rewards: as observed, (P, n)."""
    count, each = rewards.shape
    return LoggedRows(
        logratios=score(policy - prompts.reference, tokens).flatten().numpy(),
        rewards=rewards.flatten().numpy(),
        prompt_of=np.repeat(np.arange(count), each),
        lengths=np.full(count * each, tokens.shape[-1]),
    )


def draw(problem: Problem, prompts: Prompts, seed: int) -> tuple[Tensor, Tensor]:
    """Responses of the reference (P, n, T) and their noisy rewards (P, n)."""
    generator = torch.Generator().manual_seed(REPORT_SEED + seed)
    tokens = sample(prompts.reference, RESPONSES, generator)
    rewards = rewards_of(problem.world, prompts, tokens)
    return tokens, rewards + problem.regime.noise * torch.randn(rewards.shape, generator=generator, dtype=torch.float64)


def problem_of(cell: Cell, scale: ExactScale) -> Problem:
    """The world and the training rows of a seed; the report prompts are its test prompts."""
    regime = Regime("noisy, on-policy", RESPONSES, scale.train_prompts, noise=NOISE)
    control = "within" if cell.shuffled else None
    return make_problem(scale.world, regime, cell.seed, control=control, held_out=scale.report_prompts)


def start(cell: Cell, problem: Problem) -> Runs:
    """The run, before its first step."""
    method = Method(cell.label, None, lambda *_: objective_of(cell.label))
    return Runs(Batch([problem]), method, None, [cell.lr])


def measure_cell(cell: Cell, scale: ExactScale) -> list[dict[str, Any]]:
    """Train, and measure at each step of `scale.steps`, at the last one at each strength: its weights multiplied."""
    problem = problem_of(cell, scale)
    runs, prompts, curve = start(cell, problem), problem.yardsticks["test"].prompts, []
    tokens, rewards = draw(problem, prompts, cell.seed)
    few = Prompts(*(value[: scale.training_prompts] for value in vars(problem.train).values()))
    trained_on = (few, problem.tokens[: scale.training_prompts], problem.rewards[: scale.training_prompts])
    for step in range(1, scale.steps[-1] + 1):
        runs.step()
        if step not in scale.steps:
            continue
        for strength in scale.strengths if step == scale.steps[-1] else (1.0,):
            weights = strength * runs.weights[0, 0].detach()
            policy = policy_of(weights, prompts)
            point = {
                "report": logged_columns(rows_at(policy, prompts, tokens, rewards)),
                "training": logged_columns(rows_at(policy_of(weights, few), *trained_on)),
                "true_gains": gains_of(policy, prompts).tolist(),
                "kls": kl_divergence(policy, prompts.reference).tolist(),
            }
            curve.append({"step": step, "scale": strength, **point})
    curve[0] |= {"objective": runs.rows[0].objective.to_dict(), "tau": runs.taus[0]}
    return curve
