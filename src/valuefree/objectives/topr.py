"""Tapered off-policy REINFORCE: good responses by likelihood, bad ones by a truncated importance weight."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from valuefree.objectives.base import Objective, ObjectiveInputs, ObjectiveOutput, TrainingRows, check_same_shape


def topr_loss(
    policy_logps: Float[Tensor, " R"], reference_logps: Float[Tensor, " R"], advantages: Float[Tensor, " R"]
) -> Float[Tensor, " R"]:
    r"""One loss per response, shape (R,).

    .. math:: -w\,A\,\log\pi_\theta(y|x),\qquad
       w = 1 \text{ for } A \ge 0,\quad w = \min(1, e^{\rho}) \text{ for } A < 0

    ρ is the log-ratio of policy and reference. No gradient flows through w, so a bad response that the policy hardly
    produces any more is left alone.

    Args:
        policy_logps, reference_logps: shape (R,), in nats. advantages: A, reward above the baseline, shape (R,).

    Raises:
        ValueError: shapes differ.

    Source: Le Roux et al. 2025, arXiv 2503.14286, with the reference in the place of the policy that wrote the rows.
    """
    check_same_shape(policy_logps=policy_logps, reference_logps=reference_logps, advantages=advantages)
    weights = (policy_logps - reference_logps).detach().clamp(max=0.0).exp()
    return -advantages * policy_logps * weights.where(advantages < 0, weights.new_ones(()))


@dataclass(frozen=True)
class TOPR(Objective):
    """Tapered off-policy REINFORCE; see `topr_loss`. A is the reward minus the mean of the training rewards."""

    @property
    def requires(self) -> frozenset[str]:
        """Reference scores."""
        return frozenset({"reference_logps"})

    def precompute(self, rows: TrainingRows) -> dict[str, Tensor]:
        """The advantages."""
        return {"advantage": rows.rewards - rows.rewards.mean()}

    def __call__(self, inputs: ObjectiveInputs) -> ObjectiveOutput:
        """Losses per response."""
        advantages = inputs.columns["advantage"].to(inputs.policy_logps)
        losses = topr_loss(inputs.policy_logps, inputs.require("reference_logps"), advantages)
        return ObjectiveOutput(losses, {"logratio": inputs.logratios().detach()})
