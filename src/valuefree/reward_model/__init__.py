"""A reward model by Bradley and Terry: from comparisons to one score per response, higher is better."""

from valuefree.models.reward_model import MAX_LENGTH, load_reward_model, reward_inputs, scores_of
from valuefree.reward_model.trainer import RewardModelArguments, RewardModelTrainer, RewardPairs, bradley_terry_loss

__all__ = [
    "MAX_LENGTH",
    "RewardModelArguments",
    "RewardModelTrainer",
    "RewardPairs",
    "bradley_terry_loss",
    "load_reward_model",
    "reward_inputs",
    "scores_of",
]
