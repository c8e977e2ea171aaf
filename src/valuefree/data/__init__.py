"""① Triplets: read, validate, split and standardise (prompt, response, reward) rows."""

from valuefree.data.rewards import RewardScaler
from valuefree.data.triplets import DataSummary, read_triplets, read_with_summary, split_by_prompt, summarize

__all__ = ["DataSummary", "RewardScaler", "read_triplets", "read_with_summary", "split_by_prompt", "summarize"]
