"""Checkpoints of a run: a checksum per file, written last, tells a whole checkpoint from a partial or damaged one."""

import hashlib
import re
from pathlib import Path

from valuefree.runs.files import read_json, write_json

CHECKSUMS = "checksums.json"  # relative path → SHA-256 of each other file of the checkpoint
UNFINISHED = "unfinished"  # folder beside the checkpoints, in which the next one is written


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, newest first."""
    found = [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """The optimiser step after which a checkpoint was written."""
    return int(checkpoint.name.split("-")[1])


def seal(checkpoint: Path) -> None:
    """Write the checksums of all files of a complete checkpoint."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    write_json(checkpoint / CHECKSUMS, {path.relative_to(checkpoint).as_posix(): _sha256(path) for path in files})


def fault_of(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be used; None for a whole one. Reads every file."""
    try:
        expected = dict(read_json(checkpoint / CHECKSUMS))
    except FileNotFoundError:
        return f"has no {CHECKSUMS}: it was not finished, or an earlier version wrote it"
    except (OSError, ValueError, TypeError) as error:
        return f"{CHECKSUMS} cannot be read ({error})"
    for name, digest in expected.items():
        try:
            if _sha256(checkpoint / name) != digest:
                return f"{name} is not as it was written (checksum)"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({error})"
    return None if expected else f"{CHECKSUMS} lists no file"


def newest_whole(folder: Path) -> tuple[Path | None, dict[Path, str]]:
    """The newest whole checkpoint in `folder`, if any, and the faults of the newer ones."""
    faults: dict[Path, str] = {}
    for checkpoint in checkpoints_in(folder):
        fault = fault_of(checkpoint)
        if fault is None:
            return checkpoint, faults
        faults[checkpoint] = fault
    return None, faults


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
