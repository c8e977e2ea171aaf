"""Which prompts a policy was trained on, as hashes in a file of its run."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from valuefree.data.validation import prompt_key
from valuefree.errors import DataError
from valuefree.runs.files import atomic_write
from valuefree.runs.manifest import PROMPTS


def prompt_hashes(prompts: Iterable[Any]) -> np.ndarray:
    """64 bits per prompt; of ten million prompts 80 MB.

    A prompt is mistaken for one of n others with a probability of about n/2⁶⁴.
    """
    digests = (blake2b(prompt_key(p).encode("utf-8", "surrogatepass"), digest_size=8).digest() for p in prompts)
    return np.fromiter((int.from_bytes(digest, "little") for digest in digests), dtype=np.uint64)


@dataclass(frozen=True)
class SeenPrompts:
    """Hashes of the prompts that a policy was trained on, and of those that its checkpoint was chosen by."""

    trained: np.ndarray
    validation: np.ndarray

    @classmethod
    def of(
        cls, trained: Iterable[Any], validation: Iterable[Any] = (), *, earlier: "SeenPrompts | None" = None
    ) -> "SeenPrompts":
        """From the prompts of a run; `earlier`: of the policy that it starts from."""
        found = np.unique(prompt_hashes(trained)), np.unique(prompt_hashes(validation))
        if earlier is None:
            return cls(*found)
        return cls(np.union1d(found[0], earlier.trained), np.union1d(found[1], earlier.validation))

    def save(self, file: Path) -> None:
        """Write both as a NumPy archive."""
        with atomic_write(file) as stream:
            np.savez(stream, trained=self.trained, validation=self.validation)

    @classmethod
    def load(cls, file: Path) -> "SeenPrompts":
        """Read what `save` wrote.

        Raises:
            DataError: the file is broken.
        """
        try:
            with np.load(file) as found:
                return cls(found["trained"], found["validation"])
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{file} is not the list of a run's training prompts ({error}); remove it.") from error

    @classmethod
    def of_model(cls, model: str) -> "SeenPrompts | None":
        """What the run recorded whose ``model`` or ``checkpoints/checkpoint-N`` this folder is; None if it is none."""
        path = Path(model).resolve()
        run = path.parent if path.name == "model" else path.parent.parent if path.parent.name == "checkpoints" else None
        if run is None or not (run / PROMPTS).exists():
            return None
        return cls.load(run / PROMPTS)

    def among(self, prompts: Iterable[Any]) -> dict[str, int]:
        """How many prompts there are, how many were trained on, and how many more were validation prompts."""
        asked = prompt_hashes(prompts)
        trained = np.isin(asked, self.trained)
        validation = np.isin(asked, self.validation) & ~trained
        return {"prompts": len(asked), "trained": int(trained.sum()), "validation": int(validation.sum())}
