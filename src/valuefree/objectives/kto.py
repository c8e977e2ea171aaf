"""Kahneman–Tversky optimisation."""

import logging
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from valuefree.errors import ConfigError
from valuefree.objectives.base import (
    Objective,
    ObjectiveInputs,
    ObjectiveOutput,
    TrainingRows,
    check_positive,
    check_same_shape,
)
from valuefree.objectives.knob import knob

logger = logging.getLogger(__name__)


def kto_loss(
    policy_logps: Float[Tensor, " R"],
    reference_logps: Float[Tensor, " R"],
    desirable: Bool[Tensor, " R"],
    kl_estimate: Float[Tensor, ""] | Float[Tensor, " R"],
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Float[Tensor, " R"]:
    r"""One loss per response, shape (R,).

    .. math:: \lambda_D\,[1 - \sigma(\beta(\rho - z_0))]\ \text{if desirable, else}\
              \lambda_U\,[1 - \sigma(\beta(z_0 - \rho))]

    Args:
        policy_logps, reference_logps: shape (R,), in nats.
        desirable: bool, shape (R,).
        kl_estimate: z₀ in nats, shape () or (R,), used as given: clamp and detach it where it is estimated.
        beta: pull to the reference, in 1/nats. desirable_weight, undesirable_weight: λ_D and λ_U.

    Raises:
        ValueError: shapes differ. ConfigError: β ≤ 0 or a weight < 0.

    Source: eq. 5 to 8 of the paper; Ethayarajh et al. 2024, arXiv 2402.01306.
    """
    check_same_shape(policy_logps=policy_logps, reference_logps=reference_logps, desirable=desirable)
    if kl_estimate.ndim:
        check_same_shape(policy_logps=policy_logps, kl_estimate=kl_estimate)
    _check_knobs(beta, desirable_weight, undesirable_weight)
    centred = policy_logps - reference_logps - kl_estimate
    wanted = desirable_weight * (1 - torch.sigmoid(beta * centred))
    unwanted = undesirable_weight * (1 - torch.sigmoid(-beta * centred))
    return torch.where(desirable, wanted, unwanted)


def _check_knobs(beta: float, desirable_weight: float, undesirable_weight: float) -> None:
    check_positive("1/nats", beta=beta)
    if min(desirable_weight, undesirable_weight) < 0 or desirable_weight + undesirable_weight == 0:
        raise ConfigError(
            f"desirable_weight={desirable_weight}, undesirable_weight={undesirable_weight}: expected numbers ≥ 0, "
            "not both 0."
        )


@dataclass(frozen=True)
class KTO(Objective):
    """Kahneman–Tversky optimisation; see `kto_loss`.

    Args:
        beta: pull to the reference, in 1/nats.
        desirable_weight, undesirable_weight: λ_D, λ_U.
        threshold: rewards above it, in the unit of the data, are desirable; default: the mean of the data set's. A
            bool column ``desirable`` in the data comes before it.
        kl_estimate: what z₀ is. ``mismatched``: max(0, mean log-ratio of responses to other prompts), as its authors
            do, over the whole step. ``matched``: the mean over the micro-batch's own rows, not clamped, as the paper's
            code does.
        length_normalize: token means instead of sums; the paper's code.

    Raises:
        ConfigError: β ≤ 0, weights < 0, or an unknown `kl_estimate`.
    """

    columns: ClassVar[tuple[str, ...]] = ("desirable",)

    beta: float = knob(0.1, "strength of the pull to the reference, in 1/nats", minimum=1e-6, maximum=1e6)
    desirable_weight: float = knob(1.0, "weight of a desirable response", minimum=0, maximum=1e6)
    undesirable_weight: float = knob(1.0, "weight of an undesirable response", minimum=0, maximum=1e6)
    threshold: float | None = knob(
        None,
        "rewards above it, in the unit of the data, are desirable, unless the rows have a column 'desirable'",
        otherwise="the mean of the training rewards",
        minimum=-1e30,
        maximum=1e30,
    )
    kl_estimate: Literal["mismatched", "matched"] = knob(
        "mismatched",
        "whose mean log-ratio z0 is: responses of other prompts (mismatched), or the batch's own (matched)",
    )
    length_normalize: bool = knob(False, "token means of log-probabilities instead of sums; with kl_estimate=matched")

    def __post_init__(self) -> None:
        _check_knobs(self.beta, self.desirable_weight, self.undesirable_weight)
        if self.kl_estimate not in ("mismatched", "matched"):
            raise ConfigError(f"kl_estimate is {self.kl_estimate!r}; choose from mismatched, matched.")
        if self.length_normalize and self.kl_estimate == "mismatched":
            raise ConfigError("length_normalize=True goes with kl_estimate='matched': both are the paper's code.")

    @classmethod
    def preset(cls, name: Literal["paper-code"]) -> "KTO":
        """``paper-code``: β 1, token means, z₀ of the matched batch without clamp, desirable from the mean on."""
        if name != "paper-code":
            raise ConfigError(f"unknown preset {name!r}; choose from paper-code.")
        return cls(beta=1.0, kl_estimate="matched", length_normalize=True)

    @property
    def requires(self) -> frozenset[str]:
        """Reference scores, and log-ratios on mismatched pairs unless `kl_estimate` is matched."""
        return frozenset({"reference_logps"} | ({"kl_estimate"} if self.kl_estimate == "mismatched" else set()))

    def resolve(self, rows: TrainingRows) -> "KTO":
        """With the threshold taken from the training rows, so that it holds for others too.

        Raises:
            ConfigError: the threshold, or the column ``desirable``, leaves rows of one kind alone.
        """
        given = rows.columns.get("desirable")
        decided = self
        if given is None and self.threshold is None:
            decided = replace(self, threshold=float(rows.raw_rewards.mean()))
        desirable = decided.precompute(rows)["desirable"]
        if desirable.all() or not desirable.any():
            kinds = "all" if desirable.all() else "no"
            if given is None:
                found, cure = f"threshold {decided.threshold:g} makes", "a column 'desirable'"
            else:
                found, cure = "column 'desirable' marks", "a column that marks both"
            raise ConfigError(
                f"{found} {kinds} rows desirable; KTO needs both kinds. Give a threshold within the rewards, or {cure}."
            )
        logger.info("KTO: %d of %d rows are desirable, %s", int(desirable.sum()), len(desirable), decided._reason(rows))
        return decided

    def _reason(self, rows: TrainingRows) -> str:
        """What decides whether a row is desirable."""
        if "desirable" in rows.columns:
            return "by the column 'desirable'"
        least = "of at least" if self.kl_estimate == "matched" else "above"
        return f"those with a reward {least} {self.threshold:.4g} (--threshold)"

    def _reached(self, rows: TrainingRows) -> Tensor:
        threshold = float(rows.raw_rewards.mean()) if self.threshold is None else self.threshold
        # The paper's code counts a reward at the mean as desirable; its authors ask for more than the mean.
        return rows.raw_rewards >= threshold if self.kl_estimate == "matched" else rows.raw_rewards > threshold

    def precompute(self, rows: TrainingRows) -> dict[str, Tensor]:
        """Which rows are desirable."""
        given = rows.columns.get("desirable")
        return {"desirable": self._reached(rows) if given is None else given.bool()}

    def __call__(self, inputs: ObjectiveInputs) -> ObjectiveOutput:
        """Losses per response, with log-ratio and z₀ as metrics."""
        rho = inputs.logratios(per_token=self.length_normalize)
        held = rho.detach()
        matched = self.kl_estimate == "matched"
        kl_estimate = held.mean() if matched else inputs.require("kl_estimate").detach().clamp(min=0)
        desirable = inputs.columns["desirable"].bool()
        losses = kto_loss(
            rho,
            torch.zeros_like(rho),
            desirable,
            kl_estimate.to(rho),
            beta=self.beta,
            desirable_weight=self.desirable_weight,
            undesirable_weight=self.undesirable_weight,
        )
        return ObjectiveOutput(losses, {"logratio": held, "kl_estimate": kl_estimate.to(held).expand_as(held)})
