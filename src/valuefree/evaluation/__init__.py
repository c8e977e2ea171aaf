"""⑥ Evaluation: generate, reward, compare. Names are loaded on first use, so that `stats` needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valuefree.evaluation.generation import Decoding, generate
    from valuefree.evaluation.rewards import Evaluation, evaluate, load_reward
    from valuefree.evaluation.serving import generate_remote
    from valuefree.evaluation.stats import (
        Agreement,
        Estimate,
        LengthControlled,
        Ranking,
        WinTieLoss,
        bootstrap_mean,
        bradley_terry,
        clustered_mean,
        cohen_kappa,
        length_controlled_win_rate,
        paired_difference,
        sign_test,
        win_tie_loss,
    )

_HOME = {
    "Decoding": "generation",
    "generate": "generation",
    "generate_remote": "serving",
    "Evaluation": "rewards",
    "evaluate": "rewards",
    "load_reward": "rewards",
    "Agreement": "stats",
    "Estimate": "stats",
    "LengthControlled": "stats",
    "Ranking": "stats",
    "WinTieLoss": "stats",
    "bootstrap_mean": "stats",
    "bradley_terry": "stats",
    "clustered_mean": "stats",
    "cohen_kappa": "stats",
    "length_controlled_win_rate": "stats",
    "paired_difference": "stats",
    "sign_test": "stats",
    "win_tie_loss": "stats",
}
__all__ = [
    "Agreement",
    "Decoding",
    "Estimate",
    "Evaluation",
    "LengthControlled",
    "Ranking",
    "WinTieLoss",
    "bootstrap_mean",
    "bradley_terry",
    "clustered_mean",
    "cohen_kappa",
    "evaluate",
    "generate",
    "generate_remote",
    "length_controlled_win_rate",
    "load_reward",
    "paired_difference",
    "sign_test",
    "win_tie_loss",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
