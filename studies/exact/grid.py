"""The grid of the exact study: the regimes, and what one cell (a method in a regime, on all seeds) measures."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from studies.exact.methods import BY_NAME, Method
from studies.exact.policies import Batch, Outcome, frontier, reference_points
from studies.exact.problems import Regime, make_problem
from studies.exact.training import Trained, finite_or_worst, train
from studies.exact.world import WorldSettings
from studies.harness.cells import Row
from studies.harness.controls import controls_of

FRONTIER_TAUS = (0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 10.0, 30.0)
MEASURED = ("strength", "tau", "lr", "step", "validation_gap", "gap", "gap_end", "reward", "kl", "kl_end", "logratio")
Line = dict[str, Any]  # of rows.csv: one seed of a method at a setting, of the reference, or of the optimum


@dataclass(frozen=True)
class Scale:
    """The effort, the same for every method. points: values of its knob; checkpoints: steps that are measured."""

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
    """The regimes that the lines over n, noise and tilt need beyond the default ones."""
    shared = {"prompts": prompts, "tau": tau}
    return [
        *(Regime(f"sweep: n = {n}", responses=n, noise=1.0, **shared) for n in (1, 2, 8)),
        *(Regime(f"sweep: noise {noise:g}", noise=noise, **shared) for noise in (0.5, 2.0)),
        *(Regime(f"sweep: tilt {tilt:g}", tilt=tilt, noise=1.0, **shared) for tilt in (-1.0, 0.5)),
    ]


@dataclass(frozen=True)
class Cell:
    """A method in a regime on some seeds; with `control` it is also trained, as tuned, on permuted rewards."""

    regime: Regime
    method: str
    seeds: tuple[int, ...]
    world: WorldSettings
    scale: Scale
    control: bool

    @property
    def name(self) -> str:
        """Of the cell's file."""
        return re.sub(r"[^\w.=-]+", "-", f"{self.regime.name}-{self.method}").strip("-")

    def batch(self, control: str | None = None) -> Batch:
        """The problems of all seeds."""
        scale = self.scale
        return Batch(
            [make_problem(self.world, self.regime, s, control=control, held_out=scale.held_out) for s in self.seeds]
        )

    def line(self, seed: int, **values: Any) -> Line:
        """A line of a seed; what `values` lacks is None."""
        regime = {"regime" if name == "name" else name: value for name, value in asdict(self.regime).items()}
        named = {"method": self.method, "seed": seed, "control": None, "chosen": False, "error": None}
        return {**regime, **named, **dict.fromkeys(MEASURED), **values}


def measure(cell: Cell) -> list[Line]:
    """The lines of every setting of a cell, and those of the permuted rewards at the chosen setting."""
    torch.set_num_threads(1)
    method, scale, batch = BY_NAME[cell.method], cell.scale, cell.batch()
    lines: list[Line] = []
    candidates: list[tuple[float, Trained, int]] = []  # validation gap, run, index of the learning rate
    for strength in points(method, scale):
        run = train(batch, method, strength, scale.learning_rates, scale.checkpoints)
        for rate, lr in enumerate(scale.learning_rates):
            gap, checkpoint = _best_checkpoint(run, rate)
            lines += _measured(cell, run, lr, rate, checkpoint)
            candidates.append((gap, run, rate))
    _, run, rate = min(candidates, key=lambda candidate: candidate[0])
    lr = scale.learning_rates[rate]
    for line in lines:
        line["chosen"] = (line["strength"], line["lr"]) == (run.strength, lr)
    step = run.checkpoints[_best_checkpoint(run, rate)[1]]
    for control in controls_of(cell.regime.responses) if cell.control else ():
        permuted = train(cell.batch(control), method, run.strength, [lr], [step])
        lines += [line | {"control": control} for line in _measured(cell, permuted, lr, 0, 0)]
    return lines


def lines_of(row: Row) -> list[Line]:
    """The lines of a row; of a cell that failed one per seed with its error."""
    curve = row.curve or [row.cell.line(seed, error=row.error) for seed in row.cell.seeds]
    return [line | {"seconds": row.seconds} for line in curve]


def points(method: Method, scale: Scale) -> tuple[float | None, ...]:
    """Values of the method's knob that the scale tries; a short grid takes those from the second on."""
    strengths = method.strengths
    return strengths if scale.points >= len(strengths) else strengths[1 : 1 + scale.points]


def _best_checkpoint(run: Trained, rate: int) -> tuple[float, int]:
    """(mean gap over seeds on validation prompts, index) of the best checkpoint of one learning rate."""
    gaps = torch.stack([finite_or_worst(outcome.gap[:, rate]).mean() for outcome in run.outcomes["validation"]])
    index = int(gaps.argmin())
    return float(gaps[index]), index


def _measured(cell: Cell, run: Trained, lr: float, rate: int, checkpoint: int) -> list[Line]:
    held, last, seen = (
        run.outcomes["test"][checkpoint],
        run.outcomes["test"][-1],
        run.outcomes["validation"][checkpoint],
    )
    return [
        cell.line(
            seed,
            strength=run.strength,
            tau=run.taus[s],
            lr=lr,
            step=run.checkpoints[checkpoint],
            validation_gap=float(seen.gap[s, rate]),
            gap_end=float(last.gap[s, rate]),
            kl_end=float(last.kl[s, rate]),
            logratio=float(run.data_logratio[checkpoint][s, rate]),
            **_worth(held, s, rate),
        )
        for s, seed in enumerate(cell.seeds)
    ]


def _worth(outcome: Outcome, seed: int, rate: int) -> dict[str, float]:
    return {name: float(getattr(outcome, name)[seed, rate]) for name in ("gap", "reward", "kl")}


def reference_lines(cell: Cell) -> tuple[list[Line], list[tuple[float, float]]]:
    """The lines of π_ref and π*, and the exact frontier (KL, E r), in the regime of a cell."""
    batch = cell.batch()
    lines = [
        cell.line(seed, chosen=True, **_worth(outcome, s, 0)) | {"method": name, "seconds": 0.0}
        for name, outcome in reference_points(batch, "test").items()
        for s, seed in enumerate(cell.seeds)
    ]
    return lines, frontier(batch, "test", FRONTIER_TAUS) if batch.exact else []


def cells_of(
    regimes: Sequence[Regime],
    methods: Sequence[str],
    seeds: Sequence[int],
    world: WorldSettings,
    scale: Scale,
    *,
    control: bool,
) -> list[Cell]:
    """Every method in every regime."""
    return [Cell(regime, method, tuple(seeds), world, scale, control) for regime in regimes for method in methods]
