"""The experiments: stability, sensitivity to V, tuning of V, coverage, quality of the reference."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from studies.exact.policies import Batch, reference_points
from studies.exact.problems import Optimum
from studies.exact.training import Runs, Trained, finite_or_worst, train
from studies.paper.claims.methods import METHODS, TAU
from studies.paper.claims.plan import Row, Trial
from studies.paper.claims.problems import make_claim_problem
from valuefree.objectives import DRO, Objective

REACHED = 0.9  # share of the way from the reference's J to the run's own final J


def _batch(trial: Trial) -> Batch:
    return Batch([make_claim_problem(trial.setting, seed) for seed in range(trial.scale.seeds)])


def _true_values(batch: Batch) -> list[Tensor]:
    """V* of the training prompts, (P,) per seed."""
    return [Optimum.at(problem.world, problem.train, TAU).values for problem in batch.problems]


def _train(trial: Trial, batch: Batch, given: Sequence[Tensor] | None = None) -> Trained:
    scale = trial.scale
    return train(batch, METHODS[trial.method], TAU, scale.learning_rates, scale.checkpoints, given=given)


def tuned(run: Trained) -> tuple[int, int]:
    """(learning rate, checkpoint), as indices, with the best J on validation prompts, mean over seeds."""
    gaps = torch.stack([finite_or_worst(outcome.gap).mean(0) for outcome in run.outcomes["validation"]], dim=1)
    rate, checkpoint = divmod(int(gaps.argmin()), gaps.shape[1])
    return rate, checkpoint


def _measured(trial: Trial, batch: Batch, run: Trained, at: tuple[int, int], **extra: Any) -> Iterator[Row]:
    """A row per seed of one learning rate and checkpoint, on test prompts; V̂ − V* is of the last step."""
    rate, checkpoint = at
    held, last = run.outcomes["test"][checkpoint], run.outcomes["test"][-1]
    reference = reference_points(batch, "test")["π_ref"]
    for s, values in enumerate(_true_values(batch)):
        error = run.values[s, rate] - values
        yield trial.row(
            s,
            lr=trial.scale.learning_rates[rate],
            step=run.checkpoints[checkpoint],
            gap=float(held.gap[s, rate]),
            gap_last=float(last.gap[s, rate]),
            gap_reference=float(reference.gap[s, 0]),
            reward=float(held.reward[s, rate]),
            reward_gained=float(held.reward[s, rate] - reference.reward[s, 0]),
            kl=float(held.kl[s, rate]),
            logratio=float(run.data_logratio[checkpoint][s, rate]),
            value_bias=float(error.mean()),
            value_error=float(error.square().mean().sqrt()),
            **extra,
        )


# --------------------------------------------------------------------------------------------------------- stability


def stability(trial: Trial) -> list[Row]:
    """Mini-batches of prompts in several orders, same world and rows; a row per world and learning rate.

    A stacked run is a world and an order. Coefficients of variation (standard deviation over mean) are of the second
    half of the steps: over the steps, mean over the orders; and over the orders, mean over the steps.
    """
    scale, worlds = trial.scale, trial.scale.seeds
    problems = [make_claim_problem(trial.setting, seed) for seed in range(worlds)]
    batch = Batch([problem for problem in problems for _ in range(scale.orders)])
    runs = Runs(batch, METHODS[trial.method], TAU, scale.learning_rates)
    unit = torch.tensor([loss_unit(rows.objective) for rows in runs.rows])
    losses, norms, gaps = [], [], []
    for step, prompts in enumerate(_mini_batches(trial), start=1):
        _, loss = runs.step(prompts)
        losses.append(loss * unit[:, None])
        norms.append(runs.gradients().flatten(2).norm(dim=-1).double() * unit[:, None])
        if step % scale.every == 0:
            with torch.no_grad():
                gaps.append(batch.outcome(runs.weights, "validation").gap)

    def by_world(values: Tensor) -> Tensor:
        """(…, S, L) to (…, world, order, L)."""
        return values.unflatten(-2, (worlds, scale.orders))

    curves = by_world(torch.stack(gaps))
    start = by_world(reference_points(batch, "validation")["π_ref"].gap)
    reached = steps_to_reach(curves, start, scale.every)
    with torch.no_grad():
        final = by_world(batch.outcome(runs.weights, "test").gap)
    late = slice(scale.steps // 2, None)
    found = {
        **variation("loss", by_world(torch.stack(losses)[late])),
        **variation("gradient", by_world(torch.stack(norms)[late])),
        "gap": final.mean(1),
        "gap_spread": final.std(1),
        "gap_reference": by_world(reference_points(batch, "test")["π_ref"].gap).mean(1).expand(-1, final.shape[-1]),
        "steps_to_reach": reached.mean(1),
    }
    chosen = int(finite_or_worst(curves[-1]).mean((0, 1)).argmin())
    return [
        trial.row(
            s,
            lr=lr,
            chosen=number == chosen,
            curve=curves[:, s, :, number].mean(-1).tolist(),
            every=scale.every,
            policy_parameters=runs.weights[0, 0].numel(),
            value_parameters=runs.value_parameters,
            **{name: float(values[s, number]) for name, values in found.items()},
        )
        for number, lr in enumerate(scale.learning_rates)
        for s in range(worlds)
    ]


def _mini_batches(trial: Trial) -> Iterator[Tensor]:
    """Prompts (S, p) of every step: another order for every stacked run, every prompt once per epoch."""
    scale, count = trial.scale, trial.setting.prompts
    generators = [
        torch.Generator().manual_seed(100 * seed + order)
        for seed in range(trial.scale.seeds)
        for order in range(scale.orders)
    ]
    per_epoch = count // scale.batch
    orders = torch.empty(0)
    for step in range(scale.steps):
        if step % per_epoch == 0:
            orders = torch.stack([torch.randperm(count, generator=generator) for generator in generators])
        first = (step % per_epoch) * scale.batch
        yield orders[:, first : first + scale.batch]


def loss_unit(objective: Objective) -> float:
    """Factor that converts a loss or its gradient to RPO's unit, nats² or nats: 1/τ² for DRO."""
    return objective.tau**-2 if isinstance(objective, DRO) else 1.0


def variation(name: str, values: Tensor) -> Row:
    """Coefficients of variation (world, L) of values (step, world, order, L), with mean and deviations."""
    return {
        f"{name}_cv_steps": (values.std(0) / values.mean(0)).mean(1),
        f"{name}_cv_orders": (values.std(2) / values.mean(2)).mean(0),
        f"{name}_mean": values.mean((0, 2)),
        f"{name}_sd_steps": values.std(0).mean(1),
        f"{name}_sd_orders": values.std(2).mean(0),
    }


def steps_to_reach(gaps: Tensor, start: Tensor, every: int) -> Tensor:
    """Steps after which J stays within a tenth of the way from start to end; gaps (checkpoint, …), start (…)."""
    allowed = (1 - REACHED) * (start - gaps[-1]).abs()
    outside = (gaps - gaps[-1]).abs() > allowed
    # The checkpoint after the last one outside; the last checkpoint itself is always inside.
    index = torch.arange(1, len(gaps) + 1).view(-1, *[1] * (gaps.dim() - 1))
    return every * ((outside * index).amax(0) + 1).double()


# ------------------------------------------------------------------------------------------------ sensitivity, tuning


def sensitivity(trial: Trial) -> list[Row]:
    """V = V* + δ, constant or random per prompt; `held`: with the settings tuned at δ = 0, else tuned at each δ."""
    batch = _batch(trial)
    true = _true_values(batch)
    generators = [torch.Generator().manual_seed(50_000 + seed) for seed in range(trial.scale.seeds)]
    noise = [torch.randn(len(v), generator=g, dtype=v.dtype) for v, g in zip(true, generators, strict=True)]
    rows: list[Row] = []
    exact = _train(trial, batch, true)
    settled = tuned(exact)
    cases = [("constant", delta) for delta in trial.scale.offsets] + [("random", s) for s in trial.scale.spreads]
    for kind, delta in cases:
        shifts = noise if kind == "random" else [torch.ones_like(value) for value in true]
        given = [value + delta * shift for value, shift in zip(true, shifts, strict=True)]
        run = exact if delta == 0 else _train(trial, batch, given)
        for held, at in ((True, settled), (False, tuned(run))):
            rows += _measured(trial, batch, run, at, kind=kind, delta=delta, held=held)
    return rows


def tuning(trial: Trial) -> list[Row]:
    """One choice of the value network's learning rate or of the estimator of V̂; the policy's settings are tuned."""
    batch = _batch(trial)
    run = _train(trial, batch)
    return list(_measured(trial, batch, run, tuned(run)))


# ------------------------------------------------------------------------------------------------ coverage, reference


def coverage(trial: Trial) -> list[Row]:
    """One run per number of responses per prompt, under one condition."""
    return [row for count in trial.scale.counts for row in tuning(trial.at(responses=count))]


def reference(trial: Trial) -> list[Row]:
    """One run per tilt of the reference, from which the data are drawn too."""
    return [row for tilt in trial.scale.tilts for row in tuning(trial.at(reference=tilt))]


EXPERIMENTS = {run.__name__: run for run in (stability, sensitivity, tuning, coverage, reference)}
