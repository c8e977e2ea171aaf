"""SIGKILL at a random moment of a training run, or while it writes; then the same command finishes it."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import valuefree.cli.commands.train  # noqa: F401  imported once, before processes are forked
from faults.outcome import HANG, IDENTICAL, OTHER, TRACEBACK, Outcome
from faults.processes import Child, last_line, unexpected
from faults.training import STEPS, Subject, result_of, subjects
from valuefree.runs.checkpoints import UNFINISHED, newest_whole
from valuefree.runs.run_folder import MANIFEST

KIND = "kills"
TRIES = 60
SHORTER = 0.8  # the time of a run, where a kill came after its end
WRITE_SECONDS = 0.02  # of a checkpoint, at least
MOMENTS = ("random", "random", "random", "random", "checkpoint", "end")  # of the kills, in turn


def tries(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Two thirds of the kills at a random moment, one sixth in a checkpoint write, one sixth after training."""
    draw = random.Random(seed)
    known = {}
    for place, subject in enumerate(subjects(folder)):
        whole = folder / f"whole-{place}"
        start = time.monotonic()
        code, said = subject.start(whole).finish()
        if code:
            raise RuntimeError(f"the undisturbed run failed: {said[-2000:]}")
        known[subject] = result_of(whole), time.monotonic() - start
    for attempt in range(number):
        subject = list(known)[attempt % len(known)]
        expected, seconds = known[subject]
        out = folder / f"kill-{attempt}"
        moment = MOMENTS[attempt // len(known) % len(MOMENTS)]
        landed = None
        while landed is None:  # the process may have ended before
            out = out.with_name(f"{out.name}-")
            landed = _killed(subject.start(out), out, moment, seconds, draw)
            seconds *= 1 if landed else SHORTER
        known[subject] = expected, seconds
        yield _resume(subject, out, expected, f"{subject.name}: SIGKILL {landed}")


def _killed(process: Child, out: Path, moment: str, seconds: float, draw: random.Random) -> str | None:
    """Kill a run, and say where in the run that was; None if the run had ended."""
    if moment == "random":
        time.sleep(draw.uniform(0, seconds))
    elif moment == "checkpoint":
        process.await_times((out / "checkpoints" / UNFINISHED).exists, draw.randrange(1, 6))
        time.sleep(draw.uniform(0, WRITE_SECONDS))
    else:
        process.await_times((out / "checkpoints" / f"checkpoint-{STEPS}").exists, 1)
        time.sleep(draw.uniform(0, seconds / 5))
    if not process.running():
        return None
    process.kill()
    if (out / "model").exists():
        return "while it saved the model or assessed it"
    if (out / "checkpoints" / UNFINISHED).exists():
        return "in a checkpoint write"
    if (out / "metrics.jsonl").exists():
        return "in training"
    return "before step 1" if (out / MANIFEST).exists() else "while it started or scored"


def _resume(subject: Subject, out: Path, expected: tuple, fault: str) -> Outcome:
    whole, faults = newest_whole(out / "checkpoints")
    found = f"found: {whole.name if whole else 'no checkpoint'}, {len(faults)} damaged"
    found += ", and one unfinished" if (out / "checkpoints" / UNFINISHED).exists() else ""
    # Without a checkpoint there is nothing to resume, and the run begins anew.
    code, said = subject.start(out, "--overwrite" if whole is None else "--resume").finish()
    if code is None:
        return Outcome(KIND, fault, HANG, found)
    if unexpected(said) or code:
        return Outcome(KIND, fault, TRACEBACK, f"{found}; {last_line(said)}")
    return Outcome(KIND, fault, IDENTICAL if result_of(out) == expected else OTHER, found)
