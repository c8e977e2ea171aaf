"""JSON that every reader accepts: without NaN and infinity, and without text that would end a script element."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

# Characters that end the element or begin a comment; line ends of older JavaScript; halves of surrogate pairs.
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def embedded(value: Any) -> str:
    """`value` as JSON for a ``<script type="application/json">``; parsing it gives the same texts."""
    text = json.dumps(jsonable(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def indented(value: Any) -> str:
    """`value` as indented JSON for readers."""
    return json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False)


def jsonable(value: Any) -> Any:
    """`value` with NaN, ±∞ and objects that JSON does not have replaced by their text."""
    if isinstance(value, Mapping):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    return str(value)
