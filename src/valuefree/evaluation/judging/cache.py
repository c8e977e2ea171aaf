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

from valuefree.errors import DataError, JudgeError
from valuefree.runs.files import json_line

logger = logging.getLogger(__name__)

FORMAT = "valuefree judgements 1"


def call_key(*, judge: str, revision: str, question: str, settings: Mapping[str, Any], order: str) -> str:
    """Hash of everything that an answer depends on."""
    content = json.dumps([judge, revision, question, dict(settings), order], sort_keys=True, ensure_ascii=False)
    return blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class JudgementCache:
    """Append-only JSON lines: a header with the salt of the delimiters, then a row per call, failures among them.

    Every row is flushed as soon as it is written, so a killed run loses no finished call. An incomplete last line is
    removed. A failure never counts as an answer: the next run asks again. As a context manager the cache locks the
    file against other runs.

    Args:
        file: created, with its folder, if it does not exist; None keeps the answers in memory only.
        write: False to read only; nothing is created, changed or locked.

    Raises:
        DataError: the file is not a cache. JudgeError: another run is writing to it.
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
        if cut and self.write:
            logger.warning("%s: its last line was cut while it was written; it is removed", file)
            os.truncate(file, len(whole) + len(newline))
        lines = [line for line in whole.split(b"\n") if line]
        if lines:
            self._take(file, lines)
        if not self.write:
            return
        self._stream = file.open("a", encoding="utf-8")
        if not lines:
            self._write({"format": FORMAT, "salt": self.salt})

    def _take(self, file: Path, lines: list[bytes]) -> None:
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise DataError(
                    f"{file}:{number} is not JSON ({error}); a cache of judgements is not edited."
                ) from error
        header, *rows = rows
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise DataError(f"{file} is not a cache of judgements (expected {FORMAT!r} in its first line).")
        self.salt = header["salt"]
        for row in rows:
            if row["error"] is None:
                self.answers[row["key"]] = row
            else:
                self.failures += 1

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
        self._stream.write(json_line(row))
        self._stream.flush()
