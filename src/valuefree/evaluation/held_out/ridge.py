"""Ridge regression on prompt features; its strength is chosen by leave-one-out errors."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_STRENGTHS = 10.0 ** np.arange(-4, 5)  # in units of the mean squared singular value


@dataclass(frozen=True, eq=False)
class Ridge:
    """A fitted regression of T targets on d features.

    Attributes:
        centre, scale: mean and standard deviation of each feature (d,).
        coefficients: (d, T), for standardised features.
        intercepts: (T,), the means of the targets.
        left_out: prediction for each training prompt by the regression without it (P, T).
    """

    centre: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]
    coefficients: Float[np.ndarray, "d T"]
    intercepts: Float[np.ndarray, " T"]
    left_out: Float[np.ndarray, "P T"]

    def __call__(self, features: Float[np.ndarray, "Q d"]) -> Float[np.ndarray, "Q T"]:
        """Predictions for the prompts with these features."""
        return (features - self.centre) / self.scale @ self.coefficients + self.intercepts


def fit_ridge(features: Float[np.ndarray, "P d"], targets: Float[np.ndarray, "P T"]) -> Ridge:
    r"""Fit each target with the strength that has the smallest sum of squared leave-one-out errors.

    The error without prompt i is (t_i − t̂_i) / (1 − h_i), with the leverage h_i = 1/P + Σ_k U²_ik s²_k / (s²_k + λ). A
    strength λ of infinity, which predicts the mean, is among the candidates.

    Source: Allen (1974), The Relationship between Variable Selection and Data Augmentation (PRESS).
    """
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    left, singular, right = np.linalg.svd((features - centre) / scale, full_matrices=False)
    intercepts = targets.mean(axis=0)
    deviations = targets - intercepts
    projected = left.T @ deviations
    unit = float((singular**2).mean()) or 1.0
    coefficients, left_out = np.zeros((features.shape[1], targets.shape[1])), np.zeros(targets.shape)
    smallest = np.full(targets.shape[1], np.inf)
    for strength in [np.inf, *(_STRENGTHS[::-1] * unit)]:
        shrinkage = singular**2 / (singular**2 + strength)
        leverage = 1 / len(features) + left**2 @ shrinkage
        room = np.maximum(1 - leverage, 1e-6)[:, None]
        errors = (deviations - left @ (shrinkage[:, None] * projected)) / room
        better = (errors**2).sum(axis=0) < smallest
        smallest = np.where(better, (errors**2).sum(axis=0), smallest)
        solution = right.T @ ((singular / (singular**2 + strength))[:, None] * projected)
        coefficients[:, better], left_out[:, better] = solution[:, better], (targets - errors)[:, better]
    return Ridge(centre, scale, coefficients, intercepts, left_out)
