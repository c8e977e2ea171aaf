"""The grid of the exact study: which regimes, and what one task of a worker computes and gives back as rows."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from studies.exact.methods import BY_NAME, Method
from studies.exact.policies import Batch, frontier, reference_points
from studies.exact.problems import Regime, make_problem
from studies.exact.training import Trained, finite_or_worst, train
from studies.exact.world import WorldSettings
from studies.harness.controls import controls_of
from valuefree.errors import ValueFreeError

SWEPT = ("RPO(), untouched", "RPO, tau tuned", "RPO paper (eq. 19)", "RPO centred (level 0)", "DRO-V", "KTO")
SWEPT += ("DPO all pairs", "SFT all")
FRONTIER_TAUS = (0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 10.0, 30.0)
Row = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How much is spent: every method gets the same. points: of the own knob; checkpoints: steps that are measured."""

    seeds: int = 5
    learning_rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1)
    points: int = 4
    checkpoints: tuple[int, ...] = (10, 20, 40, 80, 160)
    held_out: int = 128


QUICK = Scale(seeds=2, learning_rates=(0.01, 0.03), points=2, checkpoints=(10, 20, 40), held_out=64)


def default_regimes(prompts: int, tau: float) -> list[Regime]:
    """The four regimes of n = 4, and two of n = 1."""
    shared = {"prompts": prompts, "tau": tau}
    return [
        Regime("clean, on-policy", **shared),
        Regime("clean, off-policy", tilt=1.0, **shared),
        Regime("noisy, on-policy", noise=1.0, **shared),
        Regime("noisy, off-policy", tilt=1.0, noise=1.0, **shared),
        Regime("n = 1, clean, on-policy", responses=1, **shared),
        Regime("n = 1, noisy, off-policy", responses=1, tilt=1.0, noise=1.0, **shared),
    ]


def sweep_regimes(prompts: int, tau: float) -> list[Regime]:
    """What the lines over n, noise and tilt need beyond the default regimes; all at noise 1 or on-policy n = 4."""
    shared = {"prompts": prompts, "tau": tau}
    return [
        *(Regime(f"sweep: n = {n}", responses=n, noise=1.0, **shared) for n in (1, 2, 8)),
        *(Regime(f"sweep: noise {noise:g}", noise=noise, **shared) for noise in (0.5, 2.0)),
        *(Regime(f"sweep: tilt {tilt:g}", tilt=tilt, noise=1.0, **shared) for tilt in (-1.0, 0.5)),
    ]


@dataclass(frozen=True)
class Task:
    """A method in a regime on some seeds; `control` also runs it, as tuned, on permuted rewards."""

    regime: Regime
    method: str
    seeds: tuple[int, ...]
    world: WorldSettings
    scale: Scale
    control: bool


def carry_out(task: Task) -> list[Row]:
    """Rows of one task; an error of the method is a row."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    try:
        rows = _rows(task)
    except (ValueFreeError, ValueError, RuntimeError) as error:
        rows = failed(task, f"{type(error).__name__}: {error}")
    seconds = time.perf_counter() - start
    return [row | {"seconds": seconds} for row in rows]


def failed(task: Task, reason: str) -> list[Row]:
    """Rows of a task that gave none, one per seed."""
    return [_row(task, seed, error=reason) | {"seconds": 0.0} for seed in task.seeds]


def _row(task: Task, seed: int, **values: Any) -> Row:
    measured = (
        "strength",
        "tau",
        "lr",
        "step",
        "validation_gap",
        "gap",
        "gap_end",
        "reward",
        "kl",
        "kl_end",
        "logratio",
    )
    empty = dict.fromkeys(measured)
    named = {"method": task.method, "seed": seed, "control": None, "chosen": False, "error": None}
    return {**_regime(task.regime), **named, **empty, **values}


def _regime(regime: Regime) -> Row:
    return {"regime" if name == "name" else name: value for name, value in asdict(regime).items()}


def _batch(task: Task, control: str | None = None) -> Batch:
    scale = task.scale
    return Batch(
        [make_problem(task.world, task.regime, s, control=control, held_out=scale.held_out) for s in task.seeds]
    )


def _rows(task: Task) -> list[Row]:
    method, scale, batch = BY_NAME[task.method], task.scale, _batch(task)
    rows: list[Row] = []
    best: tuple[float, Trained, int] | None = None  # validation gap, run, learning rate
    for strength in points(method, scale):
        run = train(batch, method, strength, scale.learning_rates, scale.checkpoints)
        for number in range(len(scale.learning_rates)):
            gap, checkpoint = _best_checkpoint(run, number)
            rows += _measured(task, run, scale.learning_rates[number], number, checkpoint)
            if best is None or gap < best[0]:
                best = gap, run, number
    if best is None:
        return rows
    _, run, number = best
    lr = scale.learning_rates[number]
    for row in rows:
        row["chosen"] = (row["strength"], row["lr"]) == (run.strength, lr)
    step = run.checkpoints[_best_checkpoint(run, number)[1]]
    for control in controls_of(task.regime.responses) if task.control else ():
        shuffled = train(_batch(task, control), method, run.strength, [lr], [step])
        rows += [row | {"control": control} for row in _measured(task, shuffled, lr, 0, 0)]
    return rows


def points(method: Method, scale: Scale) -> tuple[float | None, ...]:
    """Of the method's own knob; a short grid takes those from the second on."""
    strengths = method.strengths
    return strengths if scale.points >= len(strengths) else strengths[1 : 1 + scale.points]


def _best_checkpoint(run: Trained, number: int) -> tuple[float, int]:
    """(mean gap over seeds on validation prompts, index) of the best checkpoint of one learning rate."""
    gaps = torch.stack([finite_or_worst(outcome.gap[:, number]).mean() for outcome in run.outcomes["validation"]])
    index = int(gaps.argmin())
    return float(gaps[index]), index


def _measured(task: Task, run: Trained, lr: float, number: int, checkpoint: int) -> list[Row]:
    held, seen = run.outcomes["test"][checkpoint], run.outcomes["validation"][checkpoint]
    return [
        _row(
            task,
            seed,
            strength=run.strength,
            tau=run.taus[s],
            lr=lr,
            step=run.checkpoints[checkpoint],
            validation_gap=float(seen.gap[s, number]),
            gap=float(held.gap[s, number]),
            gap_end=float(run.outcomes["test"][-1].gap[s, number]),
            reward=float(held.reward[s, number]),
            kl=float(held.kl[s, number]),
            kl_end=float(run.outcomes["test"][-1].kl[s, number]),
            logratio=float(run.data_logratio[checkpoint][s, number]),
        )
        for s, seed in enumerate(task.seeds)
    ]


def anchors(task: Task) -> tuple[list[Row], list[tuple[float, float]]]:
    """Rows of π_ref and π*, and the exact frontier (KL, E r), of the regime of a task."""
    batch = _batch(task)
    rows = []
    for name, outcome in reference_points(batch, "test").items():
        for s, seed in enumerate(task.seeds):
            values = {"gap": float(outcome.gap[s, 0]), "reward": float(outcome.reward[s, 0])}
            row = _row(task, seed, chosen=True, kl=float(outcome.kl[s, 0]), **values)
            rows.append(row | {"method": name, "seconds": 0.0})
    curve = frontier(batch, "test", FRONTIER_TAUS) if batch.exact else []
    return rows, curve


def tasks(
    regimes: Sequence[Regime],
    methods: Sequence[str],
    seeds: Sequence[int],
    world: WorldSettings,
    scale: Scale,
    *,
    control: bool,
) -> list[Task]:
    """Every method in every regime."""
    return [Task(regime, method, tuple(seeds), world, scale, control) for regime in regimes for method in methods]
