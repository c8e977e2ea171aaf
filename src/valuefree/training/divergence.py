"""What a trainer checks so that a run which diverges is not taken for one that learned: losses, gradients, weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from valuefree.errors import ConfigError, DivergenceError
from valuefree.training.distributed import all_reduce

ON_DIVERGENCE = ("stop", "skip")
MOST_IN_A_ROW = 10  # steps that may be skipped one after the other
SHOWN = 10  # prompts of the batch in the message
CLIP = 80  # characters of each


def on_divergence_field() -> Any:
    """The field of training arguments."""
    text = "stop: stop at a loss or gradient that is not finite; skip: leave out that step's update, and count it"
    return field(default="stop", metadata={"help": text})


def check_on_divergence(value: str) -> None:
    """Raise ConfigError for an unknown value."""
    if value not in ON_DIVERGENCE:
        raise ConfigError(f"on_divergence is {value!r}; choose from {', '.join(ON_DIVERGENCE)}.")


@dataclass
class LossMeter:
    """Losses of the steps that changed the weights: since the last log line, and since the start of the run.

    skipped, in_a_row: steps left out, in all and up to now without a good one between them.
    """

    logged: float = 0.0
    logged_steps: int = 0
    total: float = 0.0
    steps: int = 0
    skipped: int = 0
    in_a_row: int = 0

    def add(self, loss: float) -> None:
        """Count the loss of a step."""
        self.logged, self.logged_steps = self.logged + loss, self.logged_steps + 1
        self.total, self.steps = self.total + loss, self.steps + 1
        self.in_a_row = 0

    def skip(self) -> None:
        """Count a step without update."""
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1

    def mean_since_log(self, device: torch.device, world_size: int) -> float | None:
        """Mean over steps and processes since the last call; None without a step."""
        loss, steps, self.logged, self.logged_steps = self.logged, self.logged_steps, 0.0, 0
        return all_reduce([loss], device)[0] / world_size / steps if steps else None

    def mean(self, device: torch.device, world_size: int) -> float:
        """Mean over all steps and processes; NaN without a step."""
        return all_reduce([self.total], device)[0] / world_size / self.steps if self.steps else math.nan

    @property
    def warning(self) -> str | None:
        """How many steps were skipped, in words; None for none."""
        if not self.skipped:
            return None
        return (
            f"{self.skipped} of {self.skipped + self.steps} steps had a loss or gradient that is not finite and were "
            "left out: their updates were not applied. Lower the learning rate."
        )


def weights_are_finite(model: nn.Module, device: torch.device) -> bool:
    """Whether all trained weights are finite, on all processes; one transfer from the device."""
    weights = [p.to_local() if isinstance(p, DTensor) else p for p in model.parameters() if p.requires_grad]
    flags = [torch.isfinite(weight.detach()).all().to(device) for weight in weights]
    broken = bool(flags) and not bool(torch.stack(flags).all())
    return all_reduce([float(broken)], device, how="max")[0] == 0


def diverged(step: int, loss: float, norm: float, prompts: Mapping[int | str, str], *, rate: float) -> DivergenceError:
    """The error of a run that stops at `step`. `prompts`: texts of the batch by prompt id; `rate`: learning rate."""
    shown = [f"  prompt {name}: {text[:CLIP]!r}" for name, text in list(prompts.items())[:SHOWN]]
    if len(prompts) > SHOWN:
        shown.append(f"  … and {len(prompts) - SHOWN} more")
    return DivergenceError(
        f"training diverged: step {step} has loss {loss:.4g} and gradient norm {norm:.4g}, learning rate {rate:.3g}. "
        f"Its update was not applied. The prompts of the step:\n" + "\n".join(shown) + "\nLower --lr or lengthen "
        "--warmup-steps, look at the rewards of these prompts, or leave such steps out by --on-divergence skip."
    )
