"""Damages to one input: its bytes, its lines, the values and names in it, or the file itself."""

import csv
import io
import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

PLACE = "@@PLACE@@"
DEEP = 10_000  # levels of nesting
DIGITS = 5_000  # Python reads integers of at most 4,300
VALUES = {  # as they stand in JSON, YAML and, without quotes, in CSV
    "null": "null",
    "true": "true",
    "text": '"text"',
    "an empty text": '""',
    "a list": "[1, 2]",
    "an empty list": "[]",
    "an object": '{"a": 1}',
    "a negative number": "-1",
    "a huge number": "1e308",
    "a number beyond floats": "1e999",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "a long integer": "7" * DIGITS,
    "an integer beyond floats": "7" * 400,
    "nesting": "[" * DEEP + "]" * DEEP,
    "nested objects": '{"a":' * DEEP + "1" + "}" * DEEP,
    "a number with an underscore": '"1_0"',
    "Arabic digits": '"\u0663"',
    "a date": "2024-01-01",
    "a date as text": '"2024-01-01T00:00:00Z"',
    "half of a surrogate pair": '"\\ud800"',
    "a NUL": '"a\\u0000b"',
    "a long text": '"' + "long " * 20_000 + '"',
    "an HTML tag": '"</script><script>alert(1)</script>|`"',
}
BOMB = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9) if n else '0'}]\n" for n in range(9))


def _flip(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 8))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _part(content: bytes, draw: random.Random) -> tuple[int, int]:
    start = draw.randrange(len(content))
    return start, min(len(content), start + draw.randrange(1, 200))


def _doubled(content: bytes, draw: random.Random) -> bytes:
    start, end = _part(content, draw)
    return content[:end] + content[start:]


def _without(content: bytes, draw: random.Random) -> bytes:
    start, end = _part(content, draw)
    return content[:start] + content[end:]


def _swapped(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    first, second = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


def _inserted(piece: bytes) -> Callable[[bytes, random.Random], bytes]:
    def insert(content: bytes, draw: random.Random) -> bytes:
        place = draw.randrange(len(content) + 1)
        return content[:place] + piece + content[place:]

    return insert


def _recoded(encoding: str) -> Callable[[bytes, random.Random], bytes]:
    return lambda content, draw: ("é" + content.decode("utf-8", "replace")).encode(encoding, "replace")


BYTES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bits flipped": _flip,
    "cut short": lambda content, draw: content[: draw.randrange(len(content))],
    "a part doubled": _doubled,
    "a part lost": _without,
    "two lines swapped": _swapped,
    "NUL bytes": _inserted(b"\0\0"),
    "half of a surrogate pair in bytes": _inserted(b"\xed\xa0\x80"),
    "an unclosed quote": _inserted(b'"'),
    "a bracket": _inserted(b"{"),
    "a BOM within": _inserted(b"\xef\xbb\xbf"),
    "UTF-16": _recoded("utf-16"),
    "Latin-1": _recoded("latin-1"),
    "no content": lambda content, draw: b"",
    "line ends alone": lambda content, draw: b"\n\r\n\n",
    "another file's content": lambda content, draw: b"PK\x03\x04" + draw.randbytes(500),
}


def _fifo(file: Path, draw: random.Random) -> None:
    file.unlink()
    os.mkfifo(file)


def _folder(file: Path, draw: random.Random) -> None:
    file.unlink()
    file.mkdir()


WHOLE = {"a FIFO in its place": _fifo, "a folder in its place": _folder}


# ------------------------------------------------------------------------------------------------------------- values


def _spots(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key or index) within a value."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += [(value, key), *_spots(item)]
    return found


def _exchange_json(text: str, draw: random.Random, raw: str) -> str:
    """One value within the JSON text replaced by `raw`."""
    value = json.loads(text)
    spots = _spots(value)
    if not spots or draw.random() < 0.05:
        return raw
    container, key = draw.choice(spots)
    container[key] = PLACE
    return json.dumps(value, ensure_ascii=False).replace(f'"{PLACE}"', raw)


def _rename_json(text: str, draw: random.Random) -> tuple[str, str]:
    """One key within the JSON text lost, renamed or doubled."""
    value = json.loads(text)
    named = [(container, key) for container, key in _spots(value) if isinstance(container, dict)]
    if not named:
        return "a key lost", "{}"
    container, key = draw.choice(named)
    how = draw.choice(("a key lost", "a key renamed", "a key doubled"))
    item = container.pop(key)
    if how == "a key renamed":
        container[f"{key} "] = item
    elif how == "a key doubled":
        container[PLACE] = item
        again = f"{json.dumps(key)}: 0, {json.dumps(key)}"
        return how, json.dumps(value, ensure_ascii=False).replace(f'"{PLACE}"', again)
    return how, json.dumps(value, ensure_ascii=False)


def _damage_json(text: str, draw: random.Random) -> tuple[str, str]:
    if draw.random() < 0.25:
        return _rename_json(text, draw)
    name = draw.choice(list(VALUES))
    return f"{name} in place of a value", _exchange_json(text, draw, VALUES[name])


def damage_json(content: str, draw: random.Random) -> tuple[str, str]:
    """A value or a name of a JSON file."""
    return _damage_json(content, draw)


def damage_lines(content: str, draw: random.Random) -> tuple[str, str]:
    """A value or a name in one, or in all, of the lines of a JSON lines file."""
    lines = [line for line in content.split("\n") if line]
    if draw.random() < 0.2:
        name = draw.choice(list(VALUES))
        key = draw.choice(list(json.loads(lines[-1])) or ["a"])
        rows = [json.dumps({**json.loads(line), key: PLACE}).replace(f'"{PLACE}"', VALUES[name]) for line in lines]
        return f"{name} in place of a value", "\n".join(rows) + "\n"
    place = draw.randrange(len(lines))
    how, lines[place] = _damage_json(lines[place], draw)
    return how, "\n".join(lines) + "\n"


def damage_yaml(content: str, draw: random.Random) -> tuple[str, str]:
    """A value, a key or the whole of a recipe."""
    lines = content.splitlines()
    place = draw.randrange(len(lines))
    kind = draw.randrange(5)
    if kind == 0:
        return "aliases of aliases", BOMB + content
    if kind == 1:
        return "a key doubled", "\n".join([*lines, lines[place]]) + "\n"
    if kind == 2:
        tag = draw.choice(
            ("!!python/object/apply:os.getcwd []", "!!binary =", "*nowhere", "- a: [", "&a [*a]", "\t- x")
        )
        lines[place] = lines[place].split(":")[0] + ": " + tag
        return "a tag, an alias or a sign of YAML", "\n".join(lines) + "\n"
    name = draw.choice(list(VALUES))
    lines[place] = lines[place].split(":")[0] + ": " + VALUES[name]
    return f"{name} in place of a value", "\n".join(lines) + "\n"


def damage_csv(content: str, draw: random.Random) -> tuple[str, str]:
    """A cell, a name or the width of a row."""
    rows = list(csv.reader(io.StringIO(content)))
    place = draw.randrange(len(rows))
    column = draw.randrange(len(rows[0]))
    kind = draw.randrange(5)
    how = "a column doubled"
    if kind == 0:
        rows = [[*row, row[column]] for row in rows]
    elif kind == 1:
        how = "a cell too many or too few"
        rows[place] = draw.choice((rows[place][:-1], [*rows[place], "more"]))
    else:
        name = draw.choice(list(VALUES))
        how, text = f"{name} in place of a value", VALUES[name].strip('"')
        for row in rows[1:] if kind == 2 else [rows[place]]:
            row[column] = text
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    return how, stream.getvalue()


COLUMNS: dict[str, Callable[[int], pa.Array]] = {
    "dates": lambda n: pa.array(range(n), pa.date32()),
    "timestamps out of range": lambda n: pa.array([2**53] * n, pa.timestamp("s", "UTC")),
    "decimals": lambda n: pa.array(range(n), pa.int64()).cast(pa.decimal128(38, 2)),
    "bytes": lambda n: pa.array([b"\xff\xfe"] * n, pa.binary()),
    "nulls": lambda n: pa.nulls(n),
    "lists": lambda n: pa.array([[1.0]] * n),
    "structs": lambda n: pa.array([{"role": "user", "content": 1}] * n),
    "maps": lambda n: pa.array([[("a", 1)]] * n, pa.map_(pa.string(), pa.int64())),
    "durations": lambda n: pa.array([2**53] * n, pa.duration("s")),
    "times": lambda n: pa.array(range(n), pa.time64("ns")),
    "booleans": lambda n: pa.array([True] * n),
    "unsigned integers": lambda n: pa.array([2**64 - 1] * n, pa.uint64()),
    "half floats": lambda n: pa.array([float("inf")] * n, pa.float32()).cast(pa.float16()),
    "NaN": lambda n: pa.array([float("nan")] * n),
    "dictionaries": lambda n: pa.array(["1"] * n).dictionary_encode(),
    "texts that are not UTF-8": lambda n: pa.array([b"\xff"] * n, pa.binary()).view(pa.string()),
}


def damage_parquet(file: Path, draw: random.Random) -> str:
    """A column of another type, twice, or lost."""
    table = pq.read_table(file)
    place = draw.randrange(table.num_columns)
    name = table.column_names[place]
    kind = draw.choice([*COLUMNS, "twice", "lost", "no rows"])
    if kind == "twice":
        table = table.append_column(name, table.column(place))
    elif kind == "lost":
        table = table.remove_column(place)
    elif kind == "no rows":
        table = table.slice(0, 0)
    else:
        table = table.set_column(place, name, COLUMNS[kind](len(table)))
    pq.write_table(table, file)
    return f"a column: {kind}"


def damage(file: Path, draw: random.Random) -> str:
    """Damage the file in its place, in a way that suits its format or in any; says how."""
    if draw.random() < 0.04:
        how = draw.choice(list(WHOLE))
        WHOLE[how](file, draw)
        return how
    formats = {".jsonl": damage_lines, ".json": damage_json, ".yaml": damage_yaml, ".csv": damage_csv}
    if file.suffix == ".parquet" and draw.random() < 0.5:
        return damage_parquet(file, draw)
    if file.suffix in formats and draw.random() < 0.65:
        how, text = formats[file.suffix](file.read_text(encoding="utf-8"), draw)
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        return how
    how = draw.choice(list(BYTES))
    file.write_bytes(BYTES[how](file.read_bytes() or b" ", draw))
    return how


def plain_name(how: str) -> str:
    """The kind of a damage, for tables: the values of one type together."""
    return re.sub(r".* in place of a value$", "another value", how)
