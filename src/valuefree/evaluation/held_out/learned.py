"""The result of `measure`: what a policy has learned, as measured on held-out rows."""

import types
import typing
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Self

from valuefree.evaluation.held_out.sentences import TOO_FEW, next_steps, sentences, summary
from valuefree.evaluation.stats.estimate import Estimate, Statistic


class Stored(Statistic):
    """A result that is written by `to_dict` and read again by `from_dict`."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The result that `to_dict` wrote, also after a round trip through JSON; unknown keys are ignored."""
        return _read(cls, data)


def _read(kind: Any, data: Any) -> Any:
    """`data` as an instance of the dataclass `kind`; nested dataclasses are found from the annotations."""
    hints = typing.get_type_hints(kind)
    return kind(
        **{field.name: _value(hints[field.name], data[field.name]) for field in fields(kind) if field.name in data}
    )


def _value(hint: Any, value: Any) -> Any:
    """`value` as its annotation wants it: dictionaries as dataclasses, lists as tuples."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if isinstance(value, dict):
        return next((_read(option, value) for option in options if is_dataclass(option)), value)
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Gain(Stored):
    """Estimates of the gain in reward over the reference, by importance weights w = e^ρ.

    Attributes:
        gain: E_policy[r] − E_reference[r], in units of the raw rewards: Ĝ, corrected by the difference of the mean
            weight from 1.
        plain: Ĝ, the mean of (w − 1)(r − b), without that correction.
        self_normalised: the mean of r − b with weights that are divided by their sum, minus the mean without weights.
        mean_weight: mean of w over the reference's responses; 1 for rows that the reference wrote.
        effective_share: Kish's effective sample size, as a share of the rows.
        kl_policy: KL(policy‖reference), in nats per response.
        kl_reference: KL(reference‖policy), in nats per response.
        objective: gain − τ · KL(policy‖reference), in units of the raw rewards; None without τ.
    """

    gain: Estimate
    plain: float
    self_normalised: Estimate
    mean_weight: Estimate
    effective_share: float
    kl_policy: Estimate
    kl_reference: Estimate
    objective: Estimate | None = None


@dataclass(frozen=True)
class Needed(Stored):
    """Held-out prompts at which an effect is seen with a power of 80 %, two-sided at 5 %; None where unknown.

    Attributes:
        ranking: prompts needed to see a ranking accuracy of 55 %.
        gain: prompts needed to see a gain of .05, in units of the raw rewards.
    """

    ranking: int | None
    gain: int | None


@dataclass(frozen=True)
class Thumbs(Stored):
    """Rewards of two values, as of thumbs: −1 and 1, or 0 and 1.

    Attributes:
        up: mean over prompts of the share of its rows with the larger reward.
        step: the larger reward minus the smaller one; a gain divided by it is a difference of shares.
    """

    up: float
    step: float


@dataclass(frozen=True)
class Learned(Stored):
    """What a policy has learned, measured on held-out rows. All intervals are 95 % and resample whole prompts.

    ρ is the log-ratio and r the reward. A tilde means minus the mean over the rows of the prompt (`by="pairs"`), or
    minus a prediction from prompt features and the overall mean (`by="rows"`).

    Attributes:
        rows: held-out rows. prompts: held-out prompts.
        by: "pairs" if responses to the same prompt are compared, "rows" if rows of different prompts are.
        compared: number of pairs with different rewards; for "rows" the number of prompts.
        ranking: share of pairs with r_j > r_k in which ρ_j > ρ_k; a tie of ρ counts ½. Chance is ½.
        permutation_p: p-value of T = Σ ρ̃ r̃ under permutations of the rewards, one-sided.
        shorter: share of the same pairs in which the response with the larger reward is the shorter one.
        partial_correlation: of ρ̃ and r̃, given the length.
        train_ranking: `ranking` on training rows, or None.
        implied_tau: Σ ρ̃ r̃ / Σ ρ̃², the temperature at which the rewards justify the move, in units of the raw
            rewards; None unless positive.
        explained_share: squared correlation of ρ̃ and r̃, with the sign of the correlation: a negative value means
            that the policy ranks against the rewards.
        progress: τ Σ ρ̃ r̃ / Σ r̃², or None without τ. It is 0 for a random move. At the optimum it is the reliability
            of the rewards, 1 without noise.
        rms: root mean square of ρ̃, in nats.
        gain: the estimated gain in reward, or None.
        no_gain: why `gain` is None.
        mean_weight: mean importance weight; None where the rows are not the reference's.
        effective_share: Kish's effective sample size as a share of the rows; None likewise.
        needed: held-out prompts at which small effects would be seen.
        evidence: the interval of `ranking` lies above ½ and `permutation_p` is below .05.
        adjusted: log-ratios and rewards are residuals of a regression on prompt features, for "rows".
        tau: temperature of the objective, in units of the raw rewards, or None.
        thumbs: where the rewards are −1 and 1, or 0 and 1.
    """

    rows: int
    prompts: int
    by: typing.Literal["pairs", "rows"]
    compared: int
    ranking: Estimate
    permutation_p: float
    shorter: Estimate
    partial_correlation: Estimate
    train_ranking: Estimate | None
    implied_tau: float | None
    explained_share: Estimate
    progress: Estimate | None
    rms: float
    gain: Gain | None
    no_gain: str | None
    mean_weight: Estimate | None
    effective_share: float | None
    needed: Needed
    evidence: bool
    adjusted: bool = False
    tau: float | None = None
    thumbs: Thumbs | None = None

    @property
    def too_few(self) -> bool:
        """Whether the report prompts are too few for anything but evidence."""
        return self.prompts < TOO_FEW

    def sentences(self) -> list[str]:
        """The findings in plain English, the verdict first."""
        return sentences(self)

    def summary(self) -> list[str]:
        """The verdict, doubts about it, and the gain: at most six of the findings."""
        return summary(self)

    def next_steps(self, *, measured: bool) -> list[str]:
        """What to do about a doubt. measured: a reward function has measured the gain."""
        return next_steps(self, measured=measured)
