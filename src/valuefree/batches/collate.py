"""From tokenised rows to the tensors that `response_logps` reads, padded or packed."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor

from valuefree.batches.grouping import groups_of
from valuefree.batches.packing import TokenRows, pack_decoder, pack_encoder_decoder
from valuefree.errors import ConfigError

IGNORED = -100  # label of a token that does not belong to the response
Numbers = Sequence[int] | np.ndarray


def _padded(rows: TokenRows, value: int, side: str) -> Tensor:
    width = max(len(row) for row in rows)
    fill = [[value] * (width - len(row)) for row in rows]
    return torch.tensor([[*pad, *row] if side == "left" else [*row, *pad] for row, pad in zip(rows, fill, strict=True)])


def input_id(token: int) -> int:
    """The token itself; ~t stands for token t as context."""
    return token if token >= 0 else ~token


def prompt_batch(prompts: TokenRows, pad_token_id: int) -> dict[str, Tensor]:
    """Prompts without responses, padded on the right: input_ids and attention_mask, (P, L)."""
    ones = [[1] * len(prompt) for prompt in prompts]
    return {"input_ids": _padded(prompts, pad_token_id, "right"), "attention_mask": _padded(ones, 0, "right")}


def collate(
    prompts: TokenRows,
    responses: TokenRows,
    *,
    pad_token_id: int,
    encoder_decoder: bool,
    padding_side: str = "right",
) -> dict[str, Tensor]:
    """One row per response in the Hugging Face form: input_ids, attention_mask, and labels (−100 outside responses).

    A negative token ~t of a decoder's response is context: token t in the input, −100 in the labels.
    """
    if padding_side not in ("left", "right"):
        raise ConfigError(f"padding_side is {padding_side!r}; expected left or right.")
    if encoder_decoder:
        rows, labels = list(prompts), list(responses)
    else:
        rows = [[*prompt, *map(input_id, response)] for prompt, response in zip(prompts, responses, strict=True)]
        labels = [
            [*[IGNORED] * len(prompt), *(token if token >= 0 else IGNORED for token in response)]
            for prompt, response in zip(prompts, responses, strict=True)
        ]
    return {
        "input_ids": _padded(rows, pad_token_id, padding_side),
        "attention_mask": _padded([[1] * len(row) for row in rows], 0, padding_side),
        # The decoder of an encoder-decoder counts positions from its first column, so its padding is on the right.
        "labels": _padded(labels, IGNORED, "right" if encoder_decoder else padding_side),
    }


def pad_right(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An encoder-decoder's batch with its padding moved to the right: each row is rolled to its first real token."""
    mask, labels = batch["attention_mask"], batch["labels"]
    prompts, responses = _rolled(mask != 0), _rolled(labels != IGNORED)
    return {
        **batch,
        "input_ids": batch["input_ids"].gather(1, prompts),
        "attention_mask": mask.gather(1, prompts),
        "labels": labels.gather(1, responses),
    }


def _rolled(real: Tensor) -> Tensor:
    """Column order of each row that starts at its first `real` column, shape of `real`; earlier columns come last."""
    width = real.shape[1]
    start = real.to(torch.uint8).argmax(1, keepdim=True)
    return (torch.arange(width, device=real.device) + start) % width


def collate_shared(
    prompts: TokenRows, responses: TokenRows, groups: Sequence[Sequence[int]], *, pad_token_id: int
) -> dict[str, Tensor]:
    """As `collate` for an encoder-decoder, but with one input row per prompt.

    ``encoder_rows`` (R,) holds the input row of each response. groups: rows of each distinct prompt.
    """
    encoder_row = {row: index for index, rows in enumerate(groups) for row in rows}
    return {
        **prompt_batch([prompts[rows[0]] for rows in groups], pad_token_id),
        "labels": _padded(responses, IGNORED, "right"),
        "encoder_rows": torch.tensor([encoder_row[row] for row in range(len(responses))]),
    }


@dataclass(frozen=True)
class Collator:
    """From rows of a tokenised table to the batch that `response_logps` reads.

    share_prompts: run each distinct prompt once for all its responses. Prompts are equal if all their tokens are.
    padding_free: one packed row instead of padded rows. A decoder can share prompts only in this form.
    """

    pad_token_id: int
    encoder_decoder: bool
    share_prompts: bool = True
    padding_free: bool = True

    def batch(self, table: datasets.Dataset, rows: Sequence[int]) -> dict[str, Tensor]:
        """The batch of the rows with these numbers; `response_logps` returns one value per row, in this order."""
        return self.tensors(table[list(rows)])

    def tensors(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, Tensor]:
        """The batch made from the columns prompt_ids and response_ids."""
        prompts, responses = columns["prompt_ids"], columns["response_ids"]
        groups = self.groups([tuple(prompt) for prompt in prompts])
        if self.padding_free:
            return (pack_encoder_decoder if self.encoder_decoder else pack_decoder)(prompts, responses, groups)
        if self.encoder_decoder and self.share_prompts:
            return collate_shared(prompts, responses, groups, pad_token_id=self.pad_token_id)
        return collate(prompts, responses, pad_token_id=self.pad_token_id, encoder_decoder=self.encoder_decoder)

    def groups(self, prompts: Sequence[Hashable]) -> list[list[int]]:
        """Row numbers of each prompt that is run once: equal prompts together, or every row alone."""
        return groups_of(prompts if self.share_prompts else range(len(prompts)))

    def positions(self, prompt_tokens: Numbers, response_tokens: Numbers, prompt_numbers: Numbers) -> int:
        """Positions that a batch of rows of these lengths sends through the linear layers, including padding.

        prompt_numbers: equal for rows whose prompts have equal tokens.
        """
        shared = self.share_prompts and (self.encoder_decoder or self.padding_free)
        prompts = [prompt_tokens[rows[0]] for rows in groups_of(prompt_numbers)] if shared else prompt_tokens
        if self.padding_free:
            return sum(prompts) + sum(response_tokens)
        if self.encoder_decoder:
            return len(prompts) * max(prompts) + len(response_tokens) * max(response_tokens)
        return len(prompts) * max(p + r for p, r in zip(prompt_tokens, response_tokens, strict=True))

    def padding(self, batch: Mapping[str, Tensor]) -> tuple[int, int]:
        """(padding positions, all positions) that a batch sends through the linear layers."""
        if "pack" in batch:
            decoder_positions = len(batch["target_ids"]) if self.encoder_decoder else 0
            return 0, batch["input_ids"].numel() + decoder_positions
        parts = [batch["attention_mask"] == 0]
        if self.encoder_decoder:
            parts.append(batch["labels"] == IGNORED)  # the labels are the decoder's positions
        return sum(int(part.sum()) for part in parts), sum(part.numel() for part in parts)


def scoring_batches(
    collator: Collator, lengths: tuple[np.ndarray, np.ndarray], prompt_numbers: np.ndarray, batch_tokens: int
) -> list[list[int]]:
    """All rows, cut into batches for scoring: sorted by length, longest first, with a prompt's rows together.

    Args:
        lengths: tokens of prompts and of responses, (R,) each.
        prompt_numbers: equal for rows whose prompts have equal tokens, (R,).
        batch_tokens: most positions of a batch, including padding; a prompt's rows stay together even above it.
    """
    prompts, responses = lengths
    groups = collator.groups(prompt_numbers.tolist())
    groups.sort(key=lambda rows: -(int(prompts[rows[0]]) + int(responses[rows].max())))
    batches: list[list[int]] = []
    for group in groups:
        if batches:
            rows = [*batches[-1], *group]
            positions = collator.positions(prompts[rows].tolist(), responses[rows].tolist(), prompt_numbers[rows])
            if positions <= batch_tokens:
                batches[-1] = rows
                continue
        batches.append(list(group))
    return batches
