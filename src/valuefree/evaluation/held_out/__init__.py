"""What a policy has learned, from held-out rows of a feedback log. No torch."""

from valuefree.evaluation.held_out.comparison import Comparison, compare
from valuefree.evaluation.held_out.learned import Gain, Learned, Needed
from valuefree.evaluation.held_out.measure import measure, quick_measures
from valuefree.evaluation.held_out.rows import LoggedRows

__all__ = ["Comparison", "Gain", "Learned", "LoggedRows", "Needed", "compare", "measure", "quick_measures"]
