"""A data set ready for training: tokens, and one value per row for the objective."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import datasets
import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from datasets.arrow_dataset import Column
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from transformers import PreTrainedTokenizerBase, TrainingArguments

from valuefree.batches.collate import Collator, prompt_batch
from valuefree.batches.grouping import rows_of_prompts
from valuefree.batches.micro_batch import MicroBatch, TokenBatch
from valuefree.batches.rendering import Truncation, pad_id
from valuefree.batches.sampling import GroupBatches, Lengths
from valuefree.data.columns import column_hashes, factorize, lengths_of, list_numbers, nonnegative_counts
from valuefree.models.authorship import Authorship
from valuefree.models.hidden_states import supports_packing
from valuefree.models.logprobs import ResponseLogps
from valuefree.models.modules import is_encoder_decoder
from valuefree.objectives.base import ObjectiveInputs
from valuefree.partition import PartitionReport
from valuefree.training.reference_scores import ReferenceScores
from valuefree.training.step_inputs import StepInput


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
class ScoredDataset(TorchDataset[int]):
    """One data set ready for training, R rows of P prompts. As a torch data set its items are row numbers.

    Attributes:
        table: columns of the data, and ``prompt_ids`` and ``response_ids``.
        truncation: what tokenising cut.
        prompt_of, group_size: prompt of each row, 0 … P−1, and how many rows that prompt has, int64, (R,).
        rewards: as they enter the target, float64, (R,).
        columns: what `Objective.precompute` made, (R,) each.
        reference: scores of the reference, where the objective requires them; authorship: whether the reference wrote
            the responses, where its sampler did not truncate.
        values: V̂ of each row's prompt, float64, (R,), and `report`, what the partition found; where required.
        step_inputs: by their name in `Objective.requires`.
    """

    table: datasets.Dataset
    truncation: Truncation
    prompt_of: np.ndarray
    group_size: np.ndarray
    rewards: np.ndarray
    columns: dict[str, Tensor] = field(default_factory=dict)
    reference: ReferenceScores | None = None
    authorship: Authorship | None = None
    values: np.ndarray | None = None
    report: PartitionReport | None = None
    step_inputs: dict[str, StepInput] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> int:
        return index  # the collator looks the row up, as it needs the other rows of its prompt, too

    @cached_property
    def lengths(self) -> Lengths:
        """Tokens of each row's prompt and response."""
        return Lengths(lengths_of(self.table, "prompt_ids"), lengths_of(self.table, "response_ids"))

    @cached_property
    def trained_tokens(self) -> np.ndarray:
        """Response tokens of each row that are trained, int64 (R,)."""
        return nonnegative_counts(self.table, "response_ids")

    @cached_property
    def prompt_numbers(self) -> np.ndarray:
        """Number of each row's prompt, equal where all tokens are, (R,); `prompt_of` is equal for other white space."""
        return list_numbers(self.table, "prompt_ids")

    def prompt_tokens(self) -> Sequence[list[int]]:
        """Tokens of prompt 0 … P−1."""
        return self.table.select(np.unique(self.prompt_of, return_index=True)[1])["prompt_ids"]

    def rows_of_prompts(self) -> dict[int, list[int]]:
        """Row numbers of each prompt."""
        return {int(self.prompt_of[rows[0]]): rows.tolist() for rows in rows_of_prompts(self.prompt_of)}


@dataclass
class RowCollator:
    """From row numbers to a micro-batch.

    loss_denominator: as of `valuefree.objectives.Objective`.
    whole_groups: add the rows of the same prompts that are not in the micro-batch, as its context.
    prompts: add the distinct prompts by themselves, for a value network.
    """

    dataset: ScoredDataset
    collator: Collator
    loss_denominator: str = "responses"
    whole_groups: bool = False
    prompts: bool = False

    def __post_init__(self) -> None:
        self._rows_of = self.dataset.rows_of_prompts() if self.whole_groups else None

    def __call__(self, numbers: list[int]) -> MicroBatch:
        """The micro-batch of these row numbers; a negative number ~i runs row i with weight zero."""
        rows = [number if number >= 0 else ~number for number in numbers]
        counted = sum(number >= 0 for number in numbers)
        context = self._context(rows)
        every_row = rows + context
        batch = self.collator.batch(self.dataset.table, rows)
        padding, positions = self.collator.padding(batch)
        response_tokens = int(self.dataset.trained_tokens[rows[:counted]].sum())
        prompts, prompt_row = self._prompts(every_row) if self.prompts else (None, None)
        reference = self.dataset.reference

        def taken(values: np.ndarray | None) -> Tensor | None:
            return None if values is None else torch.from_numpy(values[every_row])

        return MicroBatch(
            row_numbers=rows,
            counted=counted,
            response_tokens=response_tokens,
            loss_denominator=self._denominator(rows[:counted], response_tokens),
            batch=batch,
            context=[
                self.collator.batch(self.dataset.table, context[start : start + len(rows)])
                for start in range(0, len(context), len(rows))
            ],
            prompt_of=torch.from_numpy(self.dataset.prompt_of[every_row]),
            group_size=torch.from_numpy(self.dataset.group_size[every_row]),
            rewards=torch.from_numpy(self.dataset.rewards[every_row]),
            reference_logps=taken(reference.logps if reference is not None else None),
            values=taken(self.dataset.values),
            columns={name: column[every_row] for name, column in self.dataset.columns.items()},
            prompts=prompts,
            prompt_row=prompt_row,
            padding=padding,
            positions=positions,
        )

    def sampler(self, **settings: Any) -> GroupBatches:
        """Which rows make a micro-batch; `settings` as of `GroupBatches`."""
        lengths = self.dataset.lengths

        def size(rows: Sequence[int]) -> int:
            at = list(rows)
            return self.collator.positions(lengths.prompt[at], lengths.response[at], self.dataset.prompt_numbers[at])

        return GroupBatches(self.dataset.prompt_of, lengths=lengths, size=size, **settings)

    def loader(
        self, args: TrainingArguments, *, batch_size: int, accumulation: int, **order: Any
    ) -> DataLoader[MicroBatch]:
        """Micro-batches of this rank; `accumulation` of them make an optimizer step. `order` as of `GroupBatches`."""
        sampler = self.sampler(
            batch_size=batch_size,
            micro_batches=accumulation * args.world_size,
            whole_groups=self.whole_groups and args.world_size > 1,
            rank=args.process_index,
            world_size=args.world_size,
            **order,
        )
        loader: Any = DataLoader(
            self.dataset,
            batch_sampler=sampler,
            collate_fn=self,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory and torch.cuda.is_available(),
        )
        # The sampler distributes rows over ranks itself; accelerate must not do it again.
        return prepare_data_loader(loader, num_processes=1, process_index=0, put_on_device=False)

    def _denominator(self, counted: list[int], response_tokens: int) -> float:
        """What these rows add to the divisor of the loss."""
        if self.loss_denominator == "responses":
            return len(counted)
        if self.loss_denominator == "tokens":
            return response_tokens
        return float(self.dataset.columns[self.loss_denominator][counted].sum())

    def _context(self, rows: list[int]) -> list[int]:
        """The other rows of the same prompts."""
        if self._rows_of is None:
            return []
        inside = set(rows)
        prompts = dict.fromkeys(self.dataset.prompt_of[rows].tolist())
        return [row for prompt in prompts for row in self._rows_of[prompt] if row not in inside]

    def _prompts(self, rows: list[int]) -> tuple[TokenBatch, Tensor]:
        """Tokens of the distinct prompts, by first appearance, and which of them each row has."""
        numbers = self.dataset.prompt_numbers[rows]
        _, first, place = np.unique(numbers, return_index=True, return_inverse=True)
        order = np.argsort(first)
        ids = self.dataset.table[[rows[at] for at in first[order]]]["prompt_ids"]
        return prompt_batch(ids, self.collator.pad_token_id), torch.from_numpy(np.argsort(order)[place])


def objective_inputs(batch: MicroBatch, parts: Sequence[ResponseLogps]) -> ObjectiveInputs:
    """What the objective reads of a micro-batch.

    parts: log-probabilities of the micro-batch's rows, and of each batch of its context.
    """
    own = parts[0]
    return ObjectiveInputs(
        # float64, because the spacing of float32 at −5000 nats is 5e-4.
        policy_logps=torch.cat([part.total for part in parts]).double(),
        tokens=torch.cat([part.tokens for part in parts]),
        rewards=batch.rewards.double(),
        prompt_of=batch.prompt_of,
        group_size=batch.group_size,
        reference_logps=batch.reference_logps.double() if batch.reference_logps is not None else None,
        values=batch.values.double() if batch.values is not None else None,
        value_outputs=own.values[batch.prompt_row].double() if own.values is not None else None,
        step_inputs=batch.step_inputs,
        columns=batch.columns,
    )
