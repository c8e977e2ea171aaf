"""Cells of the grid, the files of their answers, and the pairs of cells that judges compare. No torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from studies.harness.cells import Row
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


def gain_of(row: Row) -> float | None:
    """Mean reward of a run's answers; None without a reward function."""
    reward = row.end.get("reward")
    return None if reward is None else reward["value"]


def kls_of(rows: Iterable[Row]) -> list[float]:
    """KL to the reference of the runs that have one, in nats per answer."""
    return [row.end["kl"]["value"] for row in rows if row.end.get("kl")]


def cells_of(
    scales: Sequence[Scale], methods: Sequence[Method], taus: Sequence[float], seeds: int, *, control: bool
) -> list[Cell]:
    """The grid; with `control` also every method that reads rewards on shuffled ones, at the main temperature.

    A brief scale has the paper's methods alone, and no control.
    """
    grid = [
        Cell(scale.name, method.name, tau, seed)
        for scale in scales
        for method in methods
        if method.published or not scale.brief
        for tau in temperatures(method, taus)
        for seed in range(seeds)
    ]
    if not control:
        return grid
    brief = {scale.name for scale in scales if scale.brief}
    main = [cell for cell in grid if cell.tau in (None, MAIN_TAU) and cell.scale not in brief]
    reads = {method.name for method in methods if method.rewards}
    return grid + [Cell(c.scale, c.method, c.tau, c.seed, shuffled=True) for c in main if c.method in reads]


def responses_file(cell: Cell, folder: Path) -> Path:
    """Where the answers of a run are kept: prompt, response, reward and tokens, in the order of the prompts."""
    return folder / "responses" / f"{cell.name}.jsonl"


@dataclass(frozen=True)
class TimingCell:
    """All timings of Figure 1. The first repetition is a warm-up, so they are not taken in parts."""

    name: str = "figure-1"


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
