"""Train a method in several worlds and at several learning rates at once, through the package's own objectives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from studies.exact.methods import Method
from studies.exact.policies import DTYPE, Batch, Outcome
from studies.exact.problems import Optimum, Problem
from valuefree.errors import ConfigError
from valuefree.objectives import Objective, ObjectiveInputs, TrainingRows
from valuefree.partition import PartitionSettings, fit_partition


@dataclass
class _Rows:
    """The rows (R) that one seed's objective selected, and their values.

    values: V̂ per row; where a value network learns, its output is added to them. unit, mean: rewards in the data are
    mean + unit·rewards.
    """

    objective: Objective
    kept: Tensor  # numbers of the rows in the seed's P·n
    prompt_of: Tensor
    group_size: Tensor
    rewards: Tensor
    values: Tensor | None
    columns: dict[str, Tensor]
    reference: Tensor
    unit: float
    mean: float

    def of(self, prompts: Tensor, responses: int) -> "_Rows":
        """The rows of some prompts, in their order; the objective keeps every row, and prompts have equally many."""
        index = (prompts[:, None] * responses + torch.arange(responses)).flatten()
        return replace(
            self,
            kept=torch.arange(len(index)),
            prompt_of=torch.arange(len(prompts)).repeat_interleave(responses),
            group_size=self.group_size[index],
            rewards=self.rewards[index],
            values=None if self.values is None else self.values[index],
            columns={name: column[index] for name, column in self.columns.items()},
            reference=self.reference[index],
        )


def _unit(rewards: Tensor) -> float:
    return float(rewards.std(correction=0)) or 1.0


def _set_up(
    problem: Problem, method: Method, strength: float | None, reference: Tensor, given: Tensor | None = None
) -> _Rows:
    """As the trainer prepares its rows: standardise, resolve, select, partition. `given`: V (P,) instead of V̂."""
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
    knob = strength / unit if method.knob == "tau" and strength is not None else strength
    objective = method.objective(knob, on_policy=regime.on_policy)
    everything = TrainingRows(standard, raw, prompt_of, {}, **samples)
    objective = objective.resolve(everything)
    chosen = objective.select(everything)
    kept = torch.arange(len(raw)) if chosen is None else chosen.nonzero().flatten()
    renumbered = torch.unique(prompt_of[kept], return_inverse=True)[1]
    rows = TrainingRows(standard[kept], raw[kept], renumbered, {}, **samples)
    columns = objective.precompute(rows)
    rewards, values = rows.rewards, None
    asked = objective.partition()
    if asked is not None:
        settings = PartitionSettings(**asked)
        per = problem.world.settings.length if settings.length_normalize else 1
        extra = {"features": problem.train.features[:, 1:]} if settings.needs_features else {}
        if problem.response_of is not None:
            extra["response_of"] = problem.response_of.flatten()[kept]
        partition = fit_partition(rows.rewards, reference[kept] / per, renumbered, settings, **samples, **extra)
        rewards, values = partition.rewards_R, partition.values_P[renumbered]
    if method.oracle and strength is not None:
        given = Optimum.at(problem.world, problem.train, strength).values
    if given is not None:
        values = ((given - mean) / unit)[prompt_of[kept]]
    return _Rows(
        objective,
        kept,
        renumbered,
        torch.bincount(renumbered)[renumbered],
        rewards,
        values,
        columns,
        reference[kept],
        unit,
        mean,
    )


@dataclass(frozen=True)
class Trained:
    """One strength of a method: the outcome of every seed and learning rate at each checkpoint."""

    strength: float | None
    checkpoints: tuple[int, ...]
    outcomes: dict[str, list[Outcome]]  # by part, one per checkpoint
    data_logratio: list[Tensor]  # mean ρ on the training rows, (S, L) per checkpoint
    values: Tensor  # V̂ or V at the end, see `Runs.values`
    taus: list[float | None]  # of the resolved objective of each seed, in reward units; None where it has no τ


class Runs:
    """A method in training from the reference: every seed (S) and learning rate (L) side by side, by Adam.

    Args:
        batch, method, strength, learning_rates: what is trained on what.
        given: V(x) of the training prompts, (P,) per seed in reward units, instead of V̂; where a value network learns,
            what it begins at. Default: the method's own.
    """

    def __init__(
        self,
        batch: Batch,
        method: Method,
        strength: float | None,
        learning_rates: Sequence[float],
        *,
        given: Sequence[Tensor] | None = None,
    ):
        self.batch = batch
        self.rows = [
            _set_up(problem, method, strength, batch.reference_logps[s].flatten(), None if given is None else given[s])
            for s, problem in enumerate(batch.problems)
        ]
        self._requires = self.rows[0].objective.requires
        factor = strength if method.knob == "lr" and strength is not None else 1.0
        scales = [[r.objective.learning_rates(lr * factor) for lr in learning_rates] for r in self.rows]
        # Adam's step does not depend on the scale of the gradient: weights = lr·free gives every run its own rate.
        self._policy_rate = torch.tensor([[s["policy"] for s in per] for per in scales], dtype=DTYPE)
        self._value_rate = torch.tensor([[s["value"] for s in per] for per in scales], dtype=DTYPE)
        runs, features = self._policy_rate.shape, batch.features.shape[-1]
        self._free = torch.zeros(*runs, features, *batch.reference.shape[-3:], dtype=DTYPE, requires_grad=True)
        self._value_free = torch.zeros(*runs, features, dtype=DTYPE, requires_grad=True)
        learns = "value_outputs" in self._requires and not method.frozen
        self._optimiser = torch.optim.Adam([self._free, self._value_free] if learns else [self._free], lr=1.0)
        self.value_parameters = features if learns else 0  # of one run's value network
        self._generator = torch.Generator().manual_seed(5)

    @property
    def weights(self) -> Tensor:
        """Of the policies, (S, L, F, T, C, A)."""
        return self._free * self._policy_rate[:, :, None, None, None, None]

    def step(self, prompts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step on all rows, or on those of some `prompts` (S, p).

        Returns:
            From before the step: log-probabilities (S, L, R) of the rows, and losses (S, L).
        """
        batch, rows = self.batch, self.rows
        if prompts is not None:
            batch = batch.of(prompts)
            rows = [r.of(p, batch.cells.shape[-1]) for r, p in zip(rows, prompts, strict=True)]
        tables = batch.tables(self.weights, batch.features, batch.reference)
        logps = batch.logps(tables, batch.cells).flatten(2)  # (S, L, P·n)
        learned = self._learned(batch) if "value_outputs" in self._requires else None
        baseline = _mismatched(batch, tables, self._generator) if "kl_estimate" in self._requires else None
        losses = torch.stack(
            [
                _losses(
                    rows[s],
                    logps[s],
                    None if learned is None else learned[s],
                    None if baseline is None else baseline[s],
                    problem,
                )
                for s, problem in enumerate(batch.problems)
            ]
        )
        self._optimiser.zero_grad()
        losses.sum().backward()
        self._optimiser.step()
        return logps.detach(), losses.detach()

    def gradients(self) -> Tensor:
        """Of the losses at the last step with respect to `weights`, same shape."""
        if self._free.grad is None:
            raise RuntimeError("there are no gradients yet: take a step first.")
        return self._free.grad / self._policy_rate[:, :, None, None, None, None]

    def values(self) -> Tensor:
        """V̂ or V of the training prompts, in reward units, (S, L, P), of an objective that keeps every row."""
        found = []
        for s, rows in enumerate(self.rows):
            value = torch.zeros(self._policy_rate.shape[1], self.batch.features.shape[1], dtype=torch.float64)
            if rows.values is not None:
                value = value + rows.values[:: self.batch.cells.shape[-1]]
            if "value_outputs" in self._requires:
                value = value + self._learned(self.batch)[s].detach()
            found.append(value * rows.unit + rows.mean)
        return torch.stack(found)

    @property
    def taus(self) -> list[float | None]:
        """Temperature of each seed's resolved objective, in reward units; None where it has none."""
        found = [(getattr(rows.objective, "tau", None), rows.unit) for rows in self.rows]
        return [None if tau is None else tau * unit for tau, unit in found]

    def _learned(self, batch: Batch) -> Tensor:
        """Output of the value networks, (S, L, P)."""
        return torch.einsum("spf,slf->slp", batch.features, self._value_free * self._value_rate[..., None])


def train(
    batch: Batch,
    method: Method,
    strength: float | None,
    learning_rates: Sequence[float],
    checkpoints: Sequence[int],
    *,
    given: Sequence[Tensor] | None = None,
) -> Trained:
    """Adam on all rows at once (no mini-batches), from the reference, with a constant learning rate; see `Runs`."""
    runs = Runs(batch, method, strength, learning_rates, given=given)
    outcomes: dict[str, list[Outcome]] = {"validation": [], "test": []}
    data_logratio = []
    for step in range(1, max(checkpoints) + 1):
        logps, _ = runs.step()
        if step in checkpoints:
            with torch.no_grad():
                for part, found in outcomes.items():
                    found.append(batch.outcome(runs.weights, part))
                rho = logps.double() - batch.reference_logps.flatten(1)[:, None]
                data_logratio.append(rho.mean(-1))
    return Trained(strength, tuple(checkpoints), outcomes, data_logratio, runs.values(), runs.taus)


def _mismatched(batch: Batch, tables: Tensor, generator: torch.Generator) -> Tensor:
    """Mean log-ratio (S, L) of every response under another prompt, all shifted by one random number of prompts."""
    shift = int(torch.randint(1, batch.cells.shape[1], (1,), generator=generator))
    moved = batch.cells.roll(shift, dims=1)
    with torch.no_grad():
        reference = batch.reference.flatten(-2).gather(-1, moved).sum(-2)
        return (batch.logps(tables.detach(), moved) - reference[:, None]).double().mean((-1, -2))


def _losses(rows: _Rows, logps: Tensor, learned: Tensor | None, baseline: Tensor | None, problem: Problem) -> Tensor:
    """Each run's mean loss, (L,), by one call of the objective on all their rows."""
    rates, count, prompts = len(logps), len(rows.kept), int(rows.prompt_of.max()) + 1
    own = logps[:, rows.kept].double()

    def every(values: Tensor) -> Tensor:
        return values.repeat(rates)

    per_prompt = None
    values = rows.values
    if learned is not None:
        per_row = learned.repeat_interleave(problem.rewards.shape[1], dim=1)[:, rows.kept]
        if values is not None and "values" not in rows.objective.requires:
            per_row, values = per_row + values, None
        per_prompt = per_row.flatten()
    inputs = ObjectiveInputs(
        policy_logps=own.flatten(),
        tokens=torch.full((rates * count,), problem.world.settings.length),
        rewards=every(rows.rewards),
        prompt_of=(rows.prompt_of + prompts * torch.arange(rates)[:, None]).flatten(),
        group_size=every(rows.group_size),
        reference_logps=every(rows.reference),
        values=None if values is None else every(values),
        value_outputs=per_prompt,
        step_inputs={} if baseline is None else {"kl_estimate": baseline.repeat_interleave(count)},
        columns={name: every(column) for name, column in rows.columns.items()},
    )
    losses = rows.objective(inputs).losses
    counts = rows.objective.loss_denominator
    if counts == "responses":
        divisor = float(count)
    elif counts == "tokens":
        divisor = float(count * problem.world.settings.length)
    elif counts in rows.columns:
        divisor = float(rows.columns[counts].sum())
    else:
        raise ConfigError(f"{type(rows.objective).__name__} divides by {counts!r}, which no row has.")
    return losses.unflatten(0, (rates, -1)).sum(-1) / divisor


def finite_or_worst(values: Tensor) -> Tensor:
    """NaN as +∞, so that a run that broke is never chosen."""
    return torch.where(values.isfinite(), values, torch.full_like(values, math.inf))
