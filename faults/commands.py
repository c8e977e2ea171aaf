"""Small commands of the verbs that write, and what they must have written in the end."""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.processes import Child
from valuefree.cli.main import main as valuefree

OUT = "OUT"  # in the arguments: the folder that a try writes into
FUNCTION = "faults.commands:length"
# Files with clocks, paths, free memory, or answers in the order in which they came: only their presence counts.
UNLIKE = (
    *("manifest.json", "files.txt", "README.md", "recipe.yaml", "training_args.bin"),
    *("judgements.jsonl", "report.html", "report.md", "judge.md", "exact.md"),
)
PASSING = (
    ".lock",
    ".lock-holder",
    "*.lock",
    "*.tmp",
)  # of a process; a killed one leaves them behind, and none is read
CLOCKS = ("_per_second", "peak_memory_gb", "train_runtime", "seconds", "time", "commit", "asked")


def length(prompts: Sequence[Any], responses: Sequence[str]) -> list[float]:
    """A reward function: characters of the response."""
    return [float(len(response)) for response in responses]


@dataclass(frozen=True)
class Command:
    """A command line, by name.

    again: what continues it after a fault. given: a folder of a run that it changes, copied into OUT. main: its entry
    point.
    """

    name: str
    arguments: tuple[str, ...]
    again: tuple[str, ...] = ()
    given: Path | None = None
    main: Callable[[], None] = valuefree

    def prepare(self, out: Path) -> None:
        """Make the folder that it writes into."""
        out.mkdir(exist_ok=True)
        if self.given is not None:
            shutil.copytree(self.given, out / self.given.name)

    def start(self, out: Path, log: Path, *more: str, before: Callable[[], None] | None = None) -> Child:
        """Start it in a process of its own, writing into `out`."""
        arguments = [argument.replace(OUT, str(out)) for argument in (*self.arguments, *more)]
        return Child(arguments, log, main=self.main, before=before)


def written(out: Path) -> dict[str, Any]:
    """What a command has written, by file: content without clocks, or a hash; checkpoints and caches are no results."""
    files = sorted(path for path in out.rglob("*") if path.is_file() and not {*path.parts} & {"checkpoints", "scores"})
    return {
        file.relative_to(out).as_posix(): None if any(file.match(name) for name in UNLIKE) else _content(file)
        for file in files
        if not any(file.match(name) for name in PASSING)
    }


def _content(file: Path) -> Any:
    if file.suffix == ".json":
        return _without_clocks(json.loads(file.read_bytes()))
    if file.suffix == ".jsonl":
        return [_without_clocks(json.loads(line)) for line in file.read_bytes().splitlines()]
    if file.suffix == ".csv":
        with file.open(newline="", encoding="utf-8") as stream:
            return [_without_clocks(row) for row in csv.DictReader(stream)]
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _without_clocks(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_clocks(value) for name, value in content.items() if not name.endswith(CLOCKS)}
    return [_without_clocks(value) for value in content] if isinstance(content, list) else content
