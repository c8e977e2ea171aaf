"""SIGKILL at a random moment of a command other than `train`; then the same command finishes its work."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

from faults.commands import Command, written
from faults.outcome import HANG, IDENTICAL, OTHER, TRACEBACK, Outcome
from faults.processes import Child, last_line
from faults.table import commands

KIND = "verbs"
TRIES = 54
# Of the commands that are killed, in turn: `judge` twice as often, because what it lost would have been paid for.
NAMES = (
    *("judge", "generate --server", "evaluate (policy)", "study", "sample"),
    *("judge", "evaluate (rows)", "strength", "train (reward model)"),
)


def tries(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Kill, repeat, compare with the undisturbed command."""
    draw = random.Random(seed)
    with commands(folder) as table:
        known: dict[str, tuple[dict, float]] = {}
        for attempt in range(number):
            command = table[NAMES[attempt % len(NAMES)]]
            if command.name not in known:
                known[command.name] = undisturbed(command, folder / f"whole-{len(known)}")
            expected, seconds = known[command.name]
            out, killed = folder / f"kill-{attempt}", False
            while not killed:  # the process may have ended before
                out = out.with_name(f"{out.name}-")
                command.prepare(out)
                killed = _kill(command.start(out, out.with_suffix(".log")), draw.uniform(0, seconds))
            yield _repeat(command, out, expected)


def undisturbed(command: Command, out: Path) -> tuple[dict, float]:
    """What a command writes, and its time in seconds."""
    command.prepare(out)
    start = time.monotonic()
    code, said = command.start(out, out.with_suffix(".log")).finish()
    if code:
        raise RuntimeError(f"{command.name} failed without a fault: {said[-2000:]}")
    return written(out), time.monotonic() - start


def _kill(process: Child, seconds: float) -> bool:
    """Kill a process after so many seconds; False if it had ended."""
    time.sleep(seconds)
    running = process.running()
    process.kill()
    return running


def repeat(command: Command, out: Path) -> tuple[int | None, str]:
    """The same command once more: as it continues, and with --overwrite or --resume where its message asks for it."""
    log = out.with_suffix(".log")
    code, said = command.start(out, log, *command.again).finish()
    for option in ("--resume", "--overwrite"):
        if code == 2 and option in said and "Traceback" not in said:
            code, said = command.start(out, log, option).finish()
    return code, said


def _repeat(command: Command, out: Path, expected: dict) -> Outcome:
    fault, found = f"{command.name}: SIGKILL", f"found: {', '.join(written(out)) or 'nothing'}"
    code, said = repeat(command, out)
    if code is None:
        return Outcome(KIND, fault, HANG, found)
    if code or "Traceback" in said:
        return Outcome(KIND, fault, TRACEBACK, f"{found}; {last_line(said)}")
    now = written(out)
    unlike = [name for name in {**expected, **now} if expected.get(name) != now.get(name)]
    ended = OTHER if unlike else IDENTICAL
    return Outcome(KIND, fault, ended, f"{found}; differs: {', '.join(unlike)}" if unlike else found)
