"""Files, written whole or not at all, as text, JSON or JSON lines; and read with the place of what is wrong."""

import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from valuefree.errors import DataError, ValueFreeError
from valuefree.runs.json_values import finite, parse_json

# What code raises that reads a value as what it is not.
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_SURROGATE = re.compile("[\ud800-\udfff]")  # half of a pair, which UTF-8 cannot encode


@contextmanager
def atomic_write(file: Path) -> Iterator[BinaryIO]:
    """A stream of bytes that replaces `file` when it is closed; the folder is created.

    A reader finds the old file or the new one, never a part. After an exception the old file is still there.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        with unfinished.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(file)
    except OSError as error:
        error.filename = error.filename or str(file)  # a full disk names no file
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write `text` atomically as UTF-8."""
    with atomic_write(file) as stream:
        stream.write(text.encode("utf-8"))


def write_json(file: Path, content: Any) -> None:
    """Write `content` atomically as indented JSON; NaN and ±∞ as text."""
    write_text(file, _encodable(_dumped(content, indent=2)) + "\n")


def write_jsonl(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `rows` atomically as JSON lines."""
    with atomic_write(file) as stream:
        stream.writelines(json_line(row).encode("utf-8") for row in rows)


def json_line(row: Mapping[str, Any]) -> str:
    """One line of a JSON lines file, with its line break; halves of surrogate pairs become escapes."""
    return _encodable(_dumped(row, indent=None)) + "\n"


def use_umask(folder: Path) -> None:
    """Give the weights in `folder` the mode of other files: safetensors writes them for their owner alone."""
    mask = os.umask(0o077)
    os.umask(mask)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o666 & ~mask)


def check_regular(file: Path) -> None:
    """Raise DataError for what is no file with an end: a folder, a pipe, a device. A missing file passes."""
    if file.exists() and not file.is_file():
        raise DataError(f"{file} is {'a folder' if file.is_dir() else 'a pipe or a device'}; expected a file.")


def read_text(file: Path) -> str:
    """The content of a text file.

    Raises:
        OSError: there is none, or it may not be read. DataError: a folder or a pipe, or not UTF-8.
    """
    check_regular(file)
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8: {error.reason} at byte {error.start + 1}. Save it as UTF-8.") from error


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: as `read_text`. DataError: as `read_text`, or what `parse_json` refuses.
    """
    text = read_text(file)
    try:
        return parse_json(text)
    except ValueError as error:
        raise DataError(f"{file}: {error}.") from error


def read_object(file: Path) -> dict[str, Any]:
    """The content of a JSON file that holds an object; raises as `read_json`, and DataError for another value."""
    found = read_json(file)
    if not isinstance(found, dict):
        raise DataError(f"{file}: expected a JSON object, got {type(found).__name__}.")
    return found


def read_jsonl(file: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file; raises as `read_json`, with the line."""
    # Not splitlines(): a text may contain U+2028, which does not end a JSON line.
    lines = enumerate(read_text(file).split("\n"), start=1)
    return [json_object(line, f"{file}:{number}") for number, line in lines if line.strip()]


def json_object(line: str | bytes, where: str) -> dict[str, Any]:
    """The object of a JSON text; raises DataError, which names the place `where`."""
    try:
        found = parse_json(line)
    except ValueError as error:
        raise DataError(f"{where}: {error}.") from error
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(found).__name__}.")
    return found


@contextmanager
def expected_form(what: str, advice: str) -> Iterator[None]:
    """Within the block, content of another form than the code reads is a DataError; what: whose content it is."""
    try:
        yield
    except ValueFreeError:
        raise
    except MALFORMED as error:
        reason = f"{type(error).__name__}: {error}"[:300]
        raise DataError(f"{what}: the content does not have the expected form ({reason}). {advice}") from error


def _dumped(content: Any, *, indent: int | None) -> str:
    try:
        return json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(finite(content), indent=indent, ensure_ascii=False, allow_nan=False)


def _encodable(text: str) -> str:
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
