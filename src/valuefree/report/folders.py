"""The folders that runs leave: which kind one is, and what stands in it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from valuefree.errors import DataError
from valuefree.runs.manifest import COMPLETIONS

T = TypeVar("T")
TRAINED = ("train", "demo", "evaluate")
JUDGED = "judge"


@dataclass(frozen=True)
class RunFiles:
    """A folder with its manifest, and a name by which its run is known among others."""

    name: str
    path: Path
    manifest: dict[str, Any]

    @property
    def command(self) -> str:
        """The verb that made it."""
        return str(self.manifest["command"])

    def read(self, name: str) -> Any:
        """What a JSON file of the folder holds.

        Raises:
            DataError: it is missing or broken.
        """
        return _parsed(self.path / name, json.loads)

    def has(self, name: str) -> bool:
        """Whether it holds a file of that name."""
        return (self.path / name).exists()

    def lines(self, name: str) -> list[Any]:
        """What the lines of a JSON lines file hold; none if there is no such file.

        Raises:
            DataError: it is broken.
        """
        if not self.has(name):
            return []
        # Not splitlines(): a text may hold U+2028, which ends no line of JSON lines.
        return _parsed(self.path / name, lambda text: [json.loads(line) for line in text.split("\n") if line.strip()])

    def completions(self) -> list[dict[str, Any]]:
        """Rows of prompt, responses by system, and rewards by system where there are any."""
        return self.lines(COMPLETIONS)


def _parsed(file: Path, parse: Callable[[str], T]) -> T:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file} is missing: the run did not end, or its folder is not whole. Run it again.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}. Run it again.") from error


def open_runs(paths: Sequence[Path]) -> list[RunFiles]:
    """The folders with their manifests, each by a name of its own: the shortest end of its path that is unique.

    Raises:
        DataError: a folder without a manifest of a verb that a report can show, or given twice.
    """
    resolved = [path.resolve() for path in paths]
    for number, path in enumerate(resolved):
        if path in resolved[:number]:
            raise DataError(f"{paths[number]} is given twice; name each run once.")
    return [
        RunFiles(_name(path, resolved), given, _manifest(given)) for path, given in zip(resolved, paths, strict=True)
    ]


def _name(path: Path, among: Sequence[Path]) -> str:
    length = 1
    while sum(other.parts[-length:] == path.parts[-length:] for other in among) > 1:
        length += 1
    return "/".join(path.parts[-length:])


def _manifest(folder: Path) -> dict[str, Any]:
    looked_for = (
        "looked for manifest.json of valuefree train, demo, evaluate or judge, or study.json of a study. Name the "
        "folder that --out named."
    )
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; {looked_for}")
    if not (folder / "manifest.json").exists():
        raise DataError(f"{folder} is not a run's: {looked_for}")
    found = _parsed(folder / "manifest.json", json.loads)
    command = found.get("command") if isinstance(found, dict) else None
    if command not in (*TRAINED, JUDGED):
        raise DataError(f"{folder}/manifest.json is of command {command!r}, of which there is no report; {looked_for}")
    return found
