"""How an objective declares a field: its default and its help text, in one place."""

from dataclasses import field
from typing import Any


def knob(
    default: Any,
    text: str,
    *,
    otherwise: Any = None,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
) -> Any:
    """A field of an objective's dataclass.

    The command line, the recipe schema and the docs read these calls from the source, without importing it, so all
    arguments are literals, or constants of the same file.

    Args:
        default: of the field. text: what the field means, and in which unit. otherwise: the value that None stands
            for, or a text that says what does; given where the default is None. minimum, above, maximum: bounds of a
            number, which the command line, recipes and their schema check.
    """
    bounds = {"minimum": minimum, "above": above, "maximum": maximum}
    return field(default=default, metadata={"help": text, "otherwise": otherwise} | bounds)
