"""Libraries of the extra ``metrics``, loaded on first use, and how its models are called. No torch."""

import importlib
from pathlib import Path
from typing import Any

from valuefree.errors import ConfigError


def library(module: str) -> Any:
    """A module of the extra ``metrics``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"{module} is missing ({error}): pip install 'valuefree[metrics]'") from error


def name_of(model: str) -> str:
    """A model in a signature: its hub name, or the last part of its folder, which says nothing of the machine."""
    return Path(model).resolve().name if Path(model).exists() else model
