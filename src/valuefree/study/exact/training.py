"""Train a method in several worlds and at several learning rates at once, through the package's own objectives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from valuefree.errors import ConfigError
from valuefree.objectives import Objective, ObjectiveInputs, TrainingRows
from valuefree.partition import PartitionSettings, partition_targets
from valuefree.study.exact.methods import Method
from valuefree.study.exact.world import (
    Prompts,
    World,
    cells,
    expectation,
    kl_divergence,
    make_prompts,
    make_world,
    optimum,
    rewards_of,
    sample,
    tilted,
)

VALUE_SAMPLES = 4096  # of the reference per prompt, for V* where it has no closed form
POLICY_SAMPLES = 128  # of every policy per prompt, for E r there
DTYPE = torch.float32  # of the policies in training; their yardsticks are float64


@dataclass(frozen=True)
class Regime:
    """How the data came about: responses per prompt, prompts, tilt of the behaviour policy, noise on the rewards."""

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
    yardsticks: dict[str, "Yardstick"] = field(default_factory=dict)


@dataclass(frozen=True)
class Yardstick:
    """Prompts, and the optimum there: log π* (of the additive reward), and V* with its standard error."""

    prompts: Prompts
    best: Tensor
    values: Tensor  # (P,)
    error: float = 0.0

    @classmethod
    def at(cls, world: World, prompts: Prompts, tau: float) -> "Yardstick":
        """At the evaluation's temperature: exact for an additive reward, else from samples of the reference."""
        best, values = optimum(prompts.reference, prompts.reward, tau)
        if world.settings.reward == "additive":
            return cls(prompts, best, values + prompts.offset)
        drawn = rewards_of(world, prompts, sample(prompts.reference, VALUE_SAMPLES, torch.Generator().manual_seed(1)))
        values = tau * (torch.logsumexp(drawn / tau, dim=1) - math.log(VALUE_SAMPLES))
        ratio = ((drawn - values[:, None]) / tau).exp()
        error = tau * ratio.var(1).div(VALUE_SAMPLES).mean().div(len(values)).sqrt()
        return cls(prompts, best, values, float(error))


def make_problem(settings, regime: Regime, seed: int, *, shuffle: bool = False, held_out: int = 128) -> Problem:
    """Data of one seed; with `shuffle` the rewards are permuted within every prompt."""
    world = make_world(settings, seed)
    prompts = make_prompts(world, regime.prompts, seed=seed, part="train")
    generator = torch.Generator().manual_seed(777 + seed)
    behaviour = prompts.reference if regime.on_policy else tilted(prompts, regime.tilt)
    tokens = sample(behaviour, regime.responses, generator)
    rewards = rewards_of(world, prompts, tokens)
    rewards = rewards + regime.noise * torch.randn(rewards.shape, generator=generator, dtype=torch.float64)
    drawn = rewards_of(world, prompts, sample(prompts.reference, 4, generator))
    drawn = drawn + regime.noise * torch.randn(drawn.shape, generator=generator, dtype=torch.float64)
    if shuffle:
        order = torch.rand(rewards.shape, generator=generator).argsort(dim=1)
        rewards = rewards.gather(1, order)
    problem = Problem(seed, world, regime, prompts, tokens, rewards, drawn)
    for part in ("validation", "test"):
        held = make_prompts(world, held_out, seed=seed, part=part)
        problem.yardsticks[part] = Yardstick.at(world, held, regime.tau)
    return problem


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
class Outcome:
    """What a policy is worth on some prompts, per seed (S) and learning rate (L); `gap` is J* − J, in reward units."""

    gap: Tensor
    reward: Tensor
    kl: Tensor


class Batch:
    """All seeds of a regime stacked, for one forward pass over every policy."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = list(problems)
        train = [problem.train for problem in problems]
        self.features = torch.stack([prompts.features for prompts in train]).to(DTYPE)  # (S, P, F)
        self.reference = torch.stack([prompts.reference for prompts in train]).to(DTYPE)  # (S, P, T, C, A)
        contexts, alphabet = self.reference.shape[-2:]
        tokens = torch.stack([problem.tokens for problem in problems])
        self.cells = cells(tokens, contexts, alphabet).transpose(-1, -2)  # (S, P, T, n)
        table = torch.stack([prompts.reference for prompts in train]).flatten(-2)
        self.reference_logps = table.gather(-1, self.cells).sum(-2)  # (S, P, n), float64

    def tables(self, weights: Tensor, features: Tensor, reference: Tensor) -> Tensor:
        """Policies (S, L, P, T, C, A) of weights (S, L, F, T, C, A)."""
        shift = torch.einsum("spf,slftca->slptca", features, weights)
        return torch.log_softmax(reference[:, None] + shift, dim=-1)

    def logps(self, tables: Tensor, cells_: Tensor) -> Tensor:
        """Log-probabilities (S, L, P, n) of the responses at `cells_`, (S, P, T, n)."""
        flat = tables.flatten(-2)
        index = cells_[:, None].expand(-1, flat.shape[1], -1, -1, -1)
        return flat.gather(-1, index).sum(-2)

    def outcome(self, weights: Tensor, part: str) -> Outcome:
        """The yardstick on held-out prompts, of policies by their weights."""
        held = [problem.yardsticks[part].prompts for problem in self.problems]
        features = torch.stack([prompts.features for prompts in held])
        reference = torch.stack([prompts.reference for prompts in held])
        return self.worth(self.tables(weights.double(), features, reference), part)

    def worth(self, policy: Tensor, part: str) -> Outcome:
        """The yardstick on held-out prompts, of policies (S, L, P, T, C, A)."""
        held = [problem.yardsticks[part] for problem in self.problems]
        reference = torch.stack([y.prompts.reference for y in held])
        if self.exact:
            reward = torch.stack([y.prompts.reward for y in held])
            offset = torch.stack([y.prompts.offset for y in held])
            gained = expectation(policy, reward[:, None]) + offset[:, None]
        else:
            gained = self._sampled(policy, part)
        values = torch.stack([y.values for y in held])
        kl = kl_divergence(policy, reference[:, None])
        gap = values[:, None] - gained + self.problems[0].regime.tau * kl
        return Outcome(gap.mean(-1), gained.mean(-1), kl.mean(-1))

    @property
    def exact(self) -> bool:
        """Whether E r and V* have closed forms."""
        return self.problems[0].world.settings.reward == "additive"

    def _sampled(self, policy: Tensor, part: str) -> Tensor:
        """E_π r (S, L, P) from samples."""
        every = []
        for s, problem in enumerate(self.problems):
            prompts = problem.yardsticks[part].prompts
            tables = policy[s].flatten(0, 1)  # (L·P, T, C, A)
            rates = policy.shape[1]
            tokens = sample(tables, POLICY_SAMPLES, torch.Generator().manual_seed(2))
            drawn = tokens.unflatten(0, (rates, -1)).transpose(0, 1).flatten(1, 2)  # (P, L·n, T)
            rewards = rewards_of(problem.world, prompts, drawn).unflatten(1, (rates, -1))
            every.append(rewards.mean(-1).T)
        return torch.stack(every)


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


def reference_points(batch: Batch, part: str) -> dict[str, Outcome]:
    """π_ref, and π* where it is known, on held-out prompts, (S, 1) each."""
    held = [problem.yardsticks[part] for problem in batch.problems]
    tables = {"π_ref": torch.stack([y.prompts.reference for y in held])}
    if batch.exact:
        tables["π*"] = torch.stack([y.best for y in held])
    return {name: batch.worth(table[:, None], part) for name, table in tables.items()}


def frontier(batch: Batch, part: str, taus: Sequence[float]) -> list[tuple[float, float]]:
    """(KL, E r) of the optimum at each temperature, means over seeds and prompts: no policy lies above this curve."""
    points = []
    for tau in taus:
        held = [problem.yardsticks[part].prompts for problem in batch.problems]
        best = torch.stack([optimum(prompts.reference, prompts.reward, tau)[0] for prompts in held])
        worth = batch.worth(best[:, None], part)
        points.append((float(worth.kl.mean()), float(worth.reward.mean())))
    return points


def finite_or_worst(values: Tensor) -> Tensor:
    """NaN as +∞, so that a run that broke is never chosen."""
    return torch.where(values.isfinite(), values, torch.full_like(values, math.inf))
