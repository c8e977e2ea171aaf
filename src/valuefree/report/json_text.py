"""JSON that any reader takes: no NaN, no infinity, nothing that would end a script element."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

# What could end the element or begin a comment in it; what JavaScript once took for line ends; half surrogate pairs.
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def embedded(value: Any) -> str:
    """`value` as JSON for a ``<script type="application/json">``; parsing it gives the very same texts."""
    text = json.dumps(jsonable(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def indented(value: Any) -> str:
    """`value` as JSON to be read by people."""
    return json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False)


def jsonable(value: Any) -> Any:
    """`value` with numbers that JSON lacks (NaN, ±∞) and objects that it cannot hold as their text."""
    if isinstance(value, Mapping):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    return str(value)
