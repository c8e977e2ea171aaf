"""Noise-contrastive alignment: the fixed point of the Monte Carlo target, as a bounded classification."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from valuefree.objectives.base import (
    STANDARDIZED,
    Objective,
    ObjectiveInputs,
    ObjectiveOutput,
    check_positive,
    check_same_shape,
)
from valuefree.objectives.groups import group_counts, group_softmax
from valuefree.objectives.knob import knob


def nca_loss(
    policy_logps: Float[Tensor, " R"],
    reference_logps: Float[Tensor, " R"],
    rewards: Float[Tensor, " R"],
    prompt_of: Int[Tensor, " R"],
    *,
    tau: float,
) -> Float[Tensor, " R"]:
    r"""One loss per response, over whole groups of n responses to a prompt.

    .. math:: -\Bigl[\mathrm{softmax}(r/\tau)_i\,\log\sigma(\rho_i) + \tfrac1n\log\sigma(-\rho_i)\Bigr]

    Its optimum over a group is :math:`\rho_i = r_i/\tau - \log\frac1n\sum_j e^{r_j/\tau}`, the target of RPO under
    ``monte_carlo``, and the gradient on each ρ stays within (−1, 1).

    Args:
        policy_logps, reference_logps, rewards: shape (R,), nats and reward units. prompt_of: which rows share a prompt,
            shape (R,); all rows of a prompt must be there.
        tau: temperature, in reward units.

    Returns:
        Shape (R,).

    Raises:
        ValueError: shapes differ. ConfigError: τ ≤ 0.

    Source: Chen et al. 2024, arXiv 2402.05369 (NCA), with their β = 1 on sums of log-probabilities.
    """
    check_same_shape(policy_logps=policy_logps, reference_logps=reference_logps, rewards=rewards, prompt_of=prompt_of)
    check_positive("reward units", tau=tau)
    rho = policy_logps - reference_logps
    weights = group_softmax(rewards / tau, prompt_of)
    return -(weights * F.logsigmoid(rho) + F.logsigmoid(-rho) / group_counts(prompt_of))


@dataclass(frozen=True)
class NCA(Objective):
    """Noise-contrastive alignment; see `nca_loss`.

    Args:
        tau: temperature, in the unit of the rewards that the trainer sees.

    Raises:
        ConfigError: τ ≤ 0.
    """

    tau: float = knob(0.5, "temperature, in standard deviations of the reward", minimum=1e-6, maximum=1e6)

    def __post_init__(self) -> None:
        check_positive(STANDARDIZED, tau=self.tau)

    @property
    def requires(self) -> frozenset[str]:
        """Reference scores, and a prompt's rows together."""
        return frozenset({"reference_logps", "groups"})

    def temperature(self) -> float | None:
        """τ."""
        return self.tau

    def __call__(self, inputs: ObjectiveInputs) -> ObjectiveOutput:
        """Losses per response."""
        reference = inputs.require("reference_logps")
        losses = nca_loss(inputs.policy_logps, reference, inputs.rewards, inputs.prompt_of, tau=self.tau)
        return ObjectiveOutput(losses, {"logratio": inputs.logratios().detach()})
