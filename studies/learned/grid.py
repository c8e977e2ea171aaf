"""Which runs the study consists of, world by world."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studies.learned import exact, small, smol
from studies.learned.cells import Cell
from studies.learned.coverage import CoverageCell, CoverageScale
from studies.learned.exact import ExactScale
from studies.learned.small import SmallScale
from studies.small.models import KINDS

WORLDS = ("smollm2", "small", "exact")
DEFAULT = "RPO()"  # the method whose default run is looked at, and which is also trained on shuffled rewards
LABELS = (DEFAULT, "RPO(target_std=3)", "NCA()", "KTO()", "DPO()", "SFT()")
CHOOSING_SEED = 1000  # the first of the seeds that the rules are chosen on; reported seeds count from 0
CHOOSING_WORLD = "small-t5"
SMOLLM2_LR = 5e-4  # of the demo


@dataclass(frozen=True)
class Scale:
    """Sizes of the study in all worlds. labels: objectives as written in Python."""

    labels: tuple[str, ...] = LABELS
    small: SmallScale = field(default_factory=SmallScale)
    exact: ExactScale = field(default_factory=ExactScale)
    coverage: CoverageScale = field(default_factory=CoverageScale)
    coverage_seeds: int = 3


QUICK = Scale(
    labels=(DEFAULT, "KTO()"),
    small=small.QUICK_SCALE,
    exact=exact.QUICK_SCALE,
    coverage=CoverageScale((80,), replicates=20, pool=400, exact=exact.QUICK_SCALE),
    coverage_seeds=1,
)


def default_lr(world: str, scale: Scale) -> float:
    """The learning rate of the default run: the middle one of those tried, in the world of SmolLM2 the demo's."""
    if world == smol.WORLD:
        return SMOLLM2_LR
    lrs = lrs_of(world, scale)
    return sorted(lrs)[len(lrs) // 2]


def lrs_of(world: str, scale: Scale) -> tuple[float, ...]:
    """Learning rates of the small or the exact world."""
    return scale.exact.lrs if world == "exact" else scale.small.lrs


def choosing_cells(family: str, seeds: int, scale: Scale) -> list[Cell]:
    """The runs that rules are chosen on: of the small world those of one kind of model, so that it has one unseen."""
    worlds = [CHOOSING_WORLD] if family == "small" else [family]
    return grid_cells(worlds, range(CHOOSING_SEED, CHOOSING_SEED + seeds), scale)


def reported_cells(family: str, seeds: int, scale: Scale) -> list[Cell]:
    """The runs that are reported."""
    if family == smol.WORLD:
        return smollm2_cells(seeds)
    return grid_cells([f"small-{kind}" for kind in KINDS] if family == "small" else [family], range(seeds), scale)


def grid_cells(worlds: Sequence[str], seeds: Sequence[int], scale: Scale) -> list[Cell]:
    """Every method at every learning rate, and the default run on shuffled rewards."""
    return [
        cell
        for seed in seeds
        for world in worlds
        for cell in (
            *(Cell(world, label, lr, seed) for label in scale.labels for lr in lrs_of(world, scale)),
            Cell(world, DEFAULT, default_lr(world, scale), seed, shuffled=True),
        )
    ]


def smollm2_cells(seeds: int) -> list[Cell]:
    """The default run on every seed."""
    return [Cell(smol.WORLD, DEFAULT, SMOLLM2_LR, seed) for seed in range(seeds)]


def coverage_cells(scale: Scale) -> list[CoverageCell]:
    """Every number of prompts in every world of the coverage."""
    return [CoverageCell(seed, prompts) for seed in range(scale.coverage_seeds) for prompts in scale.coverage.prompts]


def measure_cell(cell: Cell, folder: Path, scale: Scale) -> list[dict[str, Any]]:
    """The curve of a cell of any world."""
    if cell.world == smol.WORLD:
        return smol.measure_cell(cell, folder)
    if cell.world == "exact":
        return exact.measure_cell(cell, scale.exact)
    return small.measure_cell(cell, folder, scale.small)
