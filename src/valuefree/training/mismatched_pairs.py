"""MismatchedPairs pairs: a row's prompt with the response to another prompt, drawn anew in every epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np

from valuefree.data.columns import factorize
from valuefree.errors import ConfigError


def prompt_classes(prompt_of: np.ndarray, prompts: Sequence[Sequence[int]]) -> np.ndarray:
    """A number per row, equal where the prompt is the same, by its number or by its tokens; shape (R,).

    prompts: tokens of prompt 0 … P−1.
    """
    seen: dict[tuple[int, ...], int] = {}
    class_of_P = np.array([seen.setdefault(tuple(tokens), len(seen)) for tokens in prompts], dtype=np.int64)
    return class_of_P[prompt_of]


def draw_partners(class_of: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """For each row another one of unlike class, uniformly over those; int64, shape (R,).

    Raises:
        ConfigError: all rows are of one class.
    """
    class_of = factorize(class_of)
    sizes = np.bincount(class_of)
    if len(sizes) < 2:
        raise ConfigError(
            f"{len(class_of)} rows share one prompt, so there is no response to another one to estimate the baseline "
            "with. Use rows of several prompts, or an objective without mismatched pairs."
        )
    order = np.argsort(class_of, kind="stable")
    starts = np.cumsum(sizes) - sizes
    others = len(class_of) - sizes[class_of]
    place = np.random.default_rng([seed, epoch]).integers(0, others)
    place += np.where(place >= starts[class_of], sizes[class_of], 0)  # leap over the row's own class
    return order[place]


def paired(
    table: datasets.Dataset, rows: Sequence[int] | np.ndarray, partners: Sequence[int] | np.ndarray, limit: int | None
) -> dict[str, Any]:
    """Columns prompt_ids of `rows` and response_ids of `partners`.

    limit: longest prompt and response together; the response is cut to it, as tokenising does.
    """
    own = table[list(map(int, rows))]
    responses = table[list(map(int, partners))]["response_ids"]
    if limit is not None:
        pairs = zip(own["prompt_ids"], responses, strict=True)
        responses = [response[: limit - len(prompt)] for prompt, response in pairs]
    return {"prompt_ids": own["prompt_ids"], "response_ids": responses}


@dataclass
class MismatchedPairs:
    """Partners (R,) and reference scores (R,) of the mismatched pairs, of each epoch; `limit` as in `paired`."""

    limit: int | None
    partners: list[np.ndarray] = field(default_factory=list)
    reference_logps: list[np.ndarray] = field(default_factory=list)

    def of_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Partners and scores.

        Raises:
            ConfigError: the epoch was not scored before training.
        """
        if epoch >= len(self.partners):
            raise ConfigError(
                f"epoch {epoch} begins, but mismatched pairs of {len(self.partners)} epochs were scored. Set "
                "max_steps and num_train_epochs before the trainer is made."
            )
        return self.partners[epoch], self.reference_logps[epoch]
