"""SIGKILL at a random moment of a command other than `train`; then the same command finishes its work."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from faults.commands import Command, written
from faults.outcome import HANG, IDENTICAL, OTHER, TRACEBACK, Outcome
from faults.processes import last_line, unexpected
from faults.table import commands

KIND = "verbs"
TRIES = 54
SHORTER = 0.8  # the time of a command, where a kill came after its end
WRITE_SECONDS = 0.01
# Of the commands that are killed, in turn: `judge` twice as often, because what it lost would have been paid for.
NAMES = (
    *("judge", "generate --server", "evaluate (policy)", "study", "sample"),
    *("judge", "evaluate (rows)", "strength", "train (reward model)"),
)


def tries(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Half of the kills at a random moment, half just after something was written; repeat, compare."""
    draw = random.Random(seed)
    with commands(folder) as table:
        known: dict[str, tuple[dict, float]] = {}
        for attempt in range(number):
            command = table[NAMES[attempt % len(NAMES)]]
            if command.name not in known:
                known[command.name] = undisturbed(command, folder / f"whole-{len(known)}")
            expected, seconds = known[command.name]
            out, killed = folder / f"kill-{attempt}", False
            writing = attempt // len(NAMES) % 2
            while not killed:  # the process may have ended before
                out = out.with_name(f"{out.name}-")
                command.prepare(out)
                process = command.start(out, out.with_suffix(".log"))
                if writing:
                    process.await_times(_Changes(out), draw.randrange(1, 5))
                time.sleep(draw.uniform(0, WRITE_SECONDS if writing else seconds))
                killed = process.running()
                process.kill()
                seconds *= 1 if killed else SHORTER
            known[command.name] = expected, seconds
            moment = "just after a write" if writing else "at a random moment"
            yield _repeat(command, out, expected, f"{command.name}: SIGKILL {moment}")


def undisturbed(command: Command, out: Path) -> tuple[dict, float]:
    """What a command writes, and its time in seconds."""
    command.prepare(out)
    start = time.monotonic()
    code, said = command.start(out, out.with_suffix(".log")).finish()
    if code:
        raise RuntimeError(f"{command.name} failed without a fault: {said[-2000:]}")
    return written(out), time.monotonic() - start


class _Changes:
    """Whether the files of a folder have changed since the last call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = self._files()

    def __call__(self) -> bool:
        before, self.before = self.before, self._files()
        return before != self.before

    def _files(self) -> dict[str, tuple[int, int]]:
        found = {}
        for parent, _, names in os.walk(self.folder):
            for path in (Path(parent, name) for name in names):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    found[str(path)] = status.st_mtime_ns, status.st_size
        return found


def repeat(command: Command, out: Path) -> tuple[int | None, str]:
    """The same command once more: as it continues, and with --overwrite or --resume where its message asks for it."""
    log = out.with_suffix(".log")
    code, said = command.start(out, log, *command.again).finish()
    for option in ("--resume", "--overwrite"):
        if code == 2 and option in said and not unexpected(said):
            code, said = command.start(out, log, option).finish()
    return code, said


def _repeat(command: Command, out: Path, expected: dict, fault: str) -> Outcome:
    found = f"left by the kill: {len(written(out))} of {len(expected)} files"
    code, said = repeat(command, out)
    if code is None:
        return Outcome(KIND, fault, HANG, found)
    if code or unexpected(said):
        return Outcome(KIND, fault, TRACEBACK, f"{found}; {last_line(said)}")
    unlike = differences(expected, written(out))
    return Outcome(KIND, fault, OTHER if unlike else IDENTICAL, f"{found}{unlike}")


def differences(expected: dict, found: dict) -> str:
    """Names of the files that differ, in words; empty where none does."""
    names = [name for name in {**expected, **found} if expected.get(name, "none") != found.get(name, "none")]
    return f"; differs: {', '.join(names)}" if names else ""
