"""The experiments behind Table I and section VI as cells. No torch until one runs."""

from dataclasses import dataclass, field, replace
from typing import Any

Row = dict[str, Any]

EQ_19, DEFAULT, ORACLE, DRO_V = "RPO eq. 19", "RPO default", "RPO, V*", "DRO-V"
DRO_ORACLE = "DRO, V = V*"
STABILITY = (EQ_19, DEFAULT, ORACLE, DRO_V, DRO_ORACLE)
COVERAGE = (EQ_19, DEFAULT, ORACLE, DRO_V)

RPO_GIVEN, RPO_LEVEL_1 = "RPO, V given", "RPO κ = 1, V given"
DRO_FROZEN, DRO_LEARNS = "DRO, V given and frozen", "DRO, V starts there and learns"
SENSITIVITY = (RPO_GIVEN, RPO_LEVEL_1, DRO_FROZEN, DRO_LEARNS)

VALUE_RATES = (0.001, 0.01, 0.1, 1.0)
ESTIMATORS = ("reference", "monte_carlo", "mean", "informed")
TUNED_DRO = {rate: f"DRO-V, V's lr {rate:g}" for rate in VALUE_RATES}
TUNED_RPO = {name: f"RPO, V̂ {name}" for name in ESTIMATORS}
TUNING = (*TUNED_DRO.values(), *TUNED_RPO.values())

WORLDS = {"long": (12, 6), "short": (3, 4)}  # tokens, alphabet: 2·10⁹ and 64 responses
DRAWN, NOISY, MISSING, ALIKE = "as drawn", "noise 1", "top quarter missing", "little variety"
CONDITIONS: dict[str, dict[str, float]] = {
    DRAWN: {},
    NOISY: {"noise": 1.0},
    MISSING: {"missing": 0.25},
    ALIKE: {"sharpness": 3.0},
}


@dataclass(frozen=True)
class Setting:
    """Settings of one problem, at τ = 1.

    world: a name of `WORLDS`. responses, prompts: n and how many. noise: standard deviation on the rewards. missing:
    share of the responses with the highest rewards that the data lack. sharpness: responses are drawn from the
    reference with its logits times this. reference: the reference is tilted by exp(this · reward); below zero is worse.
    """

    world: str = "long"
    responses: int = 4
    prompts: int = 128
    held_out: int = 128
    noise: float = 0.0
    missing: float = 0.0
    sharpness: float = 1.0
    reference: float = 0.0


@dataclass(frozen=True)
class Scale:
    """Size of the experiments, the same for every method.

    counts: responses per prompt of the coverage runs. offsets, spreads: δ of the sensitivity runs, constant and
    random. tilts: of the reference. conditions, stability: names of `CONDITIONS` for the coverage and the stability
    runs. steps, batch, orders, every: of the stability runs, with `batch` prompts per step, as many batch orders, and
    J measured every so many steps.
    """

    seeds: int = 5
    prompts: int = 128
    held_out: int = 128
    learning_rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1)
    checkpoints: tuple[int, ...] = (10, 20, 40, 80, 160)
    counts: tuple[int, ...] = (1, 2, 4, 8, 16)
    offsets: tuple[float, ...] = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
    spreads: tuple[float, ...] = (0.5, 1.0, 2.0)
    tilts: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0)
    conditions: tuple[str, ...] = tuple(CONDITIONS)
    stability: tuple[str, ...] = (NOISY, DRAWN)
    steps: int = 240
    batch: int = 16
    orders: int = 4
    every: int = 5


@dataclass(frozen=True)
class Trial:
    """A cell: an experiment with one method."""

    experiment: str
    method: str
    scale: Scale
    setting: Setting = field(default_factory=Setting)
    condition: str = ""

    @property
    def name(self) -> str:
        """Of the cell's file."""
        parts = ("claims", self.experiment, self.setting.world, self.condition, self.method)
        return ", ".join(part for part in parts if part)

    def at(self, **changes: Any) -> "Trial":
        """The same with another setting."""
        return replace(self, setting=replace(self.setting, **changes))

    def row(self, seed: int, **values: Any) -> Row:
        """A row: the settings that identify it, and its values."""
        named = {"experiment": self.experiment, "method": self.method, "condition": self.condition, "seed": seed}
        setting = {name: getattr(self.setting, name) for name in ("world", "responses", "noise", "reference")}
        return named | setting | values


def carry_out(trial: Trial) -> list[Row]:
    """The rows of a trial."""
    from studies.paper.claims import experiments  # noqa: PLC0415  imports torch, which the report does without

    return experiments.EXPERIMENTS[trial.experiment](trial)


def trials_of(scale: Scale | None = None) -> list[Trial]:
    """Every trial, in the order of their names."""
    scale = scale or Scale()
    base = Setting(prompts=scale.prompts, held_out=scale.held_out)
    trials = [
        Trial("stability", method, scale, replace(base, **CONDITIONS[name]), name)
        for name in scale.stability
        for method in STABILITY
    ]
    trials += [Trial("sensitivity", method, scale, base) for method in SENSITIVITY]
    trials += [Trial("tuning", method, scale, base) for method in TUNING]
    for world in WORLDS:
        here = replace(base, world=world)
        for name in scale.conditions:
            setting = replace(here, **CONDITIONS[name])
            trials += [Trial("coverage", method, scale, setting, name) for method in COVERAGE]
        trials += [Trial("reference", method, scale, here) for method in COVERAGE]
    return sorted(trials, key=lambda trial: trial.name)
