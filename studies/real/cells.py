"""Cells of the study on real models: what is run, and under which name it is kept. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Setting = tuple[float, float | None]  # learning rate, strength
Group = tuple[str, str, str]  # task, regime, method: what is tuned together
TUNING_SEED = 100
SHUFFLED = "shuffled"  # the stage of the reported runs whose rewards were permuted within their prompts


@dataclass(frozen=True)
class Cell:
    """One run. stage: ``tune`` (measured on validation prompts), or on test prompts ``report`` and ``shuffled``."""

    task: str
    regime: str
    method: str
    lr: float
    strength: float | None
    seed: int
    stage: str

    @property
    def group(self) -> Group:
        """Task, regime and method."""
        return self.task, self.regime, self.method

    @property
    def setting(self) -> Setting:
        """Learning rate and strength."""
        return self.lr, self.strength

    @property
    def name(self) -> str:
        """Of the cell's file."""
        knob = "none" if self.strength is None else f"{self.strength:g}"
        parts = (self.task, self.regime, self.method, self.stage, f"lr{self.lr:g}", f"k{knob}", f"seed{self.seed}")
        return "-".join(parts)


def tuning_cells(groups: Sequence[Group], settings: Mapping[str, Sequence[Setting]]) -> list[Cell]:
    """Every setting of every method that has more than one; `settings` by method."""
    return [
        Cell(task, regime, method, lr, strength, TUNING_SEED, "tune")
        for task, regime, method in groups
        for lr, strength in settings[method]
        if len(settings[method]) > 1
    ]


def reported_cells(chosen: Mapping[Group, Sequence[Setting]], seeds: int, shuffled: Sequence[str]) -> list[Cell]:
    """Every group at each of its chosen settings, and the methods of `shuffled` also on permuted rewards.

    The first choices of all groups come before their controls, and these before the second choices, so that an
    interrupted study has what matters most.
    """
    cells: list[Cell] = []
    for choice in range(max(map(len, chosen.values()), default=0)):
        for stage in ("report", SHUFFLED):
            for group, settings in chosen.items():
                if stage == "report" or group[2] in shuffled:
                    here = settings[choice : choice + 1]
                    cells += [Cell(*group, *setting, seed, stage) for setting in here for seed in range(seeds)]
    return list(dict.fromkeys(cells))
