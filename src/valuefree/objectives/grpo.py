"""Group relative policy optimisation on logged groups: the clipped ratio times the reward's z-score in its group."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from valuefree.errors import ConfigError
from valuefree.objectives.base import Objective, ObjectiveInputs, ObjectiveOutput, TrainingRows, check_same_shape
from valuefree.objectives.groups import group_counts, group_mean
from valuefree.objectives.knob import knob


def group_scores(rewards: Float[Tensor, " R"], prompt_of: Int[Tensor, " R"]) -> Float[Tensor, " R"]:
    """(r − r̄)/s of each response within its prompt, shape (R,); s has the divisor n − 1, and equal rewards give 0."""
    check_same_shape(rewards=rewards, prompt_of=prompt_of)
    centred = rewards - group_mean(rewards, prompt_of)
    counts = group_counts(prompt_of).to(rewards)
    deviation = (group_mean(centred.square(), prompt_of) * counts / (counts - 1).clamp(min=1)).sqrt()
    return torch.where(deviation > 1e-9 * rewards.abs().max(), centred / deviation, torch.zeros_like(centred))


def grpo_loss(logratios: Float[Tensor, " R"], advantages: Float[Tensor, " R"], *, clip: float) -> Float[Tensor, " R"]:
    r"""One loss per response, shape (R,).

    .. math:: -\min\bigl(e^{s} A,\ \mathrm{clip}(e^{s}, 1 - \varepsilon, 1 + \varepsilon)\, A\bigr)

    Args:
        logratios: s, the mean log-ratio per token of policy and reference, shape (R,), in nats. advantages: A, shape
            (R,). clip: ε, from 0 to 1.

    Raises:
        ValueError: shapes differ.

    Source: Shao et al. 2024, arXiv 2402.03300, eq. 3 without its KL term; the ratio of a whole response is that of
    Zheng et al. 2025, arXiv 2507.18071 (GSPO).
    """
    check_same_shape(logratios=logratios, advantages=advantages)
    ratio = logratios.exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


@dataclass(frozen=True)
class GRPO(Objective):
    """GRPO offline: the logged responses to a prompt are its group; see `grpo_loss` and `group_scores`.

    Args:
        clip: ε; a response whose ratio has left [1 − ε, 1 + ε] in the direction of its advantage has no gradient.

    Raises:
        ConfigError: ε outside (0, 1); no prompt with two unlike rewards.
    """

    clip: float = knob(0.2, "bound on the change of the ratio per token, between 0 and 1")

    def __post_init__(self) -> None:
        if not 0 < self.clip < 1:
            raise ConfigError(f"clip is {self.clip!r}; expected a number between 0 and 1.")

    @property
    def requires(self) -> frozenset[str]:
        """Reference scores."""
        return frozenset({"reference_logps"})

    def precompute(self, rows: TrainingRows) -> dict[str, Tensor]:
        """The z-scores."""
        scores = group_scores(rows.rewards, rows.prompt_of)
        if not scores.any():
            raise ConfigError(
                "GRPO compares the responses to a prompt, and no prompt has two responses with different rewards. Use "
                "RPO, DRO, KTO, AsymRE or TOPR, which learn from one response to a prompt."
            )
        return {"advantage": scores}

    def __call__(self, inputs: ObjectiveInputs) -> ObjectiveOutput:
        """Losses per response, with the log-ratio as a metric."""
        advantages = inputs.columns["advantage"].to(inputs.policy_logps)
        losses = grpo_loss(inputs.logratios(per_token=True), advantages, clip=self.clip)
        return ObjectiveOutput(losses, {"logratio": inputs.logratios().detach()})
