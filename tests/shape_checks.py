"""The type checker that pytest lays on annotated functions: `--jaxtyping-packages` in pyproject.toml."""

from collections.abc import Iterator
from contextlib import contextmanager

from beartype import BeartypeConf, beartype
from jaxtyping import config

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for pyright


@contextmanager
def unchecked() -> Iterator[None]:
    """Without that checker, as users run the package: for tests of what the package itself says to a wrong argument."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)
