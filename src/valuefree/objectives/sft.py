"""Supervised fine-tuning, the baseline that every comparison needs."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from valuefree.objectives.base import Objective, ObjectiveInputs, ObjectiveOutput, check_same_shape


def sft_loss(policy_logps: Tensor) -> Tensor:
    r"""Negative log-likelihood :math:`-\log\pi_\theta(y|x)` in nats, one per response, shape (R,).

    The reducer divides the sum by the response tokens of the global batch.
    """
    check_same_shape(policy_logps=policy_logps)
    return -policy_logps


@dataclass(frozen=True)
class SFT(Objective):
    """Maximum likelihood of every response; the rewards are not read."""

    counts: ClassVar[Literal["responses", "tokens"]] = "tokens"

    @property
    def requires(self) -> frozenset[str]:
        """Nothing but the policy."""
        return frozenset()

    def __call__(self, inputs: ObjectiveInputs) -> ObjectiveOutput:
        """Losses per response."""
        return ObjectiveOutput(sft_loss(inputs.policy_logps), {})
