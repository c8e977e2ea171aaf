"""The reweighted gain: what the weights of a policy choose among logged responses. It orders policies and strengths."""

import numpy as np
from jaxtyping import Float

from valuefree.evaluation.held_out.contrasts import Contrasts, comparison_of, contrasts_of
from valuefree.evaluation.held_out.intervals import skewed_mean
from valuefree.evaluation.held_out.rows import LoggedRows
from valuefree.evaluation.stats.estimate import Estimate


def reweighted_gain(contrasts: Contrasts) -> float:
    r"""Mean reward of the logged responses when the policy's weights choose among them, minus their plain mean.

    .. math:: \frac1P \sum_x \Bigl[\sum_j p_j r_j - \bar r\Bigr], \qquad p = \mathrm{softmax}(\rho_x)

    The weights are normalised over the responses of a prompt (over all prompts where these are compared), so the value
    lies within the range of the rewards however far the policy has moved. It grows with the move as long as the ranking
    holds. `docs/results/learned.md` shows that it orders policies and strengths by their true gain better than the
    other measures do. It estimates the size of the gain for small moves only.
    """
    return float(_terms(contrasts).mean())


def reweighted_difference(first: LoggedRows, second: LoggedRows) -> Estimate:
    """Reweighted gain of the first policy minus that of the second on the same rows, paired by prompt."""
    by = comparison_of(first)
    return skewed_mean(_terms(contrasts_of(first, by)) - _terms(contrasts_of(second, by)))


def _terms(contrasts: Contrasts) -> Float[np.ndarray, " B"]:
    """Values of which the reweighted gain is the mean: one per prompt.

    Where prompts are compared with each other, it is a ratio of means; the terms are then those of its linearisation.
    """
    ratios, rewards, _ = contrasts.centred
    largest = np.full(int(contrasts.block.max()) + 1, -np.inf)
    np.maximum.at(largest, contrasts.block, ratios)
    weights = np.exp(ratios - largest[contrasts.block])
    chosen = np.bincount(contrasts.block, weights=weights * rewards) / np.bincount(contrasts.block, weights=weights)
    if contrasts.by == "pairs":
        return chosen
    return chosen[0] + weights / weights.mean() * (rewards - chosen[0])
