"""Two runs with unlike settings in one folder, started within a second of each other."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

from faults.outcome import HANG, OTHER, REFUSED, TRACEBACK, Outcome
from faults.processes import last_line, unexpected
from faults.training import result_of, subjects

KIND = "folders"
TRIES = 6


def tries(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """One of the two must be refused, and the folder must hold the result of the other alone."""
    draw = random.Random(seed)
    subject = subjects(folder)[1]
    alone = []
    for place, rate in enumerate(("0.001", "0.01")):
        subject.start(folder / f"alone-{place}", "--lr", rate).finish()
        alone.append(result_of(folder / f"alone-{place}"))
    for attempt in range(number):
        out = folder / f"two-{attempt}"
        first = subject.start(out, "--lr", "0.001")
        time.sleep(draw.uniform(0, 1))
        second = subject.start(out, "--lr", "0.01")
        ends = [first.finish(), second.finish()]
        codes, fault = [code for code, _ in ends], f"{subject.name}: two runs at once"
        words = "; ".join(last_line(said) for code, said in ends if code)
        if None in codes:
            yield Outcome(KIND, fault, HANG, words)
        elif any(unexpected(said) for _, said in ends):
            yield Outcome(KIND, fault, TRACEBACK, words)
        else:
            right = sorted(codes) == [0, 2] and result_of(out) == alone[codes.index(0)]
            yield Outcome(KIND, fault, REFUSED if right else OTHER, words)
