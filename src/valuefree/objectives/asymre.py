"""Asymmetric REINFORCE: log-likelihood weighted by the reward above a constant that lies below the mean reward."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from valuefree.errors import ConfigError
from valuefree.objectives.base import (
    STANDARDIZED,
    Objective,
    ObjectiveInputs,
    ObjectiveOutput,
    TrainingRows,
    check_same_shape,
)
from valuefree.objectives.knob import knob


def asymre_loss(policy_logps: Float[Tensor, " R"], advantages: Float[Tensor, " R"]) -> Float[Tensor, " R"]:
    r"""One loss per response, :math:`-(r - V)\,\log\pi_\theta(y|x)`, shape (R,).

    Args:
        policy_logps: shape (R,), in nats. advantages: r − V, shape (R,), in reward units.

    Raises:
        ValueError: shapes differ.

    Source: Arnal et al. 2025, arXiv 2506.20520.
    """
    check_same_shape(policy_logps=policy_logps, advantages=advantages)
    return -advantages * policy_logps


@dataclass(frozen=True)
class AsymRE(Objective):
    """Asymmetric REINFORCE; see `asymre_loss`. V is the mean of the training rewards minus `offset`.

    Args:
        offset: how far V lies below the mean reward, in the unit of the rewards that the trainer sees. At 0 or below,
            the policy collapses if it is trained for long (theorem of the paper).

    Raises:
        ConfigError: an offset that is not finite.
    """

    offset: float = knob(0.1, "how far the baseline lies below the mean reward, in standard deviations of the reward")

    def __post_init__(self) -> None:
        if not math.isfinite(self.offset):
            raise ConfigError(f"offset is {self.offset!r}; expected a finite number, in {STANDARDIZED}.")

    @property
    def requires(self) -> frozenset[str]:
        """Nothing but the policy."""
        return frozenset()

    def precompute(self, rows: TrainingRows) -> dict[str, Tensor]:
        """The advantages r − V."""
        rewards = rows.rewards.to(torch.float64)
        return {"advantage": rewards - rewards.mean() + self.offset}

    def __call__(self, inputs: ObjectiveInputs) -> ObjectiveOutput:
        """Losses per response."""
        advantages = inputs.columns["advantage"].to(inputs.policy_logps)
        return ObjectiveOutput(asymre_loss(inputs.policy_logps, advantages), {})
