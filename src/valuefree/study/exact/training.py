"""Train a method in several worlds and at several learning rates at once, through the package's own objectives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from valuefree.errors import ConfigError
from valuefree.objectives import Objective, ObjectiveInputs, TrainingRows
from valuefree.partition import PartitionSettings, partition_targets
from valuefree.study.exact.methods import Method
from valuefree.study.exact.policies import DTYPE, Batch, Outcome
from valuefree.study.exact.problems import Problem, Yardstick

# ------------------------------------------------------------------------------------------------------------ set-up


@dataclass
class _Rows:
    """What one seed's objective sees: rows (R) that it selected, and their values."""

    objective: Objective
    kept: Tensor  # numbers of the rows in the seed's P·n
    prompt_of: Tensor
    group_size: Tensor
    rewards: Tensor
    values: Tensor | None
    columns: dict[str, Tensor]
    reference: Tensor


def _unit(rewards: Tensor) -> float:
    return float(rewards.std(correction=0)) or 1.0


def _set_up(problem: Problem, method: Method, strength: float, reference: Tensor) -> _Rows:
    """As the trainer prepares its rows: standardise, resolve, select, partition."""
    regime = problem.regime
    prompts, count = problem.rewards.shape
    raw = problem.rewards.flatten()
    unit, mean = _unit(raw), float(raw.mean())
    standard = (raw - mean) / unit
    prompt_of = torch.arange(prompts).repeat_interleave(count)
    samples: dict[str, Tensor] = {}
    if method.samples:
        drawn = problem.sampled[:, : method.samples]
        samples["reference_rewards"] = ((drawn - mean) / unit).flatten()
        samples["reference_prompt_of"] = torch.arange(prompts).repeat_interleave(drawn.shape[1])
    # A temperature is given in reward units; the objective, as in the trainer, sees standardised rewards.
    knob = strength / unit if method.knob == "tau" else strength
    objective = method.make(knob, regime.on_policy)
    everything = TrainingRows(standard, raw, prompt_of, {}, **samples)
    objective = objective.resolved(everything)
    chosen = objective.select(everything)
    kept = torch.arange(len(raw)) if chosen is None else chosen.nonzero().flatten()
    renumbered = torch.unique(prompt_of[kept], return_inverse=True)[1]
    rows = TrainingRows(standard[kept], raw[kept], renumbered, {}, **samples)
    columns = objective.row_values(rows)
    rewards, values = rows.rewards, None
    asked = objective.partition()
    if asked is not None:
        settings = PartitionSettings(**asked)
        per = problem.world.settings.length if settings.length_normalize else 1
        extra = {"features": problem.train.features[:, 1:]} if settings.needs_features else {}
        rewards, values_P = partition_targets(
            rows.rewards, reference[kept] / per, renumbered, settings, **samples, **extra
        )
        values = values_P[renumbered]
    if method.oracle:
        best = Yardstick.at(problem.world, problem.train, strength)
        values = ((best.values - mean) / unit)[prompt_of[kept]]
    return _Rows(
        objective,
        kept,
        renumbered,
        torch.bincount(renumbered)[renumbered],
        rewards,
        values,
        columns,
        reference[kept],
    )


# ---------------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Trained:
    """One strength of a method: at each checkpoint what every seed and learning rate is worth, or why there is none."""

    strength: float
    checkpoints: tuple[int, ...]
    outcomes: dict[str, list[Outcome]]  # by part, one per checkpoint
    data_logratio: list[Tensor]  # mean ρ on the training rows, (S, L) per checkpoint


def train(
    batch: Batch, method: Method, strength: float, learning_rates: Sequence[float], checkpoints: Sequence[int]
) -> Trained:
    """Adam on all rows at once (no mini-batches), from the reference, with a constant learning rate."""
    problems = batch.problems
    seeds, rates = len(problems), len(learning_rates)
    rows = [
        _set_up(problem, method, strength, batch.reference_logps[s].flatten()) for s, problem in enumerate(problems)
    ]
    factor = strength if method.knob == "lr" else 1.0
    scales = [[r.objective.learning_rates(lr * factor) for lr in learning_rates] for r in rows]
    # Adam's step does not depend on the scale of the gradient: weights = lr·free gives every run its own rate.
    policy_rate = torch.tensor([[s["policy"] for s in per] for per in scales], dtype=DTYPE)
    value_rate = torch.tensor([[s["value"] for s in per] for per in scales], dtype=DTYPE)
    shape = (seeds, rates, batch.features.shape[-1], *batch.reference.shape[-3:])
    free = torch.zeros(shape, dtype=DTYPE, requires_grad=True)
    value_free = torch.zeros(seeds, rates, batch.features.shape[-1], dtype=DTYPE, requires_grad=True)
    learns = "learned" in rows[0].objective.requires
    optimiser = torch.optim.Adam([free, value_free] if learns else [free], lr=1.0)
    generator = torch.Generator().manual_seed(5)
    result = Trained(strength, tuple(checkpoints), {"validation": [], "test": []}, [])
    for step in range(1, max(checkpoints) + 1):
        weights = free * policy_rate[:, :, None, None, None, None]
        tables = batch.tables(weights, batch.features, batch.reference)
        logps = batch.logps(tables, batch.cells).flatten(2)  # (S, L, P·n)
        learned = None
        if learns:
            learned = torch.einsum("spf,slf->slp", batch.features, value_free * value_rate[..., None])
        baseline = _mismatched(batch, tables, generator) if "baseline" in rows[0].objective.requires else None
        loss = sum(
            (
                _loss(
                    rows[s],
                    logps[s],
                    None if learned is None else learned[s],
                    None if baseline is None else baseline[s],
                    batch.problems[s],
                )
                for s in range(seeds)
            ),
            start=torch.zeros((), dtype=torch.float64),
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step in result.checkpoints:
            with torch.no_grad():
                weights = free * policy_rate[:, :, None, None, None, None]
                for part, found in result.outcomes.items():
                    found.append(batch.outcome(weights, part))
                rho = logps.detach().double() - batch.reference_logps.flatten(1)[:, None]
                result.data_logratio.append(rho.mean(-1))
    return result


def _mismatched(batch: Batch, tables: Tensor, generator: torch.Generator) -> Tensor:
    """Mean log-ratio (S, L) of every response under another prompt, all shifted by one random number of prompts."""
    shift = int(torch.randint(1, batch.cells.shape[1], (1,), generator=generator))
    moved = batch.cells.roll(shift, dims=1)
    with torch.no_grad():
        reference = batch.reference.flatten(-2).gather(-1, moved).sum(-2)
        return (batch.logps(tables.detach(), moved) - reference[:, None]).double().mean((-1, -2))


def _loss(rows: _Rows, logps: Tensor, learned: Tensor | None, baseline: Tensor | None, problem: Problem) -> Tensor:
    """Sum over the learning rates (L) of each run's mean loss, by one call of the objective on all their rows."""
    rates, count, prompts = len(logps), len(rows.kept), int(rows.prompt_of.max()) + 1
    own = logps[:, rows.kept].double()

    def every(values: Tensor) -> Tensor:
        return values.repeat(rates)

    per_prompt = None
    if learned is not None:
        per_row = learned[:, torch.arange(problem.rewards.shape[0]).repeat_interleave(problem.rewards.shape[1])]
        per_prompt = per_row[:, rows.kept].flatten()
    inputs = ObjectiveInputs(
        policy_logps=own.flatten(),
        tokens=torch.full((rates * count,), problem.world.settings.length),
        rewards=every(rows.rewards),
        prompt_of=(rows.prompt_of + prompts * torch.arange(rates)[:, None]).flatten(),
        group_size=every(rows.group_size),
        reference_logps=every(rows.reference),
        values=None if rows.values is None else every(rows.values),
        learned=per_prompt,
        baseline=None if baseline is None else baseline.repeat_interleave(count),
        columns={name: every(column) for name, column in rows.columns.items()},
    )
    losses = rows.objective(inputs).losses
    counts = rows.objective.counts
    if counts == "responses":
        divisor = float(count)
    elif counts == "tokens":
        divisor = float(count * problem.world.settings.length)
    elif counts in rows.columns:
        divisor = float(rows.columns[counts].sum())
    else:
        raise ConfigError(f"{type(rows.objective).__name__} divides by {counts!r}, which no row has.")
    return losses.sum() / divisor


def finite_or_worst(values: Tensor) -> Tensor:
    """NaN as +∞, so that a run that broke is never chosen."""
    return torch.where(values.isfinite(), values, torch.full_like(values, math.inf))
