"""Direct reward optimisation with a value network (DRO-V)."""

from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from valuefree.errors import ConfigError
from valuefree.objectives.base import (
    STANDARDIZED,
    Objective,
    ObjectiveInputs,
    ObjectiveOutput,
    check_positive,
    check_same_shape,
)
from valuefree.objectives.knob import knob


def dro_loss(
    policy_logps: Float[Tensor, " R"],
    reference_logps: Float[Tensor, " R"],
    rewards: Float[Tensor, " R"],
    values: Float[Tensor, " R"],
    *,
    tau: float,
) -> Float[Tensor, " R"]:
    r"""Squared residual of the reward against value and log-ratio, one per response, shape (R,).

    .. math:: \tfrac12\Bigl[r - V_\phi(x) - \tau\log\frac{\pi_\theta(y|x)}{\pi_{ref}(y|x)}\Bigr]^2

    Gradients flow into the policy and into the values. With the same V, its gradient on the policy is τ² times that of
    `rpo_loss`; DRO-V's authors multiply the policy's update by 1/τ, which leaves τ times.

    Args:
        policy_logps, reference_logps: shape (R,), in nats. rewards, values: r and V(x), the latter already taken per
            response, shape (R,), in reward units.
        tau: temperature, in reward units.

    Raises:
        ValueError: shapes differ. ConfigError: τ ≤ 0.

    Source: Richemond et al. 2024, arXiv 2405.19107, eq. of DRO-V.
    """
    check_same_shape(policy_logps=policy_logps, reference_logps=reference_logps, rewards=rewards, values=values)
    check_positive("reward units", tau=tau)
    return 0.5 * (rewards - values - tau * (policy_logps - reference_logps)).square()


@dataclass(frozen=True)
class DRO(Objective):
    """DRO-V: policy and value network learn together; see `dro_loss`.

    Args:
        tau: temperature, in the unit of the rewards that the trainer sees.
        value_lr: learning rate of the value network; default: that of the training arguments.
        shared_encoder: no network of its own, but a two-layer head on the policy's states of the prompt, whose gradient
            reaches the policy: the weak arm of DRO's ablation, and what the paper's code compares with.
        rescale: divide the policy's learning rate by τ, as DRO-V's authors multiply its update by 1/τ.
        length_normalize: token means instead of sums of log-probabilities; the paper's code.

    Raises:
        ConfigError: τ ≤ 0 or a learning rate ≤ 0; `value_lr` with `shared_encoder`, whose encoder has one rate.
    """

    tau: float = knob(1.0, "temperature, in standard deviations of the reward", minimum=1e-6, maximum=1e6)
    value_lr: float | None = knob(
        None, "peak learning rate of the value network", otherwise="the learning rate of the run", above=0, maximum=1e30
    )
    shared_encoder: bool = knob(False, "a value head on the policy's own states instead of a separate network")
    rescale: bool = knob(True, "divide the policy's learning rate by tau")
    length_normalize: bool = knob(False, "token means of log-probabilities instead of sums")

    def __post_init__(self) -> None:
        check_positive(STANDARDIZED, tau=self.tau)
        if self.value_lr is not None:
            check_positive("1/step", value_lr=self.value_lr)
            if self.shared_encoder:
                raise ConfigError("value_lr and shared_encoder contradict: a shared encoder learns at one rate.")

    @classmethod
    def preset(cls, name: Literal["paper-code"], *, tau: float = 1.0) -> "DRO":
        """``paper-code``: shared encoder, token means, one learning rate."""
        if name != "paper-code":
            raise ConfigError(f"unknown preset {name!r}; choose from paper-code.")
        return cls(tau=tau, shared_encoder=True, rescale=False, length_normalize=True)

    @property
    def requires(self) -> frozenset[str]:
        """Reference scores and the value network's output."""
        return frozenset({"reference_logps", "value_outputs"})

    def value_network(self) -> dict[str, Any]:
        """Separate by default."""
        return {"shared_encoder": self.shared_encoder}

    def temperature(self) -> float | None:
        """τ; None where the log-ratio is a mean per token."""
        return None if self.length_normalize else self.tau

    def learning_rates(self, lr: float) -> dict[str, float]:
        """The policy's divided by τ, as under Adam a gradient multiplied by 1/τ would change nothing."""
        value = self.value_lr if self.value_lr is not None else lr
        return {"policy": lr / self.tau if self.rescale else lr, "value": value}

    def __call__(self, inputs: ObjectiveInputs) -> ObjectiveOutput:
        """Losses per response, with log-ratio, value and the value's error as metrics."""
        rho = inputs.logratios(per_token=self.length_normalize)
        outputs = inputs.require("value_outputs").to(rho)
        losses = dro_loss(rho, rho.new_zeros(len(rho)), inputs.rewards, outputs, tau=self.tau)
        residual = (inputs.rewards - outputs - self.tau * rho).detach()
        return ObjectiveOutput(
            losses, {"logratio": rho.detach(), "value": outputs.detach(), "value_residual": residual}
        )
