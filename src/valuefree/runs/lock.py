"""One command at a time writes into a folder; the others are told which one."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from valuefree.errors import ConfigError, ValueFreeError
from valuefree.runs.files import write_text

LOCK = ".lock"  # held by the operating system, which releases it when the process ends, however that is
HOLDER = ".lock-holder"  # the process, in words


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Hold the folder, which is created; what the lock brings, and folders that stay empty, are removed at the end.

    Raises:
        ConfigError: another process holds it. ValueFreeError: it was deleted in the meantime.
    """
    folder = Path(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / LOCK), folder / HOLDER
    try:
        lock.acquire(timeout=0)
    except Timeout:
        by = holder.read_text(encoding="utf-8") if holder.exists() else "another process"
        raise ConfigError(
            f"{folder} is being written by {by}. Wait until it has ended, or name another folder."
        ) from None
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_text(holder, f"process {os.getpid()} on {platform.node()}, since {now}")
        yield
        if not (folder / LOCK).exists():
            raise ValueFreeError(
                f"{folder} was deleted while the command wrote into it, so what is there now is incomplete. Remove it, "
                "and run the command again."
            )
    finally:
        holder.unlink(missing_ok=True)
        (folder / LOCK).unlink(missing_ok=True)  # while it is held; filelock notices an unlinked file
        lock.release()
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
