"""The world of seconds of the small study."""

from tests.studies.small.conftest import world

__all__ = ["world"]
