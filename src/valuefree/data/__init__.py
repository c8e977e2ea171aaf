"""Read, validate, split and standardise rows of (prompt, response, reward), and pairs as such rows."""

from valuefree.data.exports.feedback import Feedback, read_feedback
from valuefree.data.feedback_sets.ultrafeedback import FeedbackReport, read_ultrafeedback, split_top_score
from valuefree.data.pairs import read_pairs, read_pairs_with_summary
from valuefree.data.rewards import RewardScaler
from valuefree.data.summary import DataSummary, summarize
from valuefree.data.triplets import read_triplets, read_with_summary, split_by_prompt

__all__ = [
    "DataSummary",
    "Feedback",
    "FeedbackReport",
    "RewardScaler",
    "read_feedback",
    "read_pairs",
    "read_pairs_with_summary",
    "read_triplets",
    "read_ultrafeedback",
    "read_with_summary",
    "split_by_prompt",
    "split_top_score",
    "summarize",
]
