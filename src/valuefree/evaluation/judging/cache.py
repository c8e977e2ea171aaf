"""The cache of judges' answers, one JSON line per call, so that no question is asked or paid for twice."""

import json
import logging
import os
import secrets
import threading
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from valuefree.errors import DataError, JudgeError, number_of
from valuefree.runs.files import json_line

logger = logging.getLogger(__name__)

FORMATS = ("valuefree judgements 1", "valuefree judgements 2")  # the first has no checksums; its answers are used
START = b'{"format": "valuefree judgements '  # of every cache
SHOWN = 5


def call_key(*, judge: str, revision: str, question: str, settings: Mapping[str, Any], order: str) -> str:
    """Hash of everything that an answer depends on."""
    content = json.dumps([judge, revision, question, dict(settings), order], sort_keys=True, ensure_ascii=False)
    return blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def checksum(row: Mapping[str, Any]) -> str:
    """Hash of a row, without its checksum."""
    content = {name: value for name, value in row.items() if name != "checksum"}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _recognise(file: Path) -> None:
    """Raise DataError unless the file is a cache of judgements, the beginning of one, empty, or not there."""
    if not file.exists():
        return
    if not file.is_file():
        raise DataError(f"{file} is no file; name a file for the cache of judgements.")
    with file.open("rb") as stream:
        start = stream.read(len(START))
    if not START.startswith(start):
        raise DataError(
            f"{file} is not a cache of judgements, and is left as it is. Name a new file, or a cache, by --cache."
        )


def _intact(line: bytes, *, required: bool) -> dict[str, Any] | None:
    """The row of a line; None if it is damaged. required: a row without a checksum is damaged."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    return row if row.get("checksum", None if required else checksum(row)) == checksum(row) else None


class JudgementCache:
    """Append-only JSON lines: a header with the salt of the delimiters, then a row per call, failures among them.

    Every row is flushed as soon as it is written, so a killed run loses no finished call. An incomplete last line is
    removed. A row whose checksum does not hold is named in a warning and gives no answer: the next run asks again, as
    after a failure. A file of another kind is left as it is. As a context manager the cache locks the file against
    other runs.

    Args:
        file: created, with its folder, if it does not exist; None keeps the answers in memory only.
        write: False to read only; nothing is created, changed or locked.

    Raises:
        DataError: the file is not a cache, or its header is damaged. JudgeError: another run is writing to it.
    """

    def __init__(self, file: str | os.PathLike | None = None, *, write: bool = True):
        self.file = Path(file) if file is not None else None
        self.write = write
        self.answers: dict[str, dict[str, Any]] = {}
        self.failures = 0
        self.salt = secrets.token_hex(8)
        self._writing = threading.Lock()
        self._stream: Any = None
        self._lock: FileLock | None = None

    def __enter__(self) -> "JudgementCache":
        if self.file is None:
            return self
        _recognise(self.file)  # before anything is created or cut
        if not self.write:
            self._read(self.file)
            return self
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{self.file}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise JudgeError(f"another run is writing to {self.file}; wait for it, or use another cache.") from None
        try:
            self._read(self.file)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _read(self, file: Path) -> None:
        content = file.read_bytes() if file.exists() else b""
        whole, newline, cut = content.rpartition(b"\n")
        if whole:
            self._take(file, whole.split(b"\n"))
        if not self.write:
            return
        if cut:
            logger.warning("%s: its last line was cut while it was written; it is removed", file)
            os.truncate(file, len(whole) + len(newline))
        self._stream = file.open("a", encoding="utf-8")
        if not whole:
            self._write({"format": FORMATS[-1], "salt": self.salt})

    def _take(self, file: Path, lines: list[bytes]) -> None:
        header = _intact(lines[0], required=not lines[0].startswith(START + b'1"'))
        if header is None or header.get("format") not in FORMATS or not isinstance(header.get("salt"), str):
            raise DataError(
                f"{file}: the first line is damaged, which every question depends on. Move the file away to ask anew."
            )
        self.salt = header["salt"]
        damaged = []
        for number, line in enumerate(lines[1:], start=2):
            row = _intact(line, required=header["format"] == FORMATS[-1])
            if row is None or not isinstance(row.get("key"), str) or "error" not in row:
                damaged.append(number)
            elif row["error"] is None:
                self.answers[row["key"]] = row
            else:
                self.failures += 1
        if damaged:
            shown = f"{', '.join(map(str, damaged[:SHOWN]))}{' …' if len(damaged) > SHOWN else ''}"
            logger.warning(
                "%s: %s damaged (line %s); not used, and asked again", file, number_of(len(damaged), "row"), shown
            )

    def add(self, row: Mapping[str, Any]) -> None:
        """Write the row of a call, from any thread: ``key``, ``error`` (None if answered), and the reply."""
        with self._writing:
            if row["error"] is None:
                self.answers[row["key"]] = dict(row)
            else:
                self.failures += 1
            if self._stream is not None:
                self._write(row)

    def _write(self, row: Mapping[str, Any]) -> None:
        self._stream.write(json_line({**row, "checksum": checksum(row)}))
        self._stream.flush()
