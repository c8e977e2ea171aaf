"""Cells of the grid, the names of their files, their rows, and the pairs of cells that judges compare."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from studies.harness.files import write_text
from studies.paper.methods import METHODS, OURS, REFERENCE, SELF_TUNED, Method, temperatures
from studies.paper.scales import MAIN_TAU, Scale


@dataclass(frozen=True)
class Cell:
    """One run: scale and method by name. tau: None where the method has no runs by temperature. shuffled: control."""

    scale: str
    method: str
    tau: float | None
    seed: int
    shuffled: bool = False

    @classmethod
    def of(cls, scale: str, method: str, tau: float | None, seed: int, *, shuffled: bool = False) -> "Cell":
        """With the temperature that a method's cell carries: None where the method has no runs by temperature."""
        return cls(scale, method, tau if METHODS[method].taus else None, seed, shuffled)

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
    """The result of a cell, or the error that ended it.

    reward, kl: estimates over the held-out prompts; None without a reward function, and for the KL of the reference.
    length: tokens per response. train_seconds: wall-clock time of training. cpu_seconds: processor time of training.
    prepare_seconds: tokenising, scores, partition and the search for a learning rate. partition: summary of the
    partition report. history: the trainer's log. chosen: learning rate and strength of a run that chooses them, as
    `studies.paper.self_tuning.Chosen` has them. seconds: of the whole cell.
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
    chosen: dict[str, Any] | None = None
    seconds: float = 0.0
    commit: str | None = None
    error: str | None = None

    def write(self, folder: Path) -> None:
        """Keep it in the study's folder."""
        write_text(self.cell.file(folder), json.dumps(asdict(self), indent=1, default=str))

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
    return read_json_lines(cell.file(folder, "responses", "jsonl"))


def read_json_lines(file: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; texts may hold the other line ends that `str.splitlines` splits at."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


# -------------------------------------------------------------------------------------------------------------- pairs


@dataclass(frozen=True)
class Pair:
    """Two methods whose answers judges compare, at one temperature where a method has runs by temperature."""

    first: str
    second: str
    tau: float = MAIN_TAU

    def cells(self, scale: str, seed: int) -> tuple[Cell, Cell]:
        """The runs compared."""
        return Cell.of(scale, self.first, self.tau, seed), Cell.of(scale, self.second, self.tau, seed)

    def file(self, folder: Path, judge: str, scale: str, seed: int) -> Path:
        """Where the verdicts of a judge, by its key, are kept."""
        first, second = self.cells(scale, seed)
        return folder / "judged" / f"{judge}-{first.name}--{second.name}.json"


def paper_pairs(taus: Sequence[float]) -> list[Pair]:
    """Of Tables III, IV and VI."""
    found = [Pair("RPO", other) for other in (REFERENCE, "KTO", "DRO")]
    found += [Pair("RPO", other, tau) for other in (REFERENCE, "RPO-noNorm") for tau in taus]
    return list(dict.fromkeys(found))


def our_pairs() -> list[Pair]:
    """Pairs that the paper lacks: against supervised fine-tuning on everything, and the default against all."""
    found = [Pair("RPO", other) for other in ("SFT-all", "SFT-best", "DRO-V")]
    found += [Pair(OURS, other) for other in (REFERENCE, "KTO", "DRO", "RPO", "DRO-V", "SFT-all", "SFT-best")]
    return found + [Pair(SELF_TUNED, other) for other in (REFERENCE, "KTO", "DRO", "RPO", OURS)]


def pairs_of(methods: Sequence[str], taus: Sequence[float], *, ours: bool) -> list[Pair]:
    """The pairs whose methods were run; with `ours` also those that the paper lacks."""
    found = paper_pairs(taus) + (our_pairs() if ours else [])
    return [one for one in found if one.first in methods and one.second in methods]
