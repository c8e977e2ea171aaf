"""⑥ Evaluation: generate, reward, compare. Names are loaded on first use, so that `stats` needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valuefree.evaluation.generation import Decoding, generate
    from valuefree.evaluation.metrics.base import Metric
    from valuefree.evaluation.metrics.measure import TextMetrics, text_metrics
    from valuefree.evaluation.rewards import Evaluation, evaluate, load_reward
    from valuefree.evaluation.serving import generate_remote
    from valuefree.evaluation.stats import Estimate, bootstrap_mean, win_tie_loss
    from valuefree.evaluation.validation import ValidationMetrics

_HOME = {
    "Decoding": "generation",
    "generate": "generation",
    "generate_remote": "serving",
    "Evaluation": "rewards",
    "evaluate": "rewards",
    "load_reward": "rewards",
    "Estimate": "stats",
    "bootstrap_mean": "stats",
    "win_tie_loss": "stats",
    "Metric": "metrics.base",
    "TextMetrics": "metrics.measure",
    "text_metrics": "metrics.measure",
    "ValidationMetrics": "validation",
}
__all__ = [
    "Decoding",
    "Estimate",
    "Evaluation",
    "Metric",
    "TextMetrics",
    "ValidationMetrics",
    "bootstrap_mean",
    "evaluate",
    "generate",
    "generate_remote",
    "load_reward",
    "text_metrics",
    "win_tie_loss",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
