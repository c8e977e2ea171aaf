"""Libraries of the extra ``metrics``, loaded on first use, and names of their models in signatures. No torch."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from valuefree.errors import ConfigError

MAX_LENGTH = 512  # tokens of a text that a model reads


def library(module: str) -> Any:
    """A module of the extra ``metrics``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"{module} is missing ({error}): pip install 'valuefree[metrics]'") from error


def word_tokenizer() -> Callable[[str], list[str]]:
    """From a text to its words and punctuation as sacreBLEU's tokenizer 13a splits them, case kept."""
    split = library("sacrebleu.tokenizers.tokenizer_13a").Tokenizer13a()
    return lambda text: split(text.rstrip()).split()


def longest_input(config: Any, named: int) -> int:
    """Most tokens of a text: the tokenizer's limit, the model's number of positions, or 512, whichever is least."""
    positions = getattr(config, "max_position_embeddings", None) or MAX_LENGTH
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "longformer"):
        positions -= (config.pad_token_id or 0) + 1  # these models number their positions after the padding's
    return min(named, positions, MAX_LENGTH)


def name_of(model: str) -> str:
    """A model in a signature: its hub name, or the last part of its folder, which names nothing of the machine."""
    return Path(model).resolve().name if Path(model).exists() else model
