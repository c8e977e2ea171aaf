"""The sizes of the small study: all that its numbers depend on beside the axes of the grid. No torch."""

import math
from dataclasses import asdict, dataclass
from typing import Any

KLS = (0.5, 1.0, 2.0)  # nats per response at which methods are compared
TUNING_SEED = 1000  # the first; reported seeds count from 0
NEW_TOKENS = 20


@dataclass(frozen=True)
class Scale:
    """Sizes of the world and of a run.

    reference_steps, reference_batch: of the training of a reference. train_prompts × responses: rows of a run.
    test_prompts × samples: of a measurement; a seed draws its test_prompts from test_pool.
    validation_samples: per prompt when tuning. checkpoints: steps at which a run is measured; the last one ends it.
    lrs: of the methods with a knob of strength, which try each with every strength. Seeds: reported, of the tuning, of
    each control.
    """

    reference_steps: int = 500
    reference_batch: int = 64
    behaviour_steps: int = 60
    train_prompts: int = 96
    responses: int = 4
    batch: int = 32
    checkpoints: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    warmup_steps: int = 2
    test_prompts: int = 64
    test_pool: int = 256
    samples: int = 4
    validation_samples: int = 4
    lrs: tuple[float, ...] = (3e-4, 1e-3)
    strengths: int = 3
    seeds: int = 5
    tuning_seeds: int = 1
    control_seeds: int = 3

    @property
    def points(self) -> int:
        """Settings that every method tries."""
        return len(self.lrs) * self.strengths

    def lone_lrs(self) -> tuple[float, ...]:
        """As many learning rates for methods without a knob: from a tenth of the lowest to three times the highest."""
        low, high = math.log(min(self.lrs) / 10), math.log(max(self.lrs) * 3)
        step = (high - low) / max(self.points - 1, 1)
        return tuple(float(f"{math.exp(low + step * number):.2g}") for number in range(self.points))

    def world(self) -> dict[str, Any]:
        """The settings that all cells of a folder share; seeds may be added later."""
        return {name: value for name, value in asdict(self).items() if not name.endswith("seeds")}


QUICK = Scale(
    reference_steps=250,
    behaviour_steps=40,
    checkpoints=(3, 8, 20),
    lrs=(1e-3,),
    validation_samples=2,
    strengths=2,
    seeds=2,
    control_seeds=2,
)
