"""Check an output before the work: a path that cannot be written is an error at once. Nothing is left behind."""

import os
import tempfile
from pathlib import Path
from typing import Literal

from valuefree.errors import ConfigError

OutputKind = Literal["file", "folder"]
PROBE_BYTES = 65_536  # a full disk may still take a few bytes


def check_output(path: str, kind: OutputKind, *, name: str) -> None:
    """Check that `path` can be written. Folders that are missing are no fault, since they are created.

    Args:
        kind: what the path will be. name: of the option, for the message.

    Raises:
        ConfigError: the path is empty, or of the other kind; a part of it is a file; it cannot be written, or the disk
            is full.
    """
    try:
        fault = _fault(path, kind)
    except OSError as error:
        fault = f"it cannot be written ({error.strerror})"
    if fault is not None:
        raise ConfigError(f"{name} is {path!r}: {fault}. Nothing was done; name another {kind} by {name}, or mend it.")


def _fault(path: str, kind: OutputKind) -> str | None:
    if not path.strip() or "\0" in path:
        return f"a {kind} has no such name"
    target = Path(path)
    if target.exists():
        if kind == "folder" and not target.is_dir():
            return "there is a file of that name, where a folder is needed"
        if kind == "file" and not target.is_file():
            return f"there is {'a folder' if target.is_dir() else 'a device'} of that name, where a file is needed"
        if kind == "file" and not os.access(target, os.W_OK):
            return "the file there is read-only"
    folder = target if kind == "folder" else target.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} is a file, where a folder is needed"
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(PROBE_BYTES))
    return None
