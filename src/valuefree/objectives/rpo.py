"""Reward Partitioning Optimization."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
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
from valuefree.objectives.dro import dro_loss
from valuefree.objectives.groups import group_counts, group_mean
from valuefree.objectives.knob import knob
from valuefree.partition import ESTIMATORS

TARGET_STD = 12.0  # nats; docs/lab_notes.md says what the choice rests on
QUANTILE_STD = 1 / math.sqrt(12)  # of a uniform quantile, which is what ``quantile`` makes of a reward


def rpo_parts(
    policy_logps: Float[Tensor, " R"],
    reference_logps: Float[Tensor, " R"],
    rewards: Float[Tensor, " R"],
    values: Float[Tensor, " R"],
    *,
    tau: float,
    prompt_of: Int[Tensor, " R"],
    group_size: Int[Tensor, " R"] | None = None,
    level: float = math.inf,
) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"]]:
    r"""The two parts of `rpo_loss`, each of shape (R,): within ½(δ_i − δ̄)², and level ½·κ/(n+κ)·δ̄².

    The gradient on ρ_i is δ_i − n/(n+κ)·δ̄, whichever rows of the group carry a gradient, so that a group may be cut
    over several micro-batches when each sees the whole group's log-probabilities.
    """
    check_same_shape(policy_logps=policy_logps, reference_logps=reference_logps, rewards=rewards, values=values)
    check_same_shape(policy_logps=policy_logps, prompt_of=prompt_of)
    if group_size is None:
        group_size = group_counts(prompt_of)
    check_same_shape(policy_logps=policy_logps, group_size=group_size)
    delta = policy_logps - reference_logps - (rewards - values) / tau
    mean = group_mean(delta.detach(), prompt_of)
    weight = torch.ones_like(mean) if math.isinf(level) else level / (group_size.to(mean) + level)
    within = 0.5 * (delta - mean).square()
    # δ̄ is held fixed above, which loses the pull of the level; a term of value zero gives it back row by row.
    return within, 0.5 * weight * mean.square() + weight * mean * (delta - delta.detach())


def rpo_loss(
    policy_logps: Float[Tensor, " R"],
    reference_logps: Float[Tensor, " R"],
    rewards: Float[Tensor, " R"],
    values: Float[Tensor, " R"],
    *,
    tau: float,
    prompt_of: Int[Tensor, " R"] | None = None,
    group_size: Int[Tensor, " R"] | None = None,
    level: float = math.inf,
) -> Float[Tensor, " R"]:
    r"""Squared residual between the log-ratio and its target, one per response.

    .. math:: \tfrac12\delta_i^2,\qquad
       \delta_i = \log\frac{\pi_\theta(y_i|x)}{\pi_{ref}(y_i|x)} - \frac{r_i - \hat V(x)}{\tau}

    and with a finite level κ, over the n rows of a prompt,

    .. math:: \tfrac12\Bigl[(\delta_i - \bar\delta)^2 + \frac{\kappa}{n + \kappa}\,\bar\delta^2\Bigr]

    κ = ∞ sums to eq. 21 over the prompt, κ = 0 is the centred regression, free of V̂.

    Args:
        policy_logps, reference_logps: log-probabilities of the responses, shape (R,), in nats.
        rewards, values: r and V̂(x), the latter already taken per response, shape (R,), in reward units.
        tau: temperature, in reward units.
        prompt_of: which rows share a prompt, shape (R,); needed when `level` is finite.
        group_size: rows of each row's prompt in the whole training set, shape (R,); default: counted in `prompt_of`.
        level: κ ≥ 0.

    Returns:
        Shape (R,). No gradient flows into `values`.

    Raises:
        ValueError: shapes differ; a finite level without `prompt_of`; τ ≤ 0 or κ < 0.

    Source: eq. 21 of the paper; the level from profiling V out under a prior of strength κ.
    """
    check_same_shape(policy_logps=policy_logps, reference_logps=reference_logps, rewards=rewards, values=values)
    _check_knobs(tau, level, "reward units")
    values = values.detach()
    if math.isinf(level):
        return 0.5 * (policy_logps - reference_logps - (rewards - values) / tau).square()
    if prompt_of is None:
        raise ConfigError(f"level={level} needs prompt_of: the level is one term per prompt. Pass it, or level=inf.")
    data = (policy_logps, reference_logps, rewards, values)
    within, between = rpo_parts(*data, tau=tau, prompt_of=prompt_of, group_size=group_size, level=level)
    return within + between


def _check_knobs(tau: float, level: float, unit: str) -> None:
    check_positive(unit, tau=tau)
    if not level >= 0:
        raise ConfigError(f"level is {level!r}; expected κ ≥ 0: 0 is the centred form, inf is eq. 21.")


def spread(rewards: Float[Tensor, " R"], prompt_of: Int[Tensor, " R"]) -> float:
    """Pooled standard deviation of the rewards within prompts; of all rewards where it is zero; 1 if that is too."""
    free = len(rewards) - len(torch.bincount(prompt_of).nonzero())
    within = (rewards - group_mean(rewards, prompt_of)).square().sum() / max(free, 1)
    variance = float(within) or float((rewards - rewards.mean()).square().mean()) or 1.0
    return math.sqrt(variance)


@dataclass(frozen=True)
class RPO(Objective):
    """Reward Partitioning Optimization: regress the log-ratio on (r − V̂(x))/τ.

    What is left at its default is decided by `resolve` from the training rows; docs/lab_notes.md says what that choice
    rests on.

    Args:
        tau: temperature, in the unit of the rewards that the trainer sees (standard deviations of the training
            rewards by default). Smaller moves further from the reference. Default: from `target_std`.
        target_std: standard deviation of the target log-ratio within a prompt, in nats (nats per token with
            `length_normalize`), instead of `tau`: τ = σ_within / target_std. Larger moves further from the reference.
            Default: 12.
        estimator: of V̂, a name of `valuefree.partition.ESTIMATORS`; ``learned``, which is ``mean`` plus the output of
            a value network that learns by the loss of DRO; or ``auto``, see `resolve`.
        level: κ ≥ 0, prior strength on V̂, in pseudo-responses: 0 only compares a prompt's responses, inf is eq. 21.
            Default: 1.
        length_normalize: token means instead of sums, in policy, reference and partition alike.
        on_policy: whether the responses were drawn from the reference; read by ``coverage`` and ``regressed``.
            Default: what `valuefree.models.authorship` finds.
        merge_duplicates: the same response twice for one prompt counts once in V̂, with its mean reward.
        value_lr: learning rate of the value network of ``learned``; default: that of the training arguments.
        value_tau: temperature of V̂ under ``monte_carlo``, where it is not `tau`.

    Raises:
        ConfigError: τ ≤ 0 or target_std ≤ 0, both of them, or neither with `length_normalize`; κ < 0; ``coverage`` with
            token means, which are not probabilities of responses; `value_lr` without ``learned``; `value_tau` without
            ``monte_carlo``.
    """

    tau: float | None = knob(
        None,
        "temperature, in standard deviations of the reward",
        otherwise="what target_std gives on the training rows",
    )
    target_std: float | None = knob(
        None,
        "standard deviation of the target log-ratio within a prompt, in nats, instead of tau; a larger one moves "
        "further from the reference",
        otherwise=TARGET_STD,
    )
    # The names of `valuefree.partition.ESTIMATORS` and two more: the command line reads them without importing torch.
    # In Python also the name of an estimator that was registered later.
    estimator: (
        Literal[
            "auto",
            "informed",
            "mean",
            "group_mean",
            "coverage",
            "regressed",
            "pooled",
            "quantile",
            "monte_carlo",
            "reference",
            "zero",
            "learned",
        ]
        | str
    ) = knob("auto", "estimator of V(x), see docs/partition.md")
    level: float | None = knob(None, "strength of the prior on V(x), in pseudo-responses, 0 to inf", otherwise=1.0)
    length_normalize: bool = knob(False, "token means of log-probabilities instead of sums")
    on_policy: bool | None = knob(
        None, "the responses were drawn from this model", otherwise="what the reference scores show"
    )
    merge_duplicates: bool = knob(True, "equal responses to a prompt count once in V(x)")
    value_lr: float | None = knob(
        None, "peak learning rate of the value network of estimator=learned", otherwise="the learning rate of the run"
    )

    value_tau: float | None = knob(
        None,
        "temperature of V(x) with estimator=monte_carlo, in standard deviations of the reward",
        otherwise="tau",
    )

    def __post_init__(self) -> None:
        _check_knobs(1.0 if self.tau is None else self.tau, 1.0 if self.level is None else self.level, STANDARDIZED)
        if self.target_std is not None:
            check_positive("nats", target_std=self.target_std)
            if self.tau is not None:
                raise ConfigError(
                    f"tau={self.tau:g} and target_std={self.target_std:g} both set the temperature; give one of them."
                )
        if self.length_normalize and self.tau is None and self.target_std is None:
            raise ConfigError(
                "length_normalize=True makes the log-ratio a mean per token, for which the default target_std, in nats "
                "per response, is too large. Give tau, or target_std in nats per token."
            )
        rule = ESTIMATORS.get(self.estimator)  # None for auto and learned, which are decided later
        if self.length_normalize and rule is not None and not rule.allows_token_means:
            raise ConfigError(
                f"estimator={self.estimator!r} needs probabilities of responses; length_normalize=True has none."
            )
        if self.value_lr is not None:
            check_positive("1/step", value_lr=self.value_lr)
            if self.estimator != "learned":
                raise ConfigError(f"value_lr is read by estimator='learned' alone, and it is {self.estimator!r}.")

        if self.value_tau is not None:
            check_positive(STANDARDIZED, value_tau=self.value_tau)
            if self.estimator != "monte_carlo":
                raise ConfigError(f"value_tau is read by estimator='monte_carlo' alone, and it is {self.estimator!r}.")

    @classmethod
    def preset(
        cls,
        name: Literal["paper", "paper-code", "qrpo", "rebel", "pmd-mean", "a-star-po", "una"],
        *,
        tau: float = 1.0,
    ) -> "RPO":
        """Settings of published methods; docs/objectives/rpo.md has their sources.

        ``paper``: eq. 19 and 21 on sums. ``paper-code``: as published, token means and duplicates counted. The others
        are methods whose loss is that of RPO up to a factor: ``qrpo``, ``rebel``, ``pmd-mean``, ``a-star-po`` and
        ``una``.
        """
        presets: dict[str, dict[str, Any]] = {
            "paper": {"estimator": "reference", "level": math.inf},
            "paper-code": {
                "estimator": "reference",
                "level": math.inf,
                "length_normalize": True,
                "merge_duplicates": False,
            },
            "qrpo": {"estimator": "quantile", "level": math.inf, "merge_duplicates": False},
            "rebel": {"estimator": "zero", "level": 0.0},
            "pmd-mean": {"estimator": "group_mean", "level": math.inf, "merge_duplicates": False},
            "a-star-po": {
                "estimator": "monte_carlo",
                "level": math.inf,
                "value_tau": 1.0,
                "merge_duplicates": False,
            },
            "una": {"estimator": "zero", "level": math.inf},
        }
        if name not in presets:
            raise ConfigError(f"unknown preset {name!r}; choose from {', '.join(presets)}.")
        return cls(tau=tau, **presets[name])

    def resolve(self, rows: TrainingRows) -> "RPO":
        """With estimator, level and τ decided where they are left open.

        V̂: ``informed``, which takes reference samples where there are some; ``mean`` with token means, which have no
        coverage. κ: 1. τ: σ_within / target_std, where σ_within is the pooled standard deviation of the rewards within
        prompts; of all rewards where no prompt has two unlike ones; of a uniform quantile with ``quantile``.
        """
        estimator = self.estimator
        if estimator == "auto":
            estimator = "mean" if self.length_normalize else "informed"
        tau = self.tau
        if tau is None:
            unit = QUANTILE_STD if estimator == "quantile" else spread(rows.rewards, rows.prompt_of)
            tau = unit / (TARGET_STD if self.target_std is None else self.target_std)
        level = 1.0 if self.level is None else self.level
        return replace(self, estimator=estimator, tau=tau, target_std=None, level=level)

    @property
    def requires(self) -> frozenset[str]:
        """Reference scores and V̂; with a finite level also a prompt's rows together; with ``learned`` a network."""
        needed = {"reference_logps", "values"}
        needed |= {"value_outputs"} if self.estimator == "learned" else set()
        return frozenset(needed if self.level is not None and math.isinf(self.level) else needed | {"groups"})

    def partition(self) -> dict[str, Any]:
        """Settings of V̂, once `resolve`."""
        return {
            "tau": self._decided("tau"),
            "estimator": "mean" if self.estimator == "learned" else self.estimator,
            "on_policy": self.on_policy,
            "merge_duplicates": self.merge_duplicates,
            "length_normalize": self.length_normalize,
            "level": self._decided("level"),
            "value_tau": self.value_tau,
        }

    def temperature(self) -> float | None:
        """τ; None where the target is a mean per token, or made of quantiles of the rewards."""
        return None if self.length_normalize or self.estimator == "quantile" else self._decided("tau")

    def _decided(self, name: str) -> float:
        value = getattr(self, name)
        if value is None or self.estimator == "auto":
            raise ConfigError(f"{name} is left to the data: call resolve(rows) first, as the trainer does.")
        return value

    def value_network(self) -> dict[str, Any] | None:
        """A network of its own for ``learned``."""
        return {"shared_encoder": False} if self.estimator == "learned" else None

    def learning_rates(self, lr: float) -> dict[str, float]:
        """The value network's is `value_lr` if given."""
        return {"policy": lr, "value": self.value_lr if self.value_lr is not None else lr}

    def __call__(self, inputs: ObjectiveInputs) -> ObjectiveOutput:
        """Losses per response, with the log-ratio and the two parts of the loss as metrics."""
        tau, level = self._decided("tau"), self._decided("level")
        rho = inputs.logratios(per_token=self.length_normalize)
        held, values = rho.detach(), inputs.require("values")
        metrics = {"logratio": held}
        value_losses: Tensor | None = None
        if self.estimator == "learned":
            values = values + inputs.require("value_outputs").to(values)
            value_losses = dro_loss(held, torch.zeros_like(held), inputs.rewards, values, tau=tau)
            values = values.detach()
            metrics |= {"value": values, "loss_value": value_losses.detach()}
        data = (rho, torch.zeros_like(rho), inputs.rewards, values)
        groups = {"prompt_of": inputs.prompt_of, "group_size": inputs.group_size}
        within, between = rpo_parts(*data, tau=tau, level=level, **groups)
        # The parts of an infinite level add up to the loss over a prompt, but not row by row.
        losses = rpo_loss(*data, tau=tau) if math.isinf(level) else within + between
        metrics |= {"loss_within": within.detach(), "loss_level": between.detach()}
        return ObjectiveOutput(losses if value_losses is None else losses + value_losses, metrics)
