"""Folders of finished runs: their manifest and their files."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from valuefree.errors import DataError
from valuefree.runs.files import expected_form, read_json, read_jsonl, read_object
from valuefree.runs.manifest import COMPLETIONS, MANIFEST

T = TypeVar("T")
TRAINED = ("train", "demo", "evaluate")
JUDGED = "judge"


@dataclass(frozen=True)
class RunFiles:
    """The files of a finished run. `name` distinguishes the run from others in the report."""

    name: str
    path: Path
    manifest: dict[str, Any]

    @property
    def command(self) -> str:
        """The verb of the command line that made the run."""
        return str(self.manifest["command"])

    @property
    def provenance(self) -> dict[str, Any]:
        """The manifest for a report: of the settings those that differ from their defaults, and nothing that is null.

        Runs of versions that did not record which settings differ show all that are not null.
        """
        settings = self.manifest.get("given") or self.manifest["config"]
        rest = {k: v for k, v in self.manifest.items() if k not in ("command", "config", "given", "defaults")}
        shown = {"command": self.command, "settings that differ from the defaults": settings, **rest}
        return {**_without_null(shown), "all settings": str(self.path / MANIFEST)}

    def read(self, name: str) -> Any:
        """The object in a JSON file.

        Raises:
            DataError: the file is missing or broken.
        """
        return _checked(read_object, self.path / name)

    def has(self, name: str) -> bool:
        """Whether the folder contains the file `name`."""
        return (self.path / name).exists()

    def lines(self, name: str) -> list[Any]:
        """The lines of a JSON lines file; none if there is no such file.

        Raises:
            DataError: the file is broken.
        """
        return _checked(read_jsonl, self.path / name) if self.has(name) else []

    def completions(self) -> list[dict[str, Any]]:
        """Rows of prompt, responses by system, and rewards by system where there are any."""
        return self.lines(COMPLETIONS)


def _without_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_null(item) for name, item in value.items() if item is not None}
    return value


def _checked(read: Callable[[Path], T], file: Path) -> T:
    try:
        return read(file)
    except FileNotFoundError:
        raise DataError(
            f"{file} is missing: the run did not finish, or its folder is incomplete. Run it again."
        ) from None
    except (OSError, DataError) as error:
        raise DataError(f"{file} cannot be read: {error} Run it again.") from error


def as_written(folders: Sequence[Path]) -> AbstractContextManager[None]:
    """Within the block, files of another form than the commands write are a DataError."""
    advice = "One of their files was changed, or was written by another version of valuefree. Run it again."
    return expected_form(", ".join(map(str, folders)), advice)


def open_runs(paths: Sequence[Path]) -> list[RunFiles]:
    """The runs in these folders. The name of each is the shortest end of its path that is unique.

    Raises:
        DataError: a folder without the manifest of a verb that a report can show, or a folder that is named twice.
    """
    resolved = [path.resolve() for path in paths]
    for number, path in enumerate(resolved):
        if path in resolved[:number]:
            raise DataError(f"{paths[number]} is given twice; name each run once.")
    return [RunFiles(_name(end, resolved), path, _manifest(path)) for end, path in zip(resolved, paths, strict=True)]


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
        raise DataError(f"{folder} is not a folder; {looked_for}")
    if not (folder / MANIFEST).exists():
        raise DataError(f"{folder} is not the folder of a run; {looked_for}")
    manifest = _checked(read_json, folder / MANIFEST)
    command = manifest.get("command") if isinstance(manifest, dict) else None
    if command not in (*TRAINED, JUDGED):
        raise DataError(f"{folder / MANIFEST} is of command {command!r}, which has no report; {looked_for}")
    return manifest
