"""Statistics of an evaluation: a number never stands without its n and its interval. No torch.

Where two systems answer the same prompts everything is paired on prompts; where a prompt has several rows, the interval
resamples prompts whole. `docs/results/coverage.md` says how often the bootstrap
intervals hold the truth.
"""

from valuefree.evaluation.stats.agreement import Agreement, cohen_kappa
from valuefree.evaluation.stats.estimate import Estimate
from valuefree.evaluation.stats.length import LengthControlled, length_controlled_win_rate
from valuefree.evaluation.stats.means import bootstrap_mean, clustered_mean, crossed_mean, paired_difference, t_mean
from valuefree.evaluation.stats.ranking import PRIOR, Ranking, bradley_terry
from valuefree.evaluation.stats.resampling import CONFIDENCE, PERCENTILE_FROM, RESAMPLES, UNBOUNDED, Interval
from valuefree.evaluation.stats.signs import WinTieLoss, p_shown, preferred, sign_test, win_tie_loss

__all__ = [
    "CONFIDENCE",
    "PERCENTILE_FROM",
    "PRIOR",
    "RESAMPLES",
    "UNBOUNDED",
    "Agreement",
    "Estimate",
    "Interval",
    "LengthControlled",
    "Ranking",
    "WinTieLoss",
    "bootstrap_mean",
    "bradley_terry",
    "clustered_mean",
    "cohen_kappa",
    "crossed_mean",
    "length_controlled_win_rate",
    "p_shown",
    "paired_difference",
    "preferred",
    "sign_test",
    "t_mean",
    "win_tie_loss",
]
