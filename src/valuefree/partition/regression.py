"""Ridge regression of one value per prompt on a vector per prompt, in batches of prompts.

The features may be float32 and mapped from a file. Beyond them, memory is O(m² + batch), where m = min(P, d).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

STRENGTHS = torch.logspace(-8, 6, 57, dtype=torch.float64)  # λ tried, as multiples of the largest eigenvalue
TINY = 1e-10  # 1 − leverage below this, and weights of strengths below this, are rounding
ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-6, torch.float16: 1e-2, torch.bfloat16: 1e-1}
BATCH_NUMBERS = 2**21  # float64 numbers of a batch of prompts


def ridge_values(features_PD: Float[Tensor, "P D"], targets_P: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
    r"""Fitted values of a ridge regression with free intercept on standardised features, float64 of shape (P,).

    At strength λ the fit is :math:`\bar y + X(X^\top X+λ)^{-1}X^\top y`, X standardised. The result is the average of
    the fits at all `STRENGTHS` whose degrees of freedom, counting the intercept, are at most P/2, so that on average a
    prompt's own value has no more weight than those of all other prompts together. The weights are
    :math:`e^{-D(λ)/2}`, where D is the mean of two deviances. The first is :math:`P\log\sum_i e_i^2`, where e are the
    errors of predicting each prompt from the others (PRESS, Allen 1974). The second is that of the restricted
    likelihood (REML, Patterson & Thompson 1971), in which the coefficients are random with one variance. The first
    alone follows noise when there are about as many features as prompts, as generalised cross-validation does. The
    second alone misses effects along directions in which the features vary little.

    Args:
        features_PD: (P, d), any floating type; d may exceed P. targets_P: float64, (P,).
    """
    if len(targets_P) == 1:
        return targets_P.clone()
    spectrum = _Spectrum.of(features_PD, targets_P - targets_P.mean())
    weights_L = spectrum.weights(most_freedom=len(targets_P) / 2)
    along_K = spectrum.along_K * (spectrum.inverses() @ weights_L)
    return targets_P.mean() + torch.cat([scores_BK @ along_K for _, scores_BK in spectrum.batches()])


def ridge_predictions(features_PD: Float[Tensor, "P D"], targets_P: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
    r"""Each prompt predicted from the others, float64 of shape (P,).

    At one strength the prediction is :math:`y_i - (y_i-\hat y_i)/(1-h_i)`, where h is the leverage, intercept included.
    The result is the average over all `STRENGTHS`, weighted as in `ridge_values`; the weights come from all prompts
    together. A single prompt, which no other prompt predicts, gets its own value.
    """
    if len(targets_P) == 1:
        return targets_P.clone()
    spectrum = _Spectrum.of(features_PD, targets_P - targets_P.mean())
    weights_L = spectrum.weights(most_freedom=math.inf)
    kept_L = weights_L > TINY
    weights_L = weights_L[kept_L] / weights_L[kept_L].sum()
    return targets_P - torch.cat([errors_BL @ weights_L for errors_BL in spectrum.errors(kept_L)])


@dataclass(frozen=True)
class _Spectrum:
    """The regression in the eigenvectors of XᵀX (K of them), in which every strength is a rescaling.

    along_K: Zᵀy, where Z are the coordinates of the prompts, (P, K). batches: yields rows and coordinates (B, K) of one
    batch of prompts after another. centred_P: y minus its mean.
    """

    eigenvalues_K: Float[Tensor, " K"]
    along_K: Float[Tensor, " K"]
    batches: Callable[[], Iterator[tuple[slice, Float[Tensor, "B K"]]]]
    centred_P: Float[Tensor, " P"]

    @classmethod
    def of(cls, features_PD: Tensor, centred_P: Tensor) -> "_Spectrum":
        """From XᵀX where there are more prompts than features, else from XXᵀ."""
        prompts, width = features_PD.shape
        rows = _slices(prompts, max(width, len(STRENGTHS)))
        mean_D, inverse_D = _standards(features_PD, rows)
        if prompts <= width:
            return cls._of_prompts(features_PD, centred_P, mean_D, inverse_D)

        def standard(part: slice) -> Tensor:
            return (features_PD[part].double() - mean_D).mul_(inverse_D)

        gram_DD, moment_D = centred_P.new_zeros(width, width), centred_P.new_zeros(width)
        for part in rows:
            standard_BD = standard(part)
            gram_DD.addmm_(standard_BD.T, standard_BD)
            moment_D.addmv_(standard_BD.T, centred_P[part])
        eigenvalues_K, basis_DK = _eigen(gram_DD)
        return cls(
            eigenvalues_K,
            basis_DK.T @ moment_D,
            lambda: ((part, standard(part) @ basis_DK) for part in rows),
            centred_P,
        )

    @classmethod
    def _of_prompts(cls, features_PD: Tensor, centred_P: Tensor, mean_D: Tensor, inverse_D: Tensor) -> "_Spectrum":
        prompts, width = features_PD.shape
        gram_PP = centred_P.new_zeros(prompts, prompts)
        for part in _slices(width, prompts):
            standard_PB = (features_PD[:, part].double() - mean_D[part]).mul_(inverse_D[part])
            gram_PP.addmm_(standard_PB, standard_PB.T)
        eigenvalues_K, vectors_PK = _eigen(gram_PP)
        scores_PK = vectors_PK * eigenvalues_K.sqrt()
        rows = _slices(prompts, max(prompts, len(STRENGTHS)))
        return cls(
            eigenvalues_K,
            scores_PK.T @ centred_P,
            lambda: ((part, scores_PK[part]) for part in rows),
            centred_P,
        )

    def strengths(self) -> Float[Tensor, " L"]:
        """λ, shape (L,); its scale is arbitrary where no feature varies."""
        largest = self.eigenvalues_K.max()
        return STRENGTHS * torch.where(largest > 0, largest, torch.ones_like(largest))

    def inverses(self) -> Float[Tensor, "K L"]:
        """1/(eigenvalue + λ), shape (K, L)."""
        return 1 / (self.eigenvalues_K[:, None] + self.strengths())

    def errors(self, kept_L: Bool[Tensor, " L"]) -> Iterator[Tensor]:
        """Errors of predicting each prompt from the others at the strengths `kept_L`, (B, L) per batch."""
        inverse_KL = self.inverses()[:, kept_L]
        for part, scores_BK in self.batches():
            rest_BL = self.centred_P[part, None] - scores_BK @ (self.along_K[:, None] * inverse_KL)
            leverage_BL = scores_BK.square() @ inverse_KL
            yield rest_BL / (1 - 1 / len(self.centred_P) - leverage_BL).clamp_(min=TINY)

    def weights(self, most_freedom: float) -> Float[Tensor, " L"]:
        """Weight of every strength, shape (L,), zero where its degrees of freedom exceed `most_freedom`."""
        prompts = len(self.centred_P)
        inverse_KL, strength_L = self.inverses(), self.strengths()
        squares = self.centred_P.square().sum()
        least = squares * torch.finfo(torch.float64).eps + torch.finfo(torch.float64).tiny
        press_L = torch.zeros_like(strength_L)
        for errors_BL in self.errors(strength_L > 0):
            press_L += errors_BL.square().sum(0)
        left_L = squares - self.along_K.square() @ inverse_KL  # yᵀ(I + XXᵀ/λ)⁻¹y
        determinant_L = torch.log1p(self.eigenvalues_K[:, None] / strength_L).sum(0)
        reml_L = (prompts - 1) * left_L.clamp(min=least).log() + determinant_L
        deviance_L = (prompts * press_L.clamp(min=least).log() + reml_L) / 2
        freedom_L = 1 + self.eigenvalues_K @ inverse_KL
        allowed_L = freedom_L <= most_freedom
        allowed_L[-1] = True  # the mean alone
        return torch.softmax(-deviance_L.masked_fill(~allowed_L, math.inf) / 2, 0)


def _slices(count: int, width: int) -> list[slice]:
    """Slices of range(count) such that one of them, with `width` numbers per item, has about `BATCH_NUMBERS`."""
    step = max(BATCH_NUMBERS // max(width, 1), 1)
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _standards(features_PD: Float[Tensor, "P D"], rows: list[slice]) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
    """Mean and reciprocal standard deviation of every feature; the latter is 0 where only rounding varies."""
    prompts, width = features_PD.shape
    mean_D, squares_D, largest_D = torch.zeros(3, width, dtype=torch.float64)
    for part in rows:
        batch_BD = features_PD[part].double()
        mean_D += batch_BD.sum(0) / prompts
        torch.maximum(largest_D, batch_BD.abs().amax(0), out=largest_D)
    for part in rows:
        squares_D += (features_PD[part].double() - mean_D).square_().sum(0)
    spread_D = (squares_D / prompts).sqrt()
    varies_D = spread_D > ROUNDING[features_PD.dtype] * largest_D
    return mean_D, torch.where(varies_D, 1 / spread_D, torch.zeros_like(spread_D))


def _eigen(gram: Float[Tensor, "K K"]) -> tuple[Float[Tensor, " K"], Float[Tensor, "K K"]]:
    """Eigenvalues (zero where they are rounding) and eigenvectors (in columns) of a symmetric matrix."""
    values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(gram))  # type: ignore  # torch has no type for it
    rounding = len(values) * torch.finfo(values.dtype).eps * values[-1:].clamp(min=0.0)
    return torch.where(values > rounding, values, torch.zeros_like(values)), vectors
