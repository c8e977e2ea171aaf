"""Cells of the small study: what is run, and under which name it is kept. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studies.harness.controls import REMOVES
from studies.small.scale import TUNING_SEED

CONTROL = "control-"  # what the stage of a run on permuted rewards begins with
Setting = tuple[float, float | None]  # learning rate, strength
Group = tuple[str, str, str]  # kind of model, regime, method: what is tuned together


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
    def group(self) -> Group:
        """Kind of model, regime and method."""
        return self.kind, self.regime, self.method

    @property
    def control(self) -> str | None:
        """The permutation of the rewards it trains on, a key of `studies.harness.controls.REMOVES`."""
        return self.stage.removeprefix(CONTROL) if self.stage.startswith(CONTROL) else None

    @property
    def name(self) -> str:
        """Of the cell's file."""
        knob = "none" if self.strength is None else f"{self.strength:g}"
        return f"{self.kind}-{self.regime}-{self.method}-{self.stage}-lr{self.lr:g}-k{knob}-seed{self.seed}"


def tuning_cells(groups: Sequence[Group], settings: Mapping[str, Sequence[Setting]], seeds: int) -> list[Cell]:
    """Every setting of every method on the tuning seeds; `settings` by method."""
    return [
        Cell(kind, regime, method, lr, strength, TUNING_SEED + seed, "tune")
        for kind, regime, method in groups
        for lr, strength in settings[method]
        for seed in range(seeds)
    ]


def final_cells(chosen: Mapping[Group, Setting], seeds: int, control_seeds: int) -> list[Cell]:
    """Reported and control runs of every group at its setting."""
    stages = [("report", seed) for seed in range(seeds)]
    stages += [(CONTROL + control, seed) for control in REMOVES for seed in range(control_seeds)]
    return [Cell(*group, *setting, seed, stage) for group, setting in chosen.items() for stage, seed in stages]
