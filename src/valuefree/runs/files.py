"""Files of a run: written whole or not at all, as text, JSON or JSON lines."""

import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

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
    """Write `content` atomically as indented JSON."""
    write_text(file, _encodable(json.dumps(content, indent=2, ensure_ascii=False)) + "\n")


def write_jsonl(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `rows` atomically as JSON lines."""
    with atomic_write(file) as stream:
        stream.writelines(json_line(row).encode("utf-8") for row in rows)


def json_line(row: Mapping[str, Any]) -> str:
    """One line of a JSON lines file, with its line break; halves of surrogate pairs become escapes."""
    return _encodable(json.dumps(row, ensure_ascii=False)) + "\n"


def use_umask(folder: Path) -> None:
    """Give the weights in `folder` the mode of other files: safetensors writes them for their owner alone."""
    mask = os.umask(0o077)
    os.umask(mask)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o666 & ~mask)


def read_json(file: Path) -> Any:
    """The content of a JSON file. Raises OSError or ValueError."""
    return json.loads(file.read_text(encoding="utf-8"))


def read_jsonl(file: Path) -> list[Any]:
    """The content of each line of a JSON lines file. Raises OSError or ValueError."""
    # Not splitlines(): a text may contain U+2028, which does not end a JSON line.
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]


def _encodable(text: str) -> str:
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
