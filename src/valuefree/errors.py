"""The exceptions of valuefree.

::

    ValueFreeError
    ├── ConfigError   (ValueError)    an invalid setting, or settings that contradict each other
    ├── DataError     (ValueError)    unusable input rows; lists them
    ├── ScoringError  (RuntimeError)  reference scores that are missing or not finite
    ├── ServingError  (RuntimeError)  prompts without an answer from a model server
    ├── DivergenceError (RuntimeError) losses, gradients or weights that are not finite
    └── JudgeError    (RuntimeError)  a judge that cannot be called, or unusable answers

Each is also the standard type in parentheses, so ``except ValueError`` keeps working.
"""


class ValueFreeError(Exception):
    """Base class of all exceptions of this package."""


class ConfigError(ValueFreeError, ValueError):
    """An invalid setting, or settings that contradict each other."""


class DataError(ValueFreeError, ValueError):
    """Unusable input. `faults` lists the faults, `count` is their number."""

    def __init__(self, message: str, *, faults: tuple[str, ...] = (), count: int | None = None):
        super().__init__(message)
        self.faults = faults
        self.count = len(faults) if count is None else count

    SHOWN = 20

    @classmethod
    def from_faults(cls, heading: str, faults: list[str], advice: str) -> "DataError":
        """One error for many faults: the heading, the first 20 faults, the number of others, and advice."""
        shown = [f"  {fault}" for fault in faults[: cls.SHOWN]]
        if len(faults) > cls.SHOWN:
            shown.append(f"  … and {len(faults) - cls.SHOWN} more")
        return cls("\n".join([heading, *shown, advice]), faults=tuple(faults), count=len(faults))


class ScoringError(ValueFreeError, RuntimeError):
    """Reference scores that are missing or not finite."""


class ServingError(ValueFreeError, RuntimeError):
    """Prompts without an answer from a model server; the answers to other prompts are kept."""


class DivergenceError(ValueFreeError, RuntimeError):
    """Training that cannot go on: losses, gradients or weights are not finite."""


class JudgeError(ValueFreeError, RuntimeError):
    """A judge that cannot be called, or whose answers are unusable."""


def number_of(count: int, noun: str) -> str:
    """``1 row``, ``2 rows``: for messages."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
