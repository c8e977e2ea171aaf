"""Standardisation of rewards, fitted on the training rows and saved with the run. No torch."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from valuefree.data.columns import to_numpy
from valuefree.errors import ConfigError, DataError
from valuefree.runs.files import read_json, write_json

logger = logging.getLogger(__name__)

FILE_NAME = "reward_scaler.json"
ROUNDING = 1e-12  # of the largest reward: a smaller spread is an error of rounding


@dataclass(frozen=True)
class RewardScaler:
    """(r − mean) / scale. `scale` is the standard deviation of the training rewards (1 if these are equal)."""

    mean: float
    scale: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and np.isfinite(self.scale) and self.scale > 0):
            raise ConfigError(f"mean {self.mean} and scale {self.scale}: expected finite numbers and a positive scale.")

    @classmethod
    def fit(cls, rewards: Sequence[float]) -> "RewardScaler":
        """Mean and standard deviation (over R) of the training rewards.

        Raises:
            DataError: no rewards, or some that are not finite.
        """
        values = to_numpy(rewards, np.float64)
        if values.size == 0 or not np.isfinite(values).all():
            raise DataError(f"cannot fit a reward scaler on {values.size} rewards, of which some are not finite.")
        scale = float(values.std())
        if scale <= ROUNDING * np.abs(values).max():
            logger.warning("all %d rewards equal %g: there is nothing to learn from them", values.size, values[0])
            scale = 1.0
        return cls(float(values.mean()), scale)

    def transform(self, rewards: Sequence[float]) -> np.ndarray:
        """Standardised rewards, float64 of the same shape."""
        return (to_numpy(rewards, np.float64) - self.mean) / self.scale

    def to_dict(self) -> dict[str, float]:
        """Mean and scale."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "RewardScaler":
        """The inverse of `to_dict`; an unknown or missing key is a ConfigError."""
        if set(state) != {"mean", "scale"}:
            raise ConfigError(f"a reward scaler has the keys mean and scale; got {sorted(state)}.")
        return cls(float(state["mean"]), float(state["scale"]))

    def save(self, folder: str | Path) -> None:
        """Write ``reward_scaler.json`` into `folder`."""
        write_json(Path(folder) / FILE_NAME, self.to_dict())

    @classmethod
    def load(cls, folder: str | Path) -> "RewardScaler":
        """Read what `save` wrote."""
        return cls.from_dict(read_json(Path(folder) / FILE_NAME))
