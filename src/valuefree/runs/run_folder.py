"""The output folder of a command. An earlier run in it is an error, or its files are removed on request."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from valuefree.errors import ConfigError
from valuefree.runs.checkpoints import UNFINISHED, checkpoints_in
from valuefree.runs.files import read_json, write_text
from valuefree.runs.manifest import COMPLETIONS, HELD_OUT, MANIFEST, PROMPTS, SELECTION, STRENGTH, launched

FILES = "files.txt"  # paths of the files that a run wrote into LISTED, one per line
LISTED = ("model", "figures", "tiny-t5")  # folders that may also contain the user's files
VERBS = ("train", "demo", "evaluate")  # verbs that write the files of NAMES
BEFORE_STEP_1 = {MANIFEST, HELD_OUT, SELECTION, PROMPTS}  # what a run writes before it trains
NAMES = (
    MANIFEST,
    "metrics.json",
    "metrics.jsonl",
    "metrics.csv",
    "metrics.md",
    COMPLETIONS,
    "predictions.jsonl",
    HELD_OUT,
    SELECTION,
    STRENGTH,
    PROMPTS,
    "report.html",
    "report.md",
    FILES,
)


class RunFolder:
    """A folder for the files of one run.

    The constructor checks the folder before anything is read. `open` removes an earlier run when the new run is ready
    to write, so a command that fails before that leaves the folder unchanged. A run that failed before its first step
    is no earlier run: `open` removes its files.

    Args:
        path: the folder; need not exist.
        overwrite: `open` removes an earlier run.
        resume: an earlier run continues.
        verbs, names: the commands that share the folder, and the files that they write into it.
        hint: another way to keep the earlier run, for the error message.

    Raises:
        ConfigError: the folder contains a run, and neither `overwrite` nor `resume` is given; or it contains files that
            may be the user's own.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        overwrite: bool,
        resume: bool = False,
        verbs: Sequence[str] = VERBS,
        names: Sequence[str] = NAMES,
        hint: str = "",
    ):
        self.path, self.overwrite, self.names = Path(path), overwrite, names
        self._before: dict[Path, int] = {}
        traces = self._traces()
        if set(traces) <= BEFORE_STEP_1 and command_of(self.path) in verbs and not resume:
            self.overwrite = True  # a run that failed before its first step left no result
            return
        if launched()[0] > 0 or not traces or resume:
            return
        held = f"{self.path} holds a run ({', '.join(traces)})"
        if not overwrite:
            raise ConfigError(
                f"{held}, and old and new files would mix. Name another folder by --out, {hint}or pass --overwrite, "
                "which removes what that run wrote."
            )
        command = command_of(self.path)
        if command not in verbs:
            made = f"of valuefree {command}" if command else f"but no {MANIFEST} that says so: they may be your own"
            raise ConfigError(f"{held}, {made}. --overwrite does not remove these files; name another folder by --out.")
        if "model" in traces and not (self.path / FILES).exists():
            raise ConfigError(
                f"{held} without {FILES}, which lists the files of {self.path / 'model'}: that run was killed while it "
                "saved the model, or is of an earlier version. Some of the files may be your own, so --overwrite does "
                "not remove them. Remove the folder model yourself, or name another folder by --out."
            )

    def check_inputs(self, sources: Iterable[str | None]) -> None:
        """Raise ConfigError if `open` would remove a file or folder that the new run reads."""
        removed = [path.resolve() for path in self._written()] if self.overwrite else []
        for source in sources:
            path = Path(source).resolve() if source is not None else None
            if path is not None and any(path == old or old in path.parents or path in old.parents for old in removed):
                raise ConfigError(
                    f"--overwrite would remove {source}, which the new run reads. Name another folder by --out."
                )

    def open(self) -> None:
        """Remove an earlier run if `overwrite`, and create the folder."""
        for path in self._written() if self.overwrite else []:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if self.overwrite:
            self._remove_empty_folders()
        self.path.mkdir(parents=True, exist_ok=True)
        listed = set(self._listed())
        self._before = {path: path.stat().st_mtime_ns for path in self._in_listed() if path not in listed}

    def close(self) -> None:
        """Record which files in the folders of `LISTED` this run wrote, for a later --overwrite."""
        ours = [path for path in self._in_listed() if self._before.get(path) != path.stat().st_mtime_ns]
        lines = (f"{path.relative_to(self.path).as_posix()}\n" for path in ours)
        write_text(self.path / FILES, "".join(lines))

    # ----------------------------------------------------------------------------------------------------------- files

    def _checkpoints(self) -> list[Path]:
        folder = self.path / "checkpoints"
        checkpoints = checkpoints_in(folder) + [path for path in (folder / UNFINISHED,) if path.is_dir()]
        return checkpoints + sorted(folder.glob("runs/**/events.out.tfevents.*"))

    def _in_listed(self) -> list[Path]:
        return sorted(path for name in LISTED for path in (self.path / name).rglob("*") if path.is_file())

    def _listed(self) -> list[Path]:
        file = self.path / FILES
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        ours = set(lines)
        return [path for path in self._in_listed() if path.relative_to(self.path).as_posix() in ours]

    def _written(self) -> list[Path]:
        """Files and whole folders that an earlier run wrote."""
        named = [self.path / name for name in self.names if (self.path / name).is_file()]
        return [*named, *self._checkpoints(), *self._listed()]

    def _traces(self) -> list[str]:
        """Names of files and folders that show that there is a run."""
        names = [name for name in self.names if (self.path / name).exists()]
        if self.names is NAMES:
            names += ["checkpoints"] if self._checkpoints() else []
            names += ["model"] if any((self.path / "model").glob("*")) else []
        return names

    def _remove_empty_folders(self) -> None:
        for name in (*LISTED, "checkpoints"):
            folders = [path for path in (self.path / name).rglob("*") if path.is_dir()]
            for folder in [*sorted(folders, reverse=True), self.path / name]:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()


def command_of(folder: Path) -> str | None:
    """The command in the manifest of a folder; None without a readable manifest."""
    try:
        return read_json(folder / MANIFEST)["command"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_verb(folder: str | Path, verb: str) -> None:
    """Raise ConfigError if another command's manifest is in the folder, which `verb` would write over."""
    other = command_of(Path(folder))
    if other not in (None, verb):
        raise ConfigError(f"{folder} is of valuefree {other}, and its files would be overwritten; name another --out.")
