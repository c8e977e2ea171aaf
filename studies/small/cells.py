"""Cells of the grid: what is run, in which order, and under which name it is kept. No torch."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from studies.harness.controls import REMOVES
from studies.small.files import write_text
from studies.small.scale import TUNING_SEED

CONTROL = "control-"  # what the stage of a run on permuted rewards begins with


@dataclass(frozen=True)
class Cell:
    """One run. stage: ``tune`` (on validation prompts), or on test prompts ``report`` and ``control-…`` (permuted)."""

    kind: str
    regime: str
    method: str
    lr: float
    strength: float | None
    seed: int
    stage: str

    @property
    def group(self) -> tuple[str, str, str]:
        """Kind of model, regime and method: what is tuned together."""
        return self.kind, self.regime, self.method

    @property
    def control(self) -> str | None:
        """Which permutation of the rewards it trains on, a key of `studies.harness.controls.REMOVES`."""
        return self.stage.removeprefix(CONTROL) if self.stage.startswith(CONTROL) else None

    @property
    def name(self) -> str:
        """Of the cell's file."""
        knob = "none" if self.strength is None else f"{self.strength:g}"
        return f"{self.kind}-{self.regime}-{self.method}-{self.stage}-lr{self.lr:g}-k{knob}-seed{self.seed}"

    def file(self, folder: Path) -> Path:
        """Where its row is kept."""
        return folder / "cells" / f"{self.name}.json"

    def to_dict(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


@dataclass(frozen=True)
class Row:
    """What a cell gave: its curve, from the untouched reference on, or the error that ended it.

    curve: one dict per measured checkpoint: ``step`` and the fields of `Measured`. seconds, cpu_seconds: of the whole
    cell, by the clock and of its processor. commit: of the source that ran it.
    """

    cell: Cell
    curve: list[dict[str, Any]] | None
    error: str | None
    seconds: float
    cpu_seconds: float
    commit: str | None

    def to_dict(self) -> dict[str, Any]:
        """For its file."""
        return {"cell": self.cell.to_dict(), **{name: getattr(self, name) for name in self._outcome()}}

    @classmethod
    def _outcome(cls) -> list[str]:
        return [item.name for item in fields(cls) if item.name != "cell"]

    def write(self, folder: Path) -> None:
        """Keep it in the study's folder."""
        write_text(self.cell.file(folder), json.dumps(self.to_dict(), indent=1))

    @classmethod
    def read(cls, file: Path) -> "Row":
        """From its file."""
        content = json.loads(file.read_text(encoding="utf-8"))
        return cls(Cell(**content["cell"]), **{name: content[name] for name in cls._outcome()})


def tuning_cells(
    groups: Sequence[tuple[str, str, str]], settings: dict[str, list[tuple[float, float | None]]], seeds: int
) -> list[Cell]:
    """Every setting of every method on the tuning seeds; `settings` by method."""
    return [
        Cell(kind, regime, method, lr, strength, TUNING_SEED + seed, "tune")
        for kind, regime, method in groups
        for lr, strength in settings[method]
        for seed in range(seeds)
    ]


def final_cells(
    chosen: dict[tuple[str, str, str], tuple[float, float | None]], seeds: int, control_seeds: int
) -> list[Cell]:
    """Reported and control runs of every group at its setting."""
    stages = [("report", seed) for seed in range(seeds)]
    stages += [(CONTROL + control, seed) for control in REMOVES for seed in range(control_seeds)]
    return [Cell(*group, *setting, seed, stage) for group, setting in chosen.items() for stage, seed in stages]


def missing(cells: Sequence[Cell], folder: Path) -> list[Cell]:
    """Those whose row is not on disk."""
    return [cell for cell in cells if not cell.file(folder).exists()]
