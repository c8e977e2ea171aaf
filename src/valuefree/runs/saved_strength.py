"""Give a saved policy another strength so that weights and recorded scale agree, also after a kill in between."""

import shutil
from collections.abc import Callable
from pathlib import Path

from valuefree.runs.files import read_json, use_umask, write_json
from valuefree.runs.manifest import STRENGTH

UNFINISHED = "model.unfinished"  # beside the folder model
MOVED = ("*.safetensors", "*.json")


def scale_of(folder: Path) -> float:
    """The strength of the policy in the folder of a run, relative to training."""
    file = folder / STRENGTH
    return float(read_json(file)["scale"]) if file.exists() else 1.0


def save_at(folder: Path, scale: float, save: Callable[[Path], object]) -> None:
    """Replace the weights of a run. `save` writes the new ones into a folder.

    Until ``strength.json`` is written, the old weights are whole; from then on the new ones are, and `complete` moves
    what is not yet moved.
    """
    unfinished = folder / UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)
    save(unfinished)
    use_umask(unfinished)
    write_json(folder / STRENGTH, {"scale": scale, "unfinished": True})
    complete(folder)


def is_unfinished(folder: Path) -> bool:
    """Whether a replacement of weights was interrupted when the new ones were whole."""
    file = folder / STRENGTH
    return file.exists() and bool(read_json(file).get("unfinished"))


def complete(folder: Path) -> None:
    """Finish a replacement of weights that was interrupted."""
    file, unfinished = folder / STRENGTH, folder / UNFINISHED
    if is_unfinished(folder):
        for path in sorted(path for pattern in MOVED for path in unfinished.glob(pattern)):
            path.replace(folder / "model" / path.name)
        write_json(file, {"scale": scale_of(folder)})
    shutil.rmtree(unfinished, ignore_errors=True)
