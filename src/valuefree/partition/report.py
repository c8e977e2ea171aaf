"""What the partition of a data set looks like before anything is trained, in numbers and in plain sentences."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from valuefree.partition.estimators import partition_targets
from valuefree.partition.inputs import Index, Values
from valuefree.partition.segments import pair_starts, segment_logsumexp, segment_mean, segment_sum
from valuefree.partition.settings import PartitionSettings

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
PER_PROMPT = ("sizes", "log_coverage", "effective_sizes", "spreads", "values")
LEVEL_IS_ALL = 0.95  # share of the initial loss above which a run is close to supervised fine-tuning
FAR = 40.0  # nats: twice what nine targets in ten stay within by default, 1.64 · 12
REWARD_CANCELS = ("reference", "monte_carlo")  # out of the target of a prompt's only response


@dataclass(frozen=True)
class PartitionReport:
    """What the partition of a data set looks like.

    Per prompt (P,): sizes, log_coverage (log C, nats), effective_sizes (of e^{r/τ}), spreads (of rewards), values (V̂).

    Over the data set: target_quantiles of (r − V̂)/τ in nats; level_share of the initial loss, as the run weighs it, at
    κ = ∞, and as the run weighs it over the prompts with several responses; spread_within, the pooled standard
    deviation of rewards within prompts; tau_floor = spread/√(2 log n) for the median n; counts of duplicate rows,
    prompts with one response, and prompts whose rewards are all equal.
    """

    settings: PartitionSettings
    sizes: np.ndarray
    log_coverage: np.ndarray
    effective_sizes: np.ndarray
    spreads: np.ndarray
    values: np.ndarray
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

    @property
    def prompts(self) -> int:
        """Number of prompts."""
        return len(self.sizes)

    @property
    def warnings(self) -> list[str]:
        """What is likely to go wrong, and what to change."""
        tau, estimator = self.settings.tau, self.settings.estimator
        found = []
        if self.level_share_several > LEVEL_IS_ALL:
            other = "" if estimator in ("informed", "mean") else "estimator='informed' or 'mean', or "
            found.append(
                f"{self.level_share_several:.1%} of the initial loss is the same push for every response of a prompt "
                "that has several: the rewards hardly act, and this is close to supervised fine-tuning on all "
                f"responses. Use {other}a smaller level."
            )
        if estimator == "reference" and np.median(self.log_coverage) < -1:
            found.append(
                f"the responses cover e^{np.median(self.log_coverage):.0f} of the reference's probability (median): "
                "eq. 19 then asks for targets near that many nats, whatever the reward. Use estimator='informed'."
            )
        if estimator in ("monte_carlo", "pooled") and tau < self.tau_floor:
            found.append(
                f"tau={tau:g} is below spread/√(2 log n) = {self.tau_floor:.2g}: so few responses cannot show the tail "
                "that such a tau weighs, and V̂ will come out too low. Raise tau, or use estimator='mean'."
            )
        if self.singletons and estimator in REWARD_CANCELS:
            found.append(
                f"{self.singletons} of {self.prompts} prompts have one response, where estimator={estimator!r} makes "
                "the reward cancel out of the target. Use estimator='informed' or 'mean'."
            )
        if self.all_equal > self.prompts / 2:
            found.append(
                f"{self.all_equal} of {self.prompts} prompts have responses that are all rewarded alike: "
                "they teach only the level. Collect finer rewards or more varied responses."
            )
        largest = max(abs(self.target_quantiles[0.05]), abs(self.target_quantiles[0.95]))
        if largest > FAR:
            found.append(
                f"one target in ten is beyond {largest:.0f} nats: the policy would have to move very far. "
                f"Raise tau (now {tau:.3g}) or lower target_std."
            )
        return found

    def sentences(self) -> list[str]:
        """What this data and these settings will do, then what to change."""
        low, middle, high = (self.target_quantiles[q] for q in (0.05, 0.5, 0.95))
        said = [
            f"{self.rows} responses to {self.prompts} prompts; {int(np.median(self.sizes))} per prompt (median), "
            f"{self.singletons} prompts with one, {self.all_equal} with equal rewards, "
            f"{self.duplicates} duplicate rows.",
            *self._spread(),
            f"Targets: 90 % between {low:+.2f} and {high:+.2f} nats, median {middle:+.2f}.",
            self._shares(),
        ]
        return said + (self.warnings or ["No problems found."])

    def _spread(self) -> list[str]:
        """How rewards vary within prompts, where any has several."""
        if self.singletons == self.prompts:
            return []
        return [
            f"Standard deviation of the rewards within prompts: {self.spread_within:.3g}. Effective responses per "
            f"prompt, weighted by e^(r/τ): {np.median(self.effective_sizes):.2g} (median)."
        ]

    def _shares(self) -> str:
        """How much of the signal compares responses, and how much prompts."""
        if self.singletons == self.prompts:
            if self.settings.estimator in REWARD_CANCELS:
                return "Every prompt has one response: there are no responses to compare."
            return (
                "Every prompt has one response, so the loss compares prompts alone: a response is pushed up or down by "
                "(its reward − the reward predicted for its prompt)/τ. A bad answer to an easy prompt and a middling "
                "one to a hard prompt are told apart only as far as the prediction goes."
            )
        level = "∞" if math.isinf(self.settings.level) else f"{self.settings.level:g}"
        return (
            f"Of the initial loss {1 - self.level_share:.0%} compares the responses to a prompt, "
            f"{self.level_share:.0%} compares prompts (at level {level}; {self.level_share_unweighted:.0%} at level ∞)."
        )

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def to_dict(self) -> dict[str, Any]:
        """Summary for a JSON file; the arrays per prompt as medians and quantiles."""
        return {
            "prompts": self.prompts,
            "rows": self.rows,
            "estimator": self.settings.estimator,
            "tau": self.settings.tau,
            "target_quantiles": {f"{q:g}": value for q, value in self.target_quantiles.items()},
            "level_share": self.level_share,
            "level_share_unweighted": self.level_share_unweighted,
            "level_share_several": self.level_share_several,
            "spread_within": self.spread_within,
            "tau_floor": self.tau_floor,
            "median_effective_size": float(np.median(self.effective_sizes)),
            "median_log_coverage": float(np.median(self.log_coverage)),
            "duplicates": self.duplicates,
            "singletons": self.singletons,
            "all_equal": self.all_equal,
            "per_prompt": {name: _quantiles(getattr(self, name)) for name in PER_PROMPT},
            "warnings": self.warnings,
            "sentences": self.sentences(),
        }


def partition_report(
    rewards: Values,
    reference_logps: Values,
    prompt_of: Index,
    *,
    tau: float,
    estimator: str = "reference",
    on_policy: bool = True,
    response_of: Index | None = None,
    reference_rewards: Values | None = None,
    reference_prompt_of: Index | None = None,
    features: Tensor | np.ndarray | None = None,
    level: float = math.inf,
    merge_duplicates: bool = True,
    targets: tuple[Tensor, Tensor] | None = None,
) -> PartitionReport:
    """Diagnostics of V̂ for a data set; errors as in `partition_values`.

    Args:
        rewards, reference_logps, prompt_of: shape (R,).
        tau, estimator, on_policy, response_of, reference_rewards, reference_prompt_of, features: as in
            `partition_values`. Without `response_of` every row is distinct, and no duplicate is counted.
        level: κ of the run, for the share of the loss that is level.
        merge_duplicates: whether duplicates count once in V̂; they are counted as duplicates either way.
        targets: what `partition_targets` returned for the same data and settings; computed here if not given.
    """
    settings = PartitionSettings(
        tau=tau, estimator=estimator, on_policy=on_policy, merge_duplicates=merge_duplicates, level=level
    )
    given = {"reference_rewards": reference_rewards, "reference_prompt_of": reference_prompt_of, "features": features}
    rewards_R, values_P = targets or partition_targets(
        rewards, reference_logps, prompt_of, settings, response_of=response_of, **given
    )
    index_R = torch.as_tensor(prompt_of, dtype=torch.int64)
    prompts = len(values_P)
    sizes_P = torch.bincount(index_R, minlength=prompts)
    means_P = segment_mean(rewards_R, index_R, prompts)
    squares_P = segment_sum((rewards_R - means_P[index_R]).square_(), index_R, prompts)
    within = float(squares_P.sum()) / settings.tau**2
    level_P = sizes_P * ((means_P - values_P) / settings.tau).square()
    weight_P = torch.ones(prompts) if math.isinf(settings.level) else settings.level / (sizes_P + settings.level)
    several_P = sizes_P > 1
    free = max(int((sizes_P - 1).sum()), 1)
    spread = math.sqrt(float(squares_P.sum()) / free)
    median_size = float(sizes_P.double().median())
    distinct, coverage_P = _coverage(reference_logps, index_R, response_of, prompts)
    targets_R = ((rewards_R - values_P[index_R]) / settings.tau).numpy()
    return PartitionReport(
        settings=settings,
        sizes=sizes_P.numpy(),
        log_coverage=coverage_P.clamp(max=0).numpy(),
        effective_sizes=_effective_sizes(rewards_R / settings.tau, index_R, prompts).numpy(),
        spreads=(squares_P / (sizes_P - 1).clamp(min=1)).sqrt().numpy(),
        values=values_P.numpy(),
        target_quantiles=dict(zip(QUANTILES, np.quantile(targets_R, QUANTILES).tolist(), strict=True)),
        level_share=_share(float((weight_P * level_P).sum()), within),
        level_share_unweighted=_share(float(level_P.sum()), within),
        level_share_several=_share(float((weight_P * level_P)[several_P].sum()), within),
        spread_within=spread,
        tau_floor=spread / math.sqrt(2 * math.log(median_size)) if median_size > 1 else math.inf,
        duplicates=len(rewards_R) - distinct,
        singletons=int((sizes_P == 1).sum()),
        all_equal=int(((squares_P == 0) & several_P).sum()),
        rows=len(rewards_R),
    )


def _quantiles(values_P: np.ndarray) -> dict[str, float]:
    return {f"{q:g}": float(value) for q, value in zip(QUANTILES, np.quantile(values_P, QUANTILES), strict=True)}


def _coverage(logps: Values, index_R: Tensor, response_of: Index | None, prompts: int) -> tuple[int, Tensor]:
    """Number of distinct (prompt, response), and log C per prompt (P,), in which the first row of each counts."""
    logps_R = torch.as_tensor(logps, dtype=torch.float64)
    pairs = None
    if response_of is not None:
        pairs = pair_starts(index_R, torch.as_tensor(response_of, dtype=torch.int64))
    if pairs is None:
        return len(index_R), segment_logsumexp(logps_R, index_R, prompts)
    first = torch.from_numpy(np.minimum.reduceat(*pairs))
    return len(first), segment_logsumexp(logps_R[first], index_R[first], prompts)


def _effective_sizes(log_weight_R: Tensor, index_R: Tensor, prompts: int) -> Tensor:
    """(Σw)²/Σw² per prompt, shape (P,)."""
    log_sum_P = segment_logsumexp(log_weight_R, index_R, prompts)
    return (2 * log_sum_P - segment_logsumexp(2 * log_weight_R, index_R, prompts)).exp()


def _share(level: float, within: float) -> float:
    return level / (level + within) if level + within > 0 else 0.0
