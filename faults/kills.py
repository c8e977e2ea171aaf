"""SIGKILL at a random moment of a training run, or while it writes a checkpoint; then the same command resumes it."""

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from faults.outcome import HANG, IDENTICAL, OTHER, TRACEBACK, Outcome
from faults.training import TIME_LIMIT, Subject, finish, last_line, result_of, subjects
from valuefree.runs.checkpoints import UNFINISHED, newest_whole

KIND = "kills"
TRIES = 50
SECONDS = 2.0  # after the first log line; training takes about one


def tries(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Half of the kills at a random moment after the first log line, half in a checkpoint write."""
    draw = random.Random(seed)
    known = {}
    for subject in subjects(folder):
        whole = folder / f"whole-{len(known)}"
        code, said = finish(subject.start(whole))
        if code:
            raise RuntimeError(f"the undisturbed run failed: {said[-2000:]}")
        known[subject] = result_of(whole)
    for attempt in range(number):
        subject = list(known)[attempt % len(known)]
        expected = known[subject]
        out = folder / f"kill-{attempt}"
        process = subject.start(out)
        if attempt // len(known) % 2:
            where = "in a checkpoint write"
            _await(process, out / "checkpoints" / UNFINISHED, at_least=draw.randrange(1, 5))
            time.sleep(draw.uniform(0, 0.02))
        else:
            where = "at a random moment"
            _await(process, out / "metrics.jsonl", at_least=1)
            time.sleep(draw.uniform(0, SECONDS))
        process.kill()
        process.communicate()
        yield _resume(subject, out, expected, f"{subject.name}: SIGKILL {where}")


def _await(process: subprocess.Popen[str], path: Path, *, at_least: int) -> None:
    """Return when `path` has appeared for the given time, or the process or the time limit has ended."""
    end, seen, there = time.monotonic() + TIME_LIMIT, 0, False
    while process.poll() is None and time.monotonic() < end:
        before, there = there, path.exists()
        seen += there and not before
        if seen >= at_least:
            return
        time.sleep(0.0005)


def _resume(subject: Subject, out: Path, expected: tuple, fault: str) -> Outcome:
    whole, faults = newest_whole(out / "checkpoints")
    partial = (out / "checkpoints" / UNFINISHED).exists()
    found = f"found: {whole.name if whole else 'no checkpoint'}, {len(faults)} damaged"
    found += ", and one unfinished" if partial else ""
    if whole is None:  # nothing to resume: begin anew
        code, said = finish(subject.start(out, "--overwrite"))
    else:
        code, said = finish(subject.start(out, "--resume"))
    if code is None:
        return Outcome(KIND, fault, HANG, found)
    if "Traceback" in said or code:
        return Outcome(KIND, fault, TRACEBACK, f"{found}; {last_line(said)}")
    return Outcome(KIND, fault, IDENTICAL if result_of(out) == expected else OTHER, found)
