"""KTO's estimate of the KL: the mean log-ratio of prompts paired with responses to other prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import datasets
import numpy as np
import torch
from torch import Tensor

from valuefree.batches.collate import Collator
from valuefree.batches.micro_batch import MicroBatch
from valuefree.data.columns import factorize
from valuefree.errors import ConfigError
from valuefree.training.distributed import all_reduce
from valuefree.training.step_inputs import PolicyLogps, StepInput

if TYPE_CHECKING:
    from valuefree.training.preparation import Scorer
    from valuefree.training.scored_dataset import ScoredDataset


def prompt_classes(prompt_of: np.ndarray, prompts: Sequence[Sequence[int]]) -> np.ndarray:
    """A number per row, equal where the prompt is the same, by its number or by its tokens; shape (R,).

    prompts: tokens of prompt 0 … P−1.
    """
    seen: dict[tuple[int, ...], int] = {}
    class_of_P = np.array([seen.setdefault(tuple(tokens), len(seen)) for tokens in prompts], dtype=np.int64)
    return class_of_P[prompt_of]


def draw_partners(class_of: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """For each row a row of another class, drawn uniformly; int64, shape (R,).

    Raises:
        ConfigError: all rows are of one class.
    """
    class_of = factorize(class_of)
    sizes = np.bincount(class_of)
    if len(sizes) < 2:
        raise ConfigError(
            f"{len(class_of)} rows share one prompt, so there is no response to another one to estimate the KL "
            "with. Use rows of several prompts, or an objective without mismatched pairs."
        )
    order = np.argsort(class_of, kind="stable")
    starts = np.cumsum(sizes) - sizes
    others = len(class_of) - sizes[class_of]
    place = np.random.default_rng([seed, epoch]).integers(0, others)
    place += np.where(place >= starts[class_of], sizes[class_of], 0)  # skip the row's own class
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


@dataclass(frozen=True)
class MismatchedPairs(StepInput):
    """z₀ of KTO before its clamp: the mean log-ratio, in nats, of a step's mismatched pairs; shape ().

    A mismatched pair is a row's prompt with the response to another prompt. Pairs are drawn anew for every epoch.

    partners, reference_logps: by epoch, the row whose response is taken, int64 (R,), and log π_ref of the pair, (R,).
    limit: as in `paired`.

    Source: Ethayarajh et al. 2024, arXiv 2402.01306, section 4.1.
    """

    collator: Collator
    limit: int | None
    partners: list[np.ndarray]
    reference_logps: list[np.ndarray]

    @classmethod
    def prepare(cls, dataset: "ScoredDataset", scorer: "Scorer", *, epochs: int, seed: int) -> Self:
        """Draw the pairs of each epoch and score them under the reference."""
        limit = None if scorer.collator.encoder_decoder else scorer.limits.max_length
        class_of = prompt_classes(dataset.prompt_of, dataset.prompt_tokens())
        every_row = np.arange(len(dataset))
        drawn = [draw_partners(class_of, seed=seed, epoch=epoch) for epoch in range(epochs)]
        scores = [
            scorer.score(
                datasets.Dataset.from_dict(paired(dataset.table, every_row, partners, limit)),
                what="mismatched pairs of KTO (a prompt with the response to another one)",
            ).logps
            for partners in drawn
        ]
        return cls(scorer.collator, limit, drawn, scores)

    def compute(
        self,
        dataset: "ScoredDataset",
        batches: Sequence[MicroBatch],
        logps: PolicyLogps,
        epoch: int,
        device: torch.device,
    ) -> Tensor:
        """Mean over the counted rows of all processes' micro-batches.

        Raises:
            ConfigError: the epoch was not scored before training.
        """
        if epoch >= len(self.partners):
            raise ConfigError(
                f"epoch {epoch} begins, but mismatched pairs of {len(self.partners)} epochs were scored. Set "
                "max_steps and num_train_epochs before the trainer is made."
            )
        total, count = 0.0, 0.0
        for batch in batches:
            rows = batch.row_numbers
            pairs = paired(dataset.table, rows, self.partners[epoch][rows], self.limit)
            reference_logps = torch.from_numpy(self.reference_logps[epoch][rows])
            logratios = logps(self.collator.tensors(pairs)).double().cpu() - reference_logps
            total += float(logratios[: batch.counted].sum())
            count += batch.counted
        total, count = all_reduce([total, count], device)
        return torch.tensor(total / count, dtype=torch.float64)
