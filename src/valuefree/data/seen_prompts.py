"""Hashes of the prompts that a policy was trained on, in a file of its run."""

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
    """64 bits per prompt; 80 MB for ten million prompts.

    A prompt collides with one of n others with a probability of about n/2⁶⁴.
    """
    digests = (blake2b(prompt_key(p).encode("utf-8", "surrogatepass"), digest_size=8).digest() for p in prompts)
    return np.fromiter((int.from_bytes(digest, "little") for digest in digests), dtype=np.uint64)


@dataclass(frozen=True)
class SeenPrompts:
    """Hashes of the training prompts of a policy, and of the validation prompts that chose its checkpoint."""

    trained: np.ndarray
    validation: np.ndarray

    @classmethod
    def of(
        cls, trained: Iterable[Any], validation: Iterable[Any] = (), *, earlier: "SeenPrompts | None" = None
    ) -> "SeenPrompts":
        """From the prompts of a run; `earlier`: the seen prompts of the policy that the run starts from."""
        before = earlier or cls(np.empty(0, np.uint64), np.empty(0, np.uint64))
        return cls(
            np.union1d(prompt_hashes(trained), before.trained), np.union1d(prompt_hashes(validation), before.validation)
        )

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
            with np.load(file) as arrays:
                return cls(arrays["trained"], arrays["validation"])
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{file} is not the list of a run's training prompts ({error}); remove it.") from error

    @classmethod
    def of_model(cls, model: str) -> "SeenPrompts | None":
        """The record of the run of which `model` is the folder ``model`` or a checkpoint; None without one."""
        path = Path(model).resolve()
        run = path.parent if path.name == "model" else path.parent.parent if path.parent.name == "checkpoints" else None
        if run is None or not (run / PROMPTS).exists():
            return None
        return cls.load(run / PROMPTS)

    def among(self, prompts: Iterable[Any]) -> dict[str, int]:
        """Numbers of all prompts, of training prompts among them, and of other validation prompts."""
        hashes = prompt_hashes(prompts)
        trained = np.isin(hashes, self.trained)
        validation = np.isin(hashes, self.validation) & ~trained
        return {"prompts": len(hashes), "trained": int(trained.sum()), "validation": int(validation.sum())}
