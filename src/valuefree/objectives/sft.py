"""Supervised fine-tuning, the baseline that every comparison needs."""

from dataclasses import dataclass
from typing import ClassVar, Literal

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
    check_positive,
    check_same_shape,
)
from valuefree.objectives.groups import group_counts, group_softmax
from valuefree.objectives.knob import knob


def sft_loss(policy_logps: Float[Tensor, " R"]) -> Float[Tensor, " R"]:
    r"""Negative log-likelihood :math:`-\log\pi_\theta(y|x)` in nats, one per response, shape (R,).

    The reducer divides the sum by the response tokens of the global batch.
    """
    check_same_shape(policy_logps=policy_logps)
    return -policy_logps


@dataclass(frozen=True)
class SFT(Objective):
    """Maximum likelihood of the responses.

    Args:
        on: ``all`` responses, whatever their reward; the ``best`` of each prompt (the first of equals); or all
            ``weighted`` by n·softmax(r/τ) within their prompt, which is 1 on average.
        tau: temperature of the weights, in the unit of the rewards that the trainer sees; read by ``weighted`` alone.

    Raises:
        ConfigError: unknown `on`; τ ≤ 0, or τ changed where it is not read.
    """

    loss_denominator: ClassVar[str] = "tokens"

    on: Literal["all", "best", "weighted"] = knob(
        "all", "responses to learn: all, the best of each prompt, or all weighted by softmax(reward/tau)"
    )
    tau: float | None = knob(
        None,
        "temperature of the weights (on=weighted), in standard deviations of the reward",
        otherwise=1.0,
        minimum=1e-6,
        maximum=1e6,
    )

    def __post_init__(self) -> None:
        if self.on not in ("all", "best", "weighted"):
            raise ConfigError(f"on is {self.on!r}; choose from all, best, weighted.")
        if self.tau is not None:
            check_positive(STANDARDIZED, tau=self.tau)
            if self.on != "weighted":
                raise ConfigError(f"tau={self.tau} is read by on='weighted' alone, and on is {self.on!r}.")

    @property
    def requires(self) -> frozenset[str]:
        """Nothing but the policy."""
        return frozenset()

    def select(self, rows: TrainingRows) -> Tensor | None:
        """For ``best``, the first row of each prompt that has its highest reward."""
        if self.on != "best":
            return None
        order = torch.argsort(rows.rewards, descending=True, stable=True)
        order = order[torch.argsort(rows.prompt_of[order], stable=True)]
        prompts = rows.prompt_of[order]
        first = torch.cat([prompts.new_ones(1, dtype=torch.bool), prompts[1:] != prompts[:-1]])
        kept = torch.zeros(len(order), dtype=torch.bool)
        kept[order[first]] = True
        return kept

    def selection(self, rows: TrainingRows, kept: Tensor) -> str:
        """How many rows, and which."""
        return f"{super().selection(rows, kept)}: the best response to each prompt"

    def precompute(self, rows: TrainingRows) -> dict[str, Tensor]:
        """For ``weighted``, the weights."""
        if self.on != "weighted":
            return {}
        weights = group_softmax(rows.rewards / (self.tau or 1.0), rows.prompt_of)
        return {"weight": weights * group_counts(rows.prompt_of)}

    def __call__(self, inputs: ObjectiveInputs) -> ObjectiveOutput:
        """Losses per response."""
        losses = sft_loss(inputs.policy_logps)
        if self.on == "weighted":
            losses = losses * inputs.columns["weight"].to(losses)
        return ObjectiveOutput(losses, {})
