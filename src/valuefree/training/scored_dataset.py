"""A data set made ready for training: tokens, and one value per row for the objective."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import datasets
import numpy as np
import torch
from datasets.arrow_dataset import Column
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from valuefree.batches.collate import Collator, prompt_batch
from valuefree.batches.rendering import Truncation, pad_id
from valuefree.batches.sampling import GroupBatches, Lengths
from valuefree.data.columns import column_hashes, factorize, lengths_of, list_numbers
from valuefree.errors import ConfigError
from valuefree.models.load import is_encoder_decoder
from valuefree.models.logprobs import supports_packing
from valuefree.partition import PartitionReport
from valuefree.training.distributed import all_reduce
from valuefree.training.mismatched_pairs import MismatchedPairs, paired
from valuefree.training.reference_scores import ReferenceScores


def response_numbers(responses: Sequence[str] | Column) -> np.ndarray:
    """A number for each distinct text, by first appearance, shape (R,): the `response_of` of the partition.

    `responses`: texts, or the column of a data set, which is read batch by batch. Texts are equal where 128 bits of
    hash are; see `valuefree.data.read_triplets`.
    """
    return factorize(*column_hashes(responses))


def collator_for(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, *, share_prompts: bool = True, padding_free: bool = True
) -> Collator:
    """The collator for a model, with prompts shared and padding left out where that is exact."""
    encoder_decoder = is_encoder_decoder(model)
    packed = padding_free and supports_packing(model)
    return Collator(pad_id(tokenizer), encoder_decoder, share_prompts and (encoder_decoder or packed), packed)


@dataclass
class ScoredDataset:
    """One data set made ready: tokens, and one value per row for the objective; a `Dataset` of row numbers.

    columns: what the objective made of its rows, (R,) each. mismatched: pairs for a baseline, if it asks for one.
    """

    table: datasets.Dataset
    truncation: Truncation
    prompt_of: np.ndarray
    group_size: np.ndarray
    rewards: np.ndarray
    columns: dict[str, Tensor] = field(default_factory=dict)
    reference: ReferenceScores | None = None
    mismatched: MismatchedPairs | None = None
    values: np.ndarray | None = None
    report: PartitionReport | None = None

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: int) -> int:
        return row  # the collator looks the row up: it needs its group as well

    @cached_property
    def lengths(self) -> Lengths:
        """Tokens of each row's prompt and response."""
        return Lengths(lengths_of(self.table, "prompt_ids"), lengths_of(self.table, "response_ids"))

    @cached_property
    def prompt_numbers(self) -> np.ndarray:
        """Number of each row's prompt, equal where all tokens are, (R,); `prompt_of` is equal for other white space."""
        return list_numbers(self.table, "prompt_ids")

    def groups(self) -> dict[int, list[int]]:
        """Rows of each prompt."""
        rows: dict[int, list[int]] = {}
        for row, prompt in enumerate(self.prompt_of.tolist()):
            rows.setdefault(prompt, []).append(row)
        return rows


@dataclass
class RowCollator:
    """From row numbers to a micro-batch.

    whole_groups: also the rows of its prompts that are not in it. prompts: also its distinct prompts by themselves.
    counts: as of `valuefree.objectives.Objective`.
    """

    prepared: ScoredDataset
    collator: Collator
    counts: str = "responses"
    whole_groups: bool = False
    prompts: bool = False

    def __post_init__(self) -> None:
        self._groups = self.prepared.groups() if self.whole_groups else {}

    def __call__(self, numbers: list[int]) -> dict[str, Any]:
        """What a step needs of these row numbers; one of ~row < 0 is run and does not count.

        Returns:
            ``batch`` of the rows; ``context``, batches of the rest of their groups; ``rows`` and ``columns``, values of
            both; ``prompts`` and ``prompt_row``, the distinct prompts (or None) and which of them each row has;
            ``numbers`` of the rows; ``responses`` and ``tokens``, how many of the former count, and ``count``, their
            part of what the loss is divided by; ``padding`` and ``positions`` of the batch.
        """
        rows = [number if number >= 0 else ~number for number in numbers]
        counted = sum(number >= 0 for number in numbers)
        inside = set(rows)
        distinct = dict.fromkeys(self.prepared.prompt_of[rows].tolist())
        beside = [row for prompt in distinct for row in self._groups.get(prompt, ()) if row not in inside]
        chunks = [beside[start : start + len(rows)] for start in range(0, len(beside), len(rows))]
        batch = self.collator.batch(self.prepared.table, rows)
        padding, positions = self.collator.padding(batch)
        sums = {"responses": counted, "tokens": int(self.prepared.lengths.response[rows[:counted]].sum())}
        prompts, prompt_row = self._prompts(rows + beside) if self.prompts else (None, None)
        return {
            "batch": batch,
            "context": [self.collator.batch(self.prepared.table, chunk) for chunk in chunks],
            "rows": {name: torch.from_numpy(column[rows + beside]) for name, column in self._columns().items()},
            "columns": {name: column[rows + beside] for name, column in self.prepared.columns.items()},
            "prompts": prompts,
            "prompt_row": prompt_row,
            "numbers": rows,
            **sums,
            "count": sums[self.counts] if self.counts in sums else self._sum(rows[:counted]),
            "padding": padding,
            "positions": positions,
        }

    def sampler(self, **settings: Any) -> GroupBatches:
        """Which rows make a micro-batch; `settings` as of `GroupBatches`."""
        lengths = self.prepared.lengths

        def size(rows: Sequence[int]) -> int:
            at = list(rows)
            return self.collator.positions(lengths.prompt[at], lengths.response[at], self.prepared.prompt_numbers[at])

        return GroupBatches(self.prepared.prompt_of, lengths=lengths, size=size, **settings)

    def mismatched(self, rows: list[int], epoch: int) -> tuple[dict[str, Tensor], Tensor]:
        """The batch of these rows' mismatched pairs, and their reference scores (R,)."""
        drawn = self.prepared.mismatched
        if drawn is None:
            raise ConfigError("no mismatched pairs were drawn for these rows.")
        partners, scores = drawn.of_epoch(epoch)
        pairs = paired(self.prepared.table, rows, partners[rows], drawn.limit)
        return self.collator.tensors(pairs), torch.from_numpy(scores[rows])

    def _sum(self, rows: list[int]) -> float:
        return float(self.prepared.columns[self.counts][rows].sum())

    def _prompts(self, rows: list[int]) -> tuple[dict[str, Tensor], Tensor]:
        first: dict[int, int] = {}
        for row in rows:
            first.setdefault(int(self.prepared.prompt_numbers[row]), row)
        at = {prompt: index for index, prompt in enumerate(first)}
        ids = self.prepared.table[list(first.values())]["prompt_ids"]
        place = torch.tensor([at[int(self.prepared.prompt_numbers[row])] for row in rows])
        return prompt_batch(ids, self.collator.pad_token_id), place

    def _columns(self) -> dict[str, np.ndarray]:
        columns = {"prompt_of": self.prepared.prompt_of, "group_size": self.prepared.group_size}
        columns["rewards"] = self.prepared.rewards
        if self.prepared.reference is not None:
            columns["reference_logps"] = self.prepared.reference.logps
        if self.prepared.values is not None:
            columns["values"] = self.prepared.values
        return columns


def mean_logratio(
    logps: Callable[[dict[str, Tensor]], Tensor],
    collator: RowCollator,
    samples: Sequence[Mapping[str, Any]],
    epoch: int,
    device: torch.device,
) -> Tensor:
    """Mean log-ratio, in nats, of the mismatched pairs of all rows of a step that count, over processes too; shape ().

    Each process runs one batch of pairs per micro-batch, of which all have equally many, so that none waits.

    Args:
        logps: of a batch under the policy, in evaluation mode, without gradient.
        samples: numbers and responses of this process's micro-batches.
    """
    total, count = 0.0, 0.0
    for sample in samples:
        batch, scores = collator.mismatched(sample["numbers"], epoch)
        total += float((logps(batch).double().cpu() - scores)[: sample["responses"]].sum())
        count += sample["responses"]
    total, count = all_reduce([total, count], device)
    return torch.tensor(total / count, dtype=torch.float64)
