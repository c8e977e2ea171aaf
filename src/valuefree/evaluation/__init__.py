"""⑥ Evaluation: generate, reward, compare. Names are loaded on first use, so that `stats` needs no torch."""

from importlib import import_module
from typing import Any

_HOME = {
    "Decoding": "generation",
    "generate": "generation",
    "Evaluation": "rewards",
    "evaluate": "rewards",
    "load_reward": "rewards",
    "Estimate": "stats",
    "bootstrap_mean": "stats",
    "win_tie_loss": "stats",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
