"""A disk that is full, read-only, or loses the folder in mid-run, for every verb that writes; then a retry.

Needs the right to mount: root, or ``unshare --map-root-user --mount python -m faults --only disks``.
"""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faults.commands import Command, written
from faults.outcome import HANG, IDENTICAL, MENDED, OTHER, SILENT, TRACEBACK, Outcome
from faults.processes import last_line, unexpected
from faults.table import commands
from faults.verbs import differences, repeat, undisturbed

KIND = "disks"
TRIES = 150
PAGE = 4096  # bytes; the least that a file takes
LARGE = "1g"
SHARE = 0.8  # of what a command writes, the most that the full disk has room for
PRINTING = (("schema",), ("completion", "bash"), ("--help",))  # verbs that write to standard output alone


def tries(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Each command under each fault, in turn."""
    draw = random.Random(seed)
    with commands(folder) as table:
        table.pop("study")
        cases = [(command, fault) for fault in FAULTS for command in table.values()]
        cases = [(command, fault) for command, fault in cases if fault is not a_file_there or command.given is None]
        known: dict[str, tuple[dict, float, int]] = {}
        for attempt in range(number):
            if attempt % (len(cases) + len(PRINTING)) >= len(cases):
                yield _printing(PRINTING[attempt % (len(cases) + len(PRINTING)) - len(cases)], folder)
                continue
            command, fault = cases[attempt % (len(cases) + len(PRINTING))]
            if command.name not in known:
                whole = folder / f"whole-{len(known)}"
                expected, seconds = undisturbed(command, whole)
                known[command.name] = expected, seconds, _pages(whole) - _pages(command.given)
            out = folder / f"disk-{attempt}"
            yield fault(command, out, *known[command.name], draw)
            shutil.rmtree(out, ignore_errors=True)


def full(command: Command, out: Path, expected: dict, seconds: float, pages: int, draw: random.Random) -> Outcome:
    """Room for a part of what the command writes."""
    with _disk(out) as remount:
        command.prepare(out)
        (out / "filler.tmp").write_bytes(bytes(PAGE))  # a size of 0 pages would be no limit
        room = PAGE * int(draw.uniform(0, SHARE) * pages)
        while not _shrink(out, room):  # tmpfs may refuse a size close to what is in use
            room += PAGE
        code, said = command.start(out, out.with_suffix(".log")).finish()
        return _after(command, out, expected, "disk full", code, said, lambda: remount(f"size={LARGE}"))


def read_only(command: Command, out: Path, expected: dict, seconds: float, pages: int, draw: random.Random) -> Outcome:
    """No writing at all."""
    with _disk(out) as remount:
        command.prepare(out)
        remount("ro")
        code, said = command.start(out, out.with_suffix(".log")).finish()
        return _after(command, out, expected, "disk read-only", code, said, lambda: remount("rw"))


def a_file_there(
    command: Command, out: Path, expected: dict, seconds: float, pages: int, draw: random.Random
) -> Outcome:
    """A file has the name of the folder."""
    out.write_text("a file", encoding="utf-8")
    code, said = command.start(out, out.with_suffix(".log")).finish()
    return _after(command, out, expected, "a file in place of the folder", code, said, out.unlink)


def deleted(command: Command, out: Path, expected: dict, seconds: float, pages: int, draw: random.Random) -> Outcome:
    """The folder is deleted while the command runs; once more where its work was done by then."""
    done = True
    while done:
        done = False
        shutil.rmtree(out, ignore_errors=True)
        command.prepare(out)
        process = command.start(out, out.with_suffix(".log"))
        time.sleep(draw.uniform(0, seconds))
        with suppress(ValueError, OSError):  # a line that is being written
            done = bool(expected) and written(out) == expected
        shutil.rmtree(out, ignore_errors=True)
        code, said = process.finish()

    def mend() -> None:
        shutil.rmtree(out, ignore_errors=True)
        command.prepare(out)

    return _after(command, out, expected, "folder deleted in mid-run", code, said, mend)


FAULTS = (full, read_only, a_file_there, deleted)


def _after(
    command: Command, out: Path, expected: dict, what: str, code: int | None, said: str, mend: Callable[[], None]
) -> Outcome:
    """How the command ended, and whether the same command succeeds once the fault is mended."""
    fault, words = f"{command.name}: {what}", last_line(said)
    if code is None:
        return Outcome(KIND, fault, HANG, words)
    if unexpected(said):
        return Outcome(KIND, fault, TRACEBACK, words)
    if code == 0:
        unlike = differences(expected, written(out))
        return Outcome(KIND, fault, SILENT if unlike else IDENTICAL, f"exit code 0{unlike}")
    if not any(line.startswith("valuefree: ") for line in said.splitlines()):
        return Outcome(KIND, fault, SILENT, f"exit code {code}; {words}")
    mend()
    code, again = repeat(command, out)
    if code or unexpected(again):
        ended = HANG if code is None else TRACEBACK if unexpected(again) else OTHER
        return Outcome(KIND, fault, ended, f"{words}; after mending: {last_line(again)}")
    unlike = differences(expected, written(out))
    return Outcome(KIND, fault, OTHER if unlike else MENDED, f"{words}{unlike}")


def _printing(arguments: tuple[str, ...], folder: Path) -> Outcome:
    """Standard output is full."""
    command = Command(f"valuefree {arguments[0]}", arguments)

    def before() -> None:
        with Path("/dev/full").open("wb") as stream:
            os.dup2(stream.fileno(), 1)

    code, said = command.start(folder, folder / "printing.log", before=before).finish()
    return _after(command, folder / "nothing", {}, "standard output full", code, said, lambda: None)


@contextmanager
def _disk(folder: Path) -> Iterator[Callable[[str], None]]:
    """A file system in memory at `folder`; the function changes an option of its mount."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={LARGE}", "tmpfs", folder], check=True)
    try:
        yield lambda option: subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True) and None
    finally:
        subprocess.run(["umount", folder], check=True)


def _shrink(disk: Path, room: int) -> bool:
    """Leave so many free bytes on a disk; False if its file system refuses."""
    status = os.statvfs(disk)
    used = (status.f_blocks - status.f_bfree) * status.f_frsize
    return subprocess.run(["mount", "-o", f"remount,size={used + room}", disk], capture_output=True).returncode == 0


def _pages(folder: Path | None) -> int:
    """Pages that the files of a folder take."""
    files = folder.rglob("*") if folder is not None else ()
    return sum(-(-path.stat().st_size // PAGE) for path in files if path.is_file())
