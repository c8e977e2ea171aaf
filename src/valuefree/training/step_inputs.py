"""Inputs of an objective that need forward passes of their own, once per optimizer step."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from valuefree.batches.micro_batch import MicroBatch, TokenBatch

if TYPE_CHECKING:
    from valuefree.training.preparation import Scorer
    from valuefree.training.scored_dataset import ScoredDataset

PolicyLogps = Callable[[TokenBatch], Tensor]  # a batch → log π of its responses, (R,), without gradient


class StepInput(ABC):
    """One such input. `valuefree.training.preparation.STEP_INPUTS` holds them by their name in `Objective.requires`.

    The objective reads the value of a step by ``inputs.require(name)``.
    """

    @classmethod
    @abstractmethod
    def prepare(cls, dataset: "ScoredDataset", scorer: "Scorer", *, epochs: int, seed: int) -> Self:
        """Do what is needed before training, while the reference may still be the policy itself."""

    @abstractmethod
    def compute(
        self,
        dataset: "ScoredDataset",
        batches: Sequence[MicroBatch],
        logps: PolicyLogps,
        epoch: int,
        device: torch.device,
    ) -> Tensor:
        """The value for a step, the same on every process.

        Args:
            dataset: the rows that the micro-batches were taken from.
            batches: the step's micro-batches of this process. Every process has equally many, and each has to run
                equally many batches through `logps`, which is a collective call.
            logps: log-probabilities under the policy, in evaluation mode.
            epoch: number of the epoch, from 0.
            device: where collective calls take place.
        """
