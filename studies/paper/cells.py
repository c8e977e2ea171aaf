"""Cells of the grid: what is run, and under which name its row and its responses are kept. No torch."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from studies.paper.methods import Method, temperatures
from studies.paper.scales import MAIN_TAU, Scale
from studies.small.files import write_text
from valuefree.evaluation.stats import Estimate


@dataclass(frozen=True)
class Cell:
    """One run: scale and method by name. tau: None where the method has no runs by temperature. shuffled: control."""

    scale: str
    method: str
    tau: float | None
    seed: int
    shuffled: bool = False

    @property
    def name(self) -> str:
        """Of the cell's files."""
        method = self.method.replace("()", "-default").replace(" ", "-")
        tau = "" if self.tau is None else f"-tau{self.tau:.15g}"
        return f"{self.scale}-{method}{tau}-seed{self.seed}{'-shuffled' if self.shuffled else ''}"

    def file(self, folder: Path, kind: str = "cells", suffix: str = "json") -> Path:
        """Where its row is kept (``cells``), its responses (``responses``), or its metrics."""
        return folder / kind / f"{self.name}.{suffix}"


@dataclass(frozen=True)
class Row:
    """What a cell gave, or the error that ended it.

    reward, kl: estimates over the held-out prompts, or None where nothing can be said: no reward function, the
    reference itself. length: tokens per response. steps, train_seconds (by the clock), cpu_seconds (of the training's
    own processor time), prepare_seconds (tokenising, scores, partition). partition: summary of the partition report.
    history: the trainer's log. seconds: of the whole cell.
    """

    cell: Cell
    reward: dict[str, Any] | None = None
    kl: dict[str, Any] | None = None
    length: float | None = None
    steps: int = 0
    train_seconds: float = 0.0
    cpu_seconds: float = 0.0
    prepare_seconds: float = 0.0
    partition: dict[str, Any] | None = None
    objective: dict[str, Any] | None = None
    history: Sequence[dict[str, Any]] = ()
    seconds: float = 0.0
    commit: str | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For its file."""
        return asdict(self)

    def write(self, folder: Path) -> None:
        """Keep it in the study's folder."""
        write_text(self.cell.file(folder), json.dumps(self.to_dict(), indent=1, default=str))

    @classmethod
    def read(cls, file: Path) -> "Row":
        """From its file."""
        content = json.loads(file.read_text(encoding="utf-8"))
        known = {item.name for item in fields(cls)}
        content = {name: value for name, value in content.items() if name in known}
        return cls(**{**content, "cell": Cell(**content["cell"])})

    @property
    def gain(self) -> float | None:
        """Mean reward, for paired differences over seeds."""
        return None if self.reward is None else self.reward["value"]


def estimate_of(content: dict[str, Any] | None) -> Estimate | None:
    """Back from `Estimate.to_dict`."""
    if content is None:
        return None
    interval = content["interval"]
    return Estimate(content["value"], None if interval is None else tuple(interval), content["n"])


def cells_of(
    scales: Sequence[Scale], methods: Sequence[Method], taus: Sequence[float], seeds: int, *, control: bool
) -> list[Cell]:
    """The grid; with `control` also every method that reads rewards on shuffled ones, at the main temperature."""
    grid = [
        Cell(scale.name, method.name, tau, seed)
        for scale in scales
        for method in methods
        for tau in temperatures(method, taus)
        for seed in range(seeds)
    ]
    if not control:
        return grid
    main = [cell for cell in grid if cell.tau in (None, MAIN_TAU)]
    reads = {method.name for method in methods if method.rewards}
    return grid + [Cell(c.scale, c.method, c.tau, c.seed, shuffled=True) for c in main if c.method in reads]


def missing(cells: Sequence[Cell], folder: Path) -> list[Cell]:
    """Those without a row, or whose row is an error."""
    return [cell for cell in cells if not cell.file(folder).exists() or Row.read(cell.file(folder)).error is not None]


def responses_of(cell: Cell, folder: Path) -> list[dict[str, Any]]:
    """Rows of prompt, response, reward and tokens, in the order of the held-out prompts."""
    text = cell.file(folder, "responses", "jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]  # answers may hold what splitlines splits at
