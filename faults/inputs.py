"""Damaged and hostile inputs of every sort: read by functions, and by whole commands, in forked processes."""

import hashlib
import json
import logging
import multiprocessing
import os
import random
import re
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.good_inputs import Sort, sorts
from faults.mutations import damage
from faults.outcome import ACCEPTED, HANG, IDENTICAL, MEMORY, PARTIAL, REFUSED, TRACEBACK, Outcome
from faults.processes import unexpected
from valuefree.cli.main import exit_with_message, main

KIND = "inputs"
TRIES = 2000
COMMANDS = 1 / 8  # share of the tries that are whole commands
SECONDS = 60
MEMORY_LIMIT = 2**30  # bytes of a process, of which the libraries take about half
ROOM = 3 * 2**30  # bytes of addresses beyond those of the libraries; more is refused by the system
LONG = 20_000  # characters that no message has


@dataclass(frozen=True)
class End:
    """How a process ended. code: exit code, None after the time limit. value: hash of the result. said: of stderr."""

    code: int | None
    value: str
    said: str
    peak: int


def tries(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Damage one file of an input, and read it by a function or a command."""
    draw = random.Random(seed)
    every = sorts()
    for place, sort in enumerate(every):
        good = folder / f"good-{place}"
        good.mkdir()
        _end(_make, (place, good), folder / "made")
        _check_good(sort, place, good, folder)
    for attempt in range(number):
        place = draw.choices(range(len(every)), [sort.share for sort in every])[0]
        way = draw.randrange(len(every[place].commands)) if draw.random() < COMMANDS else None
        yield _try(every[place], place, way, folder, random.Random(f"{seed} {attempt}"))


def _make(place: int, good: Path) -> None:
    sorts()[place].make(good)


def _work(place: int, way: int | None, inputs: Path) -> Any:
    sort, found = sorts()[place], []
    if way is None:
        exit_with_message(lambda: found.append(sort.read(inputs)), name="valuefree")
    else:
        sys.argv = ["valuefree", *sort.commands[way](inputs, inputs.parent / "out")]
        main()
    return found


def _check_good(sort: Sort, place: int, good: Path, folder: Path) -> None:
    """Keep the results of the undamaged input beside it."""
    values = {}
    for way in (None, *range(len(sort.commands))):
        inputs = _fresh(good, folder)
        end = _end(_work, (place, way, inputs), folder / "try")
        if end.code:
            raise RuntimeError(f"{sort.name}: the undamaged input: {end}")
        values[str(way)] = end.value
    good.with_suffix(".json").write_text(json.dumps(values), encoding="utf-8")


def _fresh(good: Path, folder: Path) -> Path:
    shutil.rmtree(folder / "try", ignore_errors=True)
    shutil.copytree(good, folder / "try" / "in")
    return folder / "try" / "in"


def _try(sort: Sort, place: int, way: int | None, folder: Path, draw: random.Random) -> Outcome:
    good = folder / f"good-{place}"
    inputs = _fresh(good, folder)
    file = draw.choice(sort.files(inputs))
    how = damage(file, draw)
    before = _content(inputs)
    end = _end(_work, (place, way, inputs), folder / "try")
    verb = "" if way is None else f", {sort.commands[way](inputs, inputs)[0]}"
    expected = json.loads(good.with_suffix(".json").read_text(encoding="utf-8"))[str(way)]
    ended, words = _judged(end, expected)
    left = list((folder / "try").rglob("*.tmp*"))
    if end.code:
        left += [path for path in (folder / "try").glob("out") if way is not None]
        left += [inputs] if _content(inputs) != before else []
    if left and ended in (REFUSED, ACCEPTED, IDENTICAL):
        ended, words = PARTIAL, f"{', '.join(str(path.relative_to(folder)) for path in left)}: {words}"
    return Outcome(KIND, f"{sort.name}{verb}", ended, f"{file.name}: {how}: {words}")


def _content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path): path.read_bytes() for path in files}


def _judged(end: End, expected: str) -> tuple[str, str]:
    last = [line for line in end.said.splitlines() if line.strip()]
    words = " / ".join(last[-3:])[-600:]
    if end.code is None:
        return HANG, words
    if end.peak > MEMORY_LIMIT:
        return MEMORY, f"{end.peak / 2**20:.0f} MB: {words}"
    if unexpected(end.said) or end.code not in (0, 1, 2) or len(end.said) > LONG:
        return TRACEBACK, f"exit {end.code}: {words}"
    if end.code:
        return (REFUSED if last else TRACEBACK), words
    return (IDENTICAL if end.value == expected else ACCEPTED), ""


# ---------------------------------------------------------------------------------------------------------- processes


def _end(work: Callable[..., Any], arguments: tuple[Any, ...], folder: Path) -> End:
    """Run `work` in a fork of a process that has imported the package, and has run none of its code."""
    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "matplotlib.backends.backend_agg"])
    process = context.Process(target=_child, args=(work, arguments, folder))
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return End(None, "", _text(folder / "stderr"), 0)
    measured = json.loads(_text(folder / "measured") or '{"value": "", "peak": 0}')
    return End(process.exitcode, measured["value"], _text(folder / "stderr"), measured["peak"])


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def _child(work: Callable[..., Any], arguments: tuple[Any, ...], folder: Path) -> None:
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), descriptor)
    addresses = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (addresses + ROOM, addresses + ROOM))
    logging.getLogger("valuefree").setLevel(logging.ERROR)
    code, value = 0, None
    try:
        value = work(*arguments)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.stdout.flush()
        said = re.sub(re.escape(str(folder)), "", _text(folder / "stdout"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        found = hashlib.sha256(f"{value}\n{said}".encode("utf-8", "surrogatepass")).hexdigest()
        (folder / "measured").write_text(json.dumps({"value": found, "peak": peak}), encoding="utf-8")
    sys.exit(code)
