"""Rows of a feedback log, with what policy and reference say about their responses."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from valuefree.errors import DataError
from valuefree.evaluation.stats.estimate import check_lengths, finite


@dataclass(frozen=True, eq=False)
class LoggedRows:
    """R rows of P prompts: log-ratios and rewards of logged responses.

    Attributes:
        logratios: log π_θ(y|x) − log π_ref(y|x) in nats per response (R,), both under one sampler.
        rewards: raw rewards (R,), in their own unit.
        prompt_of: prompt of each row (R,), 0 … P − 1.
        lengths: tokens of each response (R,).
        features: a vector per prompt (P, d), or None. They are used where prompts have one response.

    Raises:
        DataError: no rows, columns of different length, values that are not finite, or prompts that are not
            numbered from 0 to P − 1.
    """

    logratios: Float[np.ndarray, " R"]
    rewards: Float[np.ndarray, " R"]
    prompt_of: Int[np.ndarray, " R"]
    lengths: Int[np.ndarray, " R"]
    features: Float[np.ndarray, "P d"] | None = None

    def __post_init__(self) -> None:
        """Check the columns; numbers become float64."""
        check_lengths(logratios=self.logratios, rewards=self.rewards, prompt_of=self.prompt_of, lengths=self.lengths)
        for name in ("logratios", "rewards"):
            object.__setattr__(self, name, finite(getattr(self, name), f"`{name}`, one per row"))
        object.__setattr__(self, "lengths", finite(self.lengths, "`lengths`, one per row"))
        prompt_of = np.asarray(self.prompt_of)
        if prompt_of.dtype.kind not in "iu" or prompt_of.min() < 0:
            raise DataError(
                f"expected prompt numbers of 0 and above in `prompt_of`; got {prompt_of.dtype} from {prompt_of.min()}."
            )
        object.__setattr__(self, "prompt_of", prompt_of.astype(np.int64))
        absent = np.flatnonzero(np.bincount(self.prompt_of) == 0)
        if len(absent):
            raise DataError(
                f"expected prompts numbered from 0 without gaps; prompt {absent[0]} has no row. "
                "Number the prompts by first appearance."
            )
        if self.features is not None:
            object.__setattr__(self, "features", _checked_features(self.features, self.prompts))

    @property
    def prompts(self) -> int:
        """Number of prompts, P."""
        return int(self.prompt_of.max()) + 1

    @property
    def counts(self) -> Int[np.ndarray, " P"]:
        """Rows of each prompt (P,)."""
        return np.bincount(self.prompt_of)

    def select_prompts(self, chosen: Int[np.ndarray, " Q"]) -> "LoggedRows":
        """The rows of the chosen prompts, which are numbered anew in the order of `chosen`."""
        number = np.full(self.prompts, -1)
        number[chosen] = np.arange(len(chosen))
        kept = number[self.prompt_of] >= 0
        columns = (self.logratios[kept], self.rewards[kept], number[self.prompt_of[kept]], self.lengths[kept])
        return LoggedRows(*columns, None if self.features is None else self.features[chosen])

    def __len__(self) -> int:
        """Number of rows, R."""
        return len(self.rewards)


def _checked_features(features: Float[np.ndarray, "P d"], prompts: int) -> Float[np.ndarray, "P d"]:
    data = np.asarray(features, dtype=np.float64)
    if data.ndim != 2 or len(data) != prompts or not np.isfinite(data).all():
        raise DataError(
            f"expected `features` of shape ({prompts}, d), one finite vector per prompt; got shape {data.shape}"
            f"{'' if np.isfinite(data).all() else ' with values that are not finite'}."
        )
    return data
