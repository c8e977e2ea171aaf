"""Intervals in closed form: of skewed means, with control variates, and of rankings of rows of different prompts."""

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit, stdtrit  # type: ignore[reportMissingTypeStubs]  # scipy has none

from valuefree.evaluation.stats.estimate import Estimate
from valuefree.evaluation.stats.resampling import CONFIDENCE, Interval, rounding, unanimous_interval


def skewed_mean(values: Float[np.ndarray, " P"]) -> Estimate:
    r"""Mean of one value per prompt, with an interval that allows for skewness.

    Importance weights have a long right tail. The mean and its standard error are then correlated: data sets without a
    large weight have a mean that is too small and a standard error that is too small. Hall's transformation removes the
    skewness γ of T = (mean − truth) / s.e. before Student's quantile t is applied:

    .. math:: g(T) = T + \tfrac13 a T^2 + \tfrac1{27} a^2 T^3 + \tfrac16 a, \quad a = \gamma / \sqrt P; \qquad
              g^{-1}(t) = \tfrac3a \bigl[\sqrt[3]{1 + a (t - a/6)} - 1\bigr]

    The transformation moves both ends. Of each end, Student's or Hall's is taken, whichever lies further out: Hall's
    alone is too short at the other end. The interval is None for one prompt, and where all values are equal.
    `docs/results/coverage_held_out.md` has its coverage.

    Source: Hall (1992), On the Removal of Skewness by Transformation.
    """
    return skewed_estimate(float(values.mean()), values - values.mean())


def skewed_estimate(value: float, influence: Float[np.ndarray, " P"]) -> Estimate:
    """`value` with the interval of `skewed_mean`, for a statistic that is a mean of `influence` up to a constant."""
    size = len(influence)
    deviation = float(influence.std())
    if size < 2 or deviation <= rounding(float(np.abs(influence).max())):
        return Estimate(value, None, size)
    standard_error = deviation / np.sqrt(size - 1)
    asymmetry = float((((influence - influence.mean()) / deviation) ** 3).mean() / np.sqrt(size))
    quantile = float(stdtrit(size - 1, (1 + CONFIDENCE) / 2))
    low = value - standard_error * max(quantile, _inverse(quantile, asymmetry))
    high = value - standard_error * min(-quantile, _inverse(-quantile, asymmetry))
    return Estimate(value, (float(low), float(high)), size)


def controlled(
    values: Float[np.ndarray, " P"], control: Float[np.ndarray, " P"]
) -> tuple[float, Float[np.ndarray, " P"]]:
    r"""Mean of `values`, corrected by a control variate whose expectation is known to be 0, and its influence.

    .. math:: \hat\theta = \bar v - \hat\beta \bar c, \qquad
              \psi_i = \frac{e_i}{1 - h_i} \Bigl(1 - \bar c\,\frac{c_i - \bar c}{s_c^2}\Bigr)

    Here β̂ is the slope of the regression of v on c, e its residuals and h the leverages, which keep ψ from being too
    small for the prompts with the largest weights. The bias is of order 1/P.

    Returns:
        θ̂ and ψ (P,), for `skewed_estimate`. Without variance of the control, or with fewer than four prompts, they are
        the plain mean and the deviations from it.

    Source: Owen (2013), Monte Carlo Theory, Methods and Examples, section 8.9; leverages as in HC3, MacKinnon and White
    (1985).
    """
    size, deviations = len(values), control - control.mean()
    squares = float(deviations @ deviations)
    if size < 4 or squares <= rounding(0.0) * size:
        return float(values.mean()), values - values.mean()
    slope = float(deviations @ values) / squares
    value = float(values.mean() - slope * control.mean())
    residuals = values - values.mean() - slope * deviations
    leverage = np.minimum(1 / size + deviations**2 / squares, 1 - 1e-6)
    larger = residuals / (1 - leverage)
    return value, (larger - larger.mean()) * (1 - size * float(control.mean()) * deviations / squares)


def _inverse(quantile: float, asymmetry: float) -> float:
    """g⁻¹ of `skewed_mean`."""
    if abs(asymmetry) < 1e-6:  # the limit; the formula would lose all digits
        return quantile
    return float(3 / asymmetry * (np.cbrt(1 + asymmetry * (quantile - asymmetry / 6)) - 1))


def share_interval(value: float, standard_error: float, units: int) -> Interval:
    """Interval of a share on the logit scale, with Student's quantile; Clopper's and Pearson's at 0 and 1."""
    if value <= 0 or value >= 1 or standard_error == 0:
        return unanimous_interval(value, units, bounds=(0.0, 1.0))
    half = float(stdtrit(units - 1, (1 + CONFIDENCE) / 2)) * standard_error / (value * (1 - value))
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))
