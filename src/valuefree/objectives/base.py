"""What an objective is: a pure function of tensors, and a frozen dataclass that binds its knobs."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from torch import Tensor


def check_same_shape(**tensors: Tensor) -> None:
    """Raise ValueError unless all have the same one-dimensional shape; broadcasting would hide an index error."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected one value per response, all of the same shape (R,); got {listed}.")


@dataclass(frozen=True)
class ObjectiveInputs:
    """One micro-batch, one value per response (R). What an objective does not require may be None.

    policy_logps, reference_logps: sums of token log-probabilities, in nats. tokens: response tokens. rewards: as they
    enter the target. values: V̂, already taken per response. prompt_of: which rows share a prompt. group_size: rows of
    that prompt in the whole training set.
    """

    policy_logps: Tensor
    tokens: Tensor
    rewards: Tensor
    prompt_of: Tensor
    group_size: Tensor
    reference_logps: Tensor | None = None
    values: Tensor | None = None


@dataclass(frozen=True)
class ObjectiveOutput:
    """`losses`, one per response; `metrics`, one value per response each, to be averaged over responses and logged."""

    losses: Tensor
    metrics: dict[str, Tensor]


class Objective(ABC):
    """An objective; subclasses are frozen dataclasses.

    requires: of ``reference_logps`` (log π_ref of every row), ``values`` (V̂ from the partition that `partition`
    describes) and ``groups`` (a prompt's rows together). counts: what the sum of the losses is divided by over the
    global batch, ``responses`` or response ``tokens``.
    """

    counts: ClassVar[Literal["responses", "tokens"]] = "responses"

    @property
    @abstractmethod
    def requires(self) -> frozenset[str]:
        """What the trainer must provide."""

    @abstractmethod
    def __call__(self, inputs: ObjectiveInputs) -> ObjectiveOutput:
        """Losses per response."""

    def partition(self) -> dict[str, Any] | None:
        """Fields of `valuefree.partition.PartitionSettings`, or None when no V̂ is needed."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Name and knobs, for the manifest; infinities as text."""
        knobs = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {"name": type(self).__name__} | {k: "inf" if v == math.inf else v for k, v in knobs.items()}
