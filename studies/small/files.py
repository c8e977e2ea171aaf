"""The old place of `studies.harness.files`."""

from studies.harness.files import write_text

__all__ = ["write_text"]
