"""Diagnostics of a partition before training, in numbers and in plain sentences."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from valuefree.errors import number_of
from valuefree.partition.inputs import PartitionData
from valuefree.partition.segments import segment_logsumexp, segment_mean, segment_sum
from valuefree.partition.settings import PartitionSettings

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
PER_PROMPT = ("sizes", "log_coverage", "effective_sizes", "spreads", "values")
LEVEL_IS_ALL = 0.95  # share of the initial loss above which a run is close to supervised fine-tuning
FAR = 40.0  # nats: twice 1.64 · 12, within which nine targets in ten lie by default


@dataclass(frozen=True)
class PartitionReport:
    """Diagnostics of a partition.

    Per prompt (P,): sizes, log_coverage (log C, nats), effective_sizes (of e^{r/τ}), spreads (of rewards), values (V̂).

    Over the data set: target_quantiles of (r − V̂)/τ in nats (per token with ``length_normalize``); level_share, the
    share of the initial loss that compares prompts, weighted as in the run; level_share_unweighted, the same at κ = ∞;
    level_share_several, that of the run over the prompts with several responses; spread_within, the pooled standard
    deviation of rewards within prompts; tau_floor = spread/√(2 log n) for the median n; counts of duplicate rows,
    prompts with one response, and prompts whose rewards are all equal.
    """

    settings: PartitionSettings
    sizes: Int[np.ndarray, " P"]
    log_coverage: Float[np.ndarray, " P"]
    effective_sizes: Float[np.ndarray, " P"]
    spreads: Float[np.ndarray, " P"]
    values: Float[np.ndarray, " P"]
    target_quantiles: dict[float, float]
    level_share: float
    level_share_unweighted: float
    level_share_several: float
    spread_within: float
    tau_floor: float
    duplicates: int
    singletons: int
    all_equal: int
    rows: int

    @classmethod
    def of(
        cls,
        settings: PartitionSettings,
        data: PartitionData,
        rewards_R: Float[Tensor, " R"],
        values_P: Float[Tensor, " P"],
    ) -> "PartitionReport":
        """The report on V̂ and on the rewards that enter the target."""
        tau, index_R, prompts = settings.tau, data.prompt_of_R, data.prompts
        sizes_P = torch.bincount(index_R, minlength=prompts)
        means_P = segment_mean(rewards_R, index_R, prompts)
        squares_P = segment_sum((rewards_R - means_P[index_R]).square_(), index_R, prompts)
        within = float(squares_P.sum()) / tau**2
        level_P = sizes_P * ((means_P - values_P) / tau).square()
        weight_P = torch.ones(prompts) if math.isinf(settings.level) else settings.level / (sizes_P + settings.level)
        several_P = sizes_P > 1
        spread = math.sqrt(float(squares_P.sum()) / max(int((sizes_P - 1).sum()), 1))
        median_size = float(sizes_P.double().median())
        targets_R = ((rewards_R - values_P[index_R]) / tau).numpy()
        first = data.first_rows()
        seen = (data.logps_R, index_R) if first is None else (data.logps_R[first], index_R[first])
        return cls(
            settings=settings,
            sizes=sizes_P.numpy(),
            log_coverage=segment_logsumexp(*seen, prompts).clamp(max=0).numpy(),
            effective_sizes=_effective_sizes(rewards_R / tau, index_R, prompts).numpy(),
            spreads=(squares_P / (sizes_P - 1).clamp(min=1)).sqrt().numpy(),
            values=values_P.numpy(),
            target_quantiles=_quantiles(targets_R),
            level_share=_share(float((weight_P * level_P).sum()), within),
            level_share_unweighted=_share(float(level_P.sum()), within),
            level_share_several=_share(float((weight_P * level_P)[several_P].sum()), within),
            spread_within=spread,
            tau_floor=spread / math.sqrt(2 * math.log(median_size)) if median_size > 1 else math.inf,
            duplicates=len(rewards_R) - len(seen[0]),
            singletons=int((sizes_P == 1).sum()),
            all_equal=int(((squares_P == 0) & several_P).sum()),
            rows=len(rewards_R),
        )

    @property
    def prompts(self) -> int:
        """Number of prompts."""
        return len(self.sizes)

    @property
    def median_log_coverage(self) -> float:
        """Median over prompts of log C, in nats."""
        return float(np.median(self.log_coverage))

    @property
    def warnings(self) -> list[str]:
        """Problems to expect, and what to change."""
        rule = self.settings.rule
        problems: list[str] = []
        if self.level_share_several > LEVEL_IS_ALL:
            other = "" if rule.recommended else "estimator='informed' or 'mean', or "
            problems.append(
                f"{self.level_share_several:.1%} of the initial loss is the same push for every response of a prompt "
                "that has several: the rewards hardly act, and this is close to supervised fine-tuning on all "
                f"responses. Use {other}a smaller level."
            )
        problems += rule.warnings(self)
        if self.singletons and rule.reward_cancels:
            problems.append(
                f"{self.singletons} of {self.prompts} prompts have one response, where "
                f"estimator={self.settings.estimator!r} makes the reward cancel out of the target. "
                "Use estimator='informed' or 'mean'."
            )
        if self.all_equal > self.prompts / 2:
            problems.append(
                f"{self.all_equal} of {self.prompts} prompts have responses with equal rewards: such prompts teach "
                "only the level. Collect finer rewards or more varied responses."
            )
        largest = max(abs(self.target_quantiles[0.05]), abs(self.target_quantiles[0.95]))
        if largest > FAR:
            problems.append(
                f"one target in ten is beyond {largest:.0f} nats: the policy would have to move very far. "
                f"Raise tau (now {self.settings.tau:.3g}) or lower target_std."
            )
        return problems

    def sentences(self) -> list[str]:
        """The settings, what they will do with these data, then what to change."""
        summary = [
            f"{self.rows} responses to {self.prompts} prompts; {int(np.median(self.sizes))} per prompt (median), "
            f"{self.singletons} prompts with one, {self.all_equal} with equal rewards, "
            f"{number_of(self.duplicates, 'duplicate row')}.",
            self._settings(),
            *self._spread(),
            self._targets(),
            self._shares(),
        ]
        return summary + self._problems()

    def summary(self) -> str:
        """The size of the targets, and what to change, on one line each."""
        return "\n".join([self._targets(), *self._problems()])

    def _problems(self) -> list[str]:
        return self.warnings or ["No problems found in rewards and targets."]

    def _targets(self) -> str:
        low, middle, high = (self.target_quantiles[q] for q in (0.05, 0.5, 0.95))
        unit = "nats per token" if self.settings.length_normalize else "nats"
        return (
            f"Targets: 90 % between {low:+.2f} and {high:+.2f} {unit}, median {middle:+.2f}; a target is the change of "
            "a response's log-probability that its reward asks for."
        )

    def _settings(self) -> str:
        """The settings that were used."""
        used = self.settings
        parts = [f"tau {used.tau:.3g}", f"prior strength on V̂ (level) {self._level()}"]
        if "on_policy" in used.rule.reads:
            reason = f" ({used.on_policy_reason})" if used.on_policy_reason else ""
            parts.append(("on-policy responses" if used.on_policy else "responses that others wrote") + reason)
        if not used.merge_duplicates:
            parts.append("duplicates counted each time")
        if used.length_normalize:
            parts.append("log-probabilities as means per token")
        return f"V̂ by estimator {used.estimator}: {used.rule.summary}. Settings: {', '.join(parts)}."

    def _level(self) -> str:
        return "∞" if math.isinf(self.settings.level) else f"{self.settings.level:g}"

    def _spread(self) -> list[str]:
        """How rewards vary within prompts, if any prompt has several responses."""
        if self.singletons == self.prompts:
            return []
        return [
            f"Standard deviation of the rewards within prompts: {self.spread_within:.3g}. Effective responses per "
            f"prompt, weighted by e^(r/τ): {np.median(self.effective_sizes):.2g} (median)."
        ]

    def _shares(self) -> str:
        """How much of the initial loss compares responses, and how much compares prompts."""
        if self.singletons == self.prompts:
            if self.settings.rule.reward_cancels:
                return "Every prompt has one response: there are no responses to compare."
            return (
                "Every prompt has one response, so the loss compares prompts alone: a response is pushed up or down by "
                "(its reward − the reward predicted for its prompt)/τ. Only this prediction distinguishes a bad "
                "answer to an easy prompt from a middling answer to a hard prompt."
            )
        return (
            f"Of the initial loss {1 - self.level_share:.0%} compares the responses to a prompt, "
            f"{self.level_share:.0%} compares prompts (at level {self._level()}; {self.level_share_unweighted:.0%} at "
            "level ∞)."
        )

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def to_dict(self) -> dict[str, Any]:
        """Summary for a JSON file; the arrays per prompt as medians and quantiles."""
        same = ("level_share", "level_share_unweighted", "level_share_several", "spread_within", "tau_floor")
        counts = ("duplicates", "singletons", "all_equal")
        return {
            "prompts": self.prompts,
            "rows": self.rows,
            "estimator": self.settings.estimator,
            "tau": self.settings.tau,
            "length_normalize": self.settings.length_normalize,
            "target_quantiles": {f"{q:g}": value for q, value in self.target_quantiles.items()},
            **{name: getattr(self, name) for name in same},
            "median_effective_size": float(np.median(self.effective_sizes)),
            "median_log_coverage": self.median_log_coverage,
            **{name: getattr(self, name) for name in counts},
            "per_prompt": {
                name: {f"{q:g}": value for q, value in _quantiles(getattr(self, name)).items()} for name in PER_PROMPT
            },
            "warnings": self.warnings,
            "sentences": self.sentences(),
        }


def _quantiles(values: np.ndarray) -> dict[float, float]:
    return {q: float(value) for q, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)}


def _effective_sizes(
    log_weight_R: Float[Tensor, " R"], index_R: Int[Tensor, " R"], prompts: int
) -> Float[Tensor, " {prompts}"]:
    """(Σw)²/Σw² per prompt."""
    log_sum_P = segment_logsumexp(log_weight_R, index_R, prompts)
    return (2 * log_sum_P - segment_logsumexp(2 * log_weight_R, index_R, prompts)).exp()


def _share(level: float, within: float) -> float:
    return level / (level + within) if level + within > 0 else 0.0
