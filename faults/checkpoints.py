"""Files of checkpoints that are flipped, cut, emptied, lost or exchanged; then the run is resumed."""

import logging
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from faults.outcome import IDENTICAL, OTHER, REFUSED, SILENT, TRACEBACK, Outcome
from faults.training import Subject, result_of, subjects
from valuefree.cli.main import run as command
from valuefree.errors import ValueFreeError
from valuefree.runs.checkpoints import checkpoints_in

KIND = "checkpoints"
TRIES = 100
ALL_DAMAGED = 1 / 4  # share of the tries in which no checkpoint stays whole


def _flip(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def _cut(file: Path, draw: random.Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: draw.randrange(len(content))])


def _lose(file: Path, draw: random.Random) -> None:
    file.unlink()


def _exchange(file: Path, draw: random.Random) -> None:
    """Put another file of the same checkpoint in its place."""
    others = [path for path in sorted(file.parent.iterdir()) if path.read_bytes() != file.read_bytes()]
    shutil.copyfile(draw.choice(others), file)


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "one bit flipped": _flip,
    "cut short": _cut,
    "lost": _lose,
    "replaced by another file": _exchange,
}


def tries(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Damage one file of the newest checkpoint, or one file of each, and resume."""
    draw = random.Random(seed)
    known = {}
    for place, subject in enumerate(subjects(folder)):
        command(subject.command(folder / f"whole-{place}"))
        known[subject] = folder / f"whole-{place}", result_of(folder / f"whole-{place}")
    for attempt in range(number):
        subject = list(known)[attempt % len(known)]
        whole, expected = known[subject]
        out = folder / f"damaged-{attempt}"
        shutil.copytree(whole, out)
        damage = list(DAMAGES)[attempt // len(known) % len(DAMAGES)]
        every = draw.random() < ALL_DAMAGED
        damaged = []
        for checkpoint in checkpoints_in(out / "checkpoints")[: None if every else 1]:
            file = draw.choice(sorted(path for path in checkpoint.iterdir() if path.is_file()))
            DAMAGES[damage](file, draw)
            damaged.append(f"{checkpoint.name}/{file.name}")
        fault = f"{subject.name}: a file {damage}, {'no checkpoint whole' if every else 'an older checkpoint whole'}"
        yield _resume(subject, out, expected, fault, damaged)
        shutil.rmtree(out)


def _resume(subject: Subject, out: Path, expected: tuple, fault: str, damaged: list[str]) -> Outcome:
    said = _Said()
    logging.getLogger("valuefree").addHandler(said)
    words = ", ".join(damaged)
    try:
        command(subject.command(out, "--resume"))
    except ValueFreeError as error:
        said.texts.append(str(error))
        named = all(name.split("/")[0] in str(error) for name in damaged)
        return Outcome(KIND, fault, REFUSED if named else SILENT, words)
    except Exception as error:  # whatever it is, a user would see its traceback
        return Outcome(KIND, fault, TRACEBACK, f"{words}: {type(error).__name__}: {error}")
    finally:
        logging.getLogger("valuefree").removeHandler(said)
    if result_of(out) != expected:
        return Outcome(KIND, fault, OTHER, words)
    named = all(any(name.split("/")[0] in text for text in said.texts) for name in damaged)
    return Outcome(KIND, fault, IDENTICAL if named else SILENT, words)


class _Said(logging.Handler):
    """Keeps the warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
