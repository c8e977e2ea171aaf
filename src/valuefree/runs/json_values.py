"""JSON without what has two meanings or cannot be written again: a key twice, deep nesting, very long integers."""

import json
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

LEVELS = 100  # of nesting


class _TwiceError(ValueError):
    """A key that an object has twice."""


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; NaN and ±∞, which Python and other tools write, are floats.

    Raises:
        ValueError: the text is broken, or has a key twice, more than `LEVELS` levels, or an integer of more digits
            than Python reads. The message says which.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except _TwiceError:
        raise
    except json.JSONDecodeError as error:
        raise ValueError(f"broken JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start + 1}") from error
    except RecursionError:
        raise ValueError(f"nested deeper than {LEVELS} levels") from None
    except ValueError as error:  # of int()
        raise ValueError(f"an integer of more than {sys.get_int_max_str_digits()} digits") from error
    brackets = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(text.count(bracket) for bracket in brackets) > LEVELS and _depth(value) > LEVELS:  # type: ignore[arg-type]
        raise ValueError(f"nested deeper than {LEVELS} levels")
    return value


def finite(value: Any) -> Any:
    """`value` with NaN and ±∞, which JSON does not have, replaced by their text."""
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def as_written(value: Any) -> Any:
    """`value` as a JSON file gives it back: tuples as lists, NaN and ±∞ as text."""
    return json.loads(json.dumps(finite(value)))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise _TwiceError(f"a key is given twice: {twice[:60]!r}")
    return found


def _depth(value: Any) -> int:
    """Levels of lists and objects, without recursion."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [child for item in level for child in _children(item)]
    return depth


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value
