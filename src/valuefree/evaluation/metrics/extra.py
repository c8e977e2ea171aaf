"""Libraries of the extra ``metrics``, loaded on first use. No torch."""

import importlib
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
