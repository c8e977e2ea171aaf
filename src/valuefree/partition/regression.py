"""Ridge regression of one value per prompt on a vector per prompt, its strength chosen by the data."""

import torch
from torch import Tensor

STRENGTHS = torch.logspace(
    -8, 6, 141, dtype=torch.float64
)  # λ tried, as multiples of the largest squared singular value
TINY = 1e-10  # singular values below this share of the largest are rounding


def ridge_values(features_PD: Tensor, targets_P: Tensor) -> Tensor:
    r"""Fitted values of a ridge regression with free intercept on standardised features, shape (P,).

    With X = U S Vᵀ centred, the fit at strength λ is :math:`\bar y + U\,\mathrm{diag}(s^2/(s^2+λ))\,U^\top y`. Of
    `STRENGTHS`, that one is taken which has the least generalised cross-validation score
    :math:`P\,\|y-\hat y\|^2/(P-\mathrm{df})^2`, df counting the intercept (Golub, Heath & Wahba 1979).

    Args:
        features_PD: float64, (P, d); d may exceed P. targets_P: float64, (P,).
    """
    mean = targets_P.mean()
    centred_P = targets_P - mean
    spread_D = features_PD.std(0, correction=0)
    varies_D = spread_D > TINY * features_PD.abs().amax(0)
    standard_PD = (features_PD - features_PD.mean(0))[:, varies_D] / spread_D[varies_D]
    u_PK, s_K, _ = torch.linalg.svd(standard_PD, full_matrices=False)
    kept_K = s_K > TINY * s_K[:1]
    u_PK, s_K = u_PK[:, kept_K], s_K[kept_K]
    if not len(s_K):
        return mean.expand_as(targets_P).clone()
    along_K = u_PK.T @ centred_P
    strength_L = STRENGTHS * s_K[0].square()
    left_LK = strength_L[:, None] / (s_K.square() + strength_L[:, None])  # share of each direction that is not fitted
    beyond = (centred_P.square().sum() - along_K.square().sum()).clamp(min=0.0)  # what no direction reaches
    rest_L = (left_LK * along_K).square().sum(1) + beyond
    free_L = (len(targets_P) - 1 - len(s_K)) + left_LK.sum(1)
    best = int((rest_L / free_L.square()).argmin())
    return mean + u_PK @ ((1 - left_LK[best]) * along_K)
