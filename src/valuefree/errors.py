"""Everything that valuefree raises on purpose.

::

    ValueFreeError
    ├── ConfigError   (ValueError)    a setting that cannot be meant, or that contradicts another
    ├── DataError     (ValueError)    input rows that cannot be used; lists them
    ├── ScoringError  (RuntimeError)  reference scores that are missing or not finite
    ├── ServingError  (RuntimeError)  prompts that a model server left without an answer
    └── JudgeError    (RuntimeError)  a judge that could not be asked

Each is also the standard type that it refines, so ``except ValueError`` keeps working.
"""


class ValueFreeError(Exception):
    """Root of the hierarchy; catch it to catch all that this package raises on purpose."""


class ConfigError(ValueFreeError, ValueError):
    """A setting that cannot be meant, or two that contradict each other."""


class DataError(ValueFreeError, ValueError):
    """Input that cannot be used. `faults` holds what was found, `count` how many in all."""

    def __init__(self, message: str, *, faults: tuple[str, ...] = (), count: int | None = None):
        super().__init__(message)
        self.faults = faults
        self.count = len(faults) if count is None else count

    SHOWN = 20

    @classmethod
    def from_faults(cls, heading: str, faults: list[str], advice: str) -> "DataError":
        """One error for many faults: the heading, the first 20, how many more, and what to do."""
        shown = [f"  {fault}" for fault in faults[: cls.SHOWN]]
        if len(faults) > cls.SHOWN:
            shown.append(f"  … and {len(faults) - cls.SHOWN} more")
        return cls("\n".join([heading, *shown, advice]), faults=tuple(faults), count=len(faults))


class ScoringError(ValueFreeError, RuntimeError):
    """Reference scores that are missing or not finite."""


class ServingError(ValueFreeError, RuntimeError):
    """Prompts that a model server left without an answer; those it answered are kept."""


class JudgeError(ValueFreeError, RuntimeError):
    """A judge that could not be asked, or whose answers cannot be used."""


def number_of(count: int, noun: str) -> str:
    """``1 row``, ``2 rows``: for messages."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
