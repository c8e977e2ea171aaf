"""From tokenised rows to the tensors that `response_logps` reads: mask, group, share prompts, collate."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import torch
from torch import Tensor

from valuefree.errors import ConfigError

IGNORED = -100  # label of what is not a response token


def _padded(rows: Sequence[Sequence[int]], value: int, side: str) -> Tensor:
    width = max(len(row) for row in rows)
    fill = [[value] * (width - len(row)) for row in rows]
    return torch.tensor([[*pad, *row] if side == "left" else [*row, *pad] for row, pad in zip(rows, fill, strict=True)])


def collate(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    *,
    pad_token_id: int,
    encoder_decoder: bool,
    padding_side: str = "right",
) -> dict[str, Tensor]:
    """One row per response in the Hugging Face form: input_ids, attention_mask, labels (−100 where not a response)."""
    if padding_side not in ("left", "right"):
        raise ConfigError(f"padding_side is {padding_side!r}; expected left or right.")
    if encoder_decoder:
        rows, labels = list(prompts), list(responses)
    else:
        rows = [[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)]
        labels = [[*[IGNORED] * len(prompt), *response] for prompt, response in zip(prompts, responses, strict=True)]
    return {
        "input_ids": _padded(rows, pad_token_id, padding_side),
        "attention_mask": _padded([[1] * len(row) for row in rows], 0, padding_side),
        # The decoder of an encoder-decoder starts at its first column, so its padding stands at the end.
        "labels": _padded(labels, IGNORED, "right" if encoder_decoder else padding_side),
    }


def collate_shared(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    prompt_of: Sequence[int],
    *,
    pad_token_id: int,
    encoder_decoder: bool,
    max_width: int = 1024,
) -> dict[str, Tensor]:
    """Each prompt once, for rows of which several share a prompt; same log-probabilities as `collate`.

    Args:
        prompts, responses: token ids, one list per response (R). prompt_of: rows with equal numbers share a prompt.
        max_width: a decoder's row begins anew, prompt and all, before it would pass this many tokens.

    Returns:
        Encoder-decoder: as `collate` with one input row per prompt, and encoder_rows (R,), which of them is whose.
        Decoder-only: input_ids (B, T), a row being a prompt and then its responses side by side, none seeing another;
        attention_mask (B, 1, T, T), true where a query may look; position_ids (B, T), each response beginning right
        after the prompt; and for each of the N response tokens target_ids, target_positions (of the hidden state that
        predicts it, flat in B·T) and target_rows (its response).
    """
    groups: dict[int, list[int]] = {}
    for row, prompt in enumerate(prompt_of):
        groups.setdefault(int(prompt), []).append(row)
    if encoder_decoder:
        owner = {row: index for index, rows in enumerate(groups.values()) for row in rows}
        inputs = [prompts[rows[0]] for rows in groups.values()]
        return {
            "input_ids": _padded(inputs, pad_token_id, "right"),
            "attention_mask": _padded([[1] * len(row) for row in inputs], 0, "right"),
            "labels": _padded(responses, IGNORED, "right"),
            "encoder_rows": torch.tensor([owner[row] for row in range(len(responses))]),
        }
    packed = [
        (prompts[rows[0]], part)
        for rows in groups.values()
        for part in _parts(rows, [len(responses[row]) for row in rows], max_width - len(prompts[rows[0]]))
    ]
    return _packed_batch(packed, responses, pad_token_id)


def _parts(rows: list[int], lengths: list[int], room: int) -> list[list[int]]:
    """Rows in order, cut where their lengths would pass `room`; a part has at least one row."""
    parts: list[list[int]] = [[]]
    used = 0
    for row, length in zip(rows, lengths, strict=True):
        if parts[-1] and used + length > room:
            parts.append([])
            used = 0
        parts[-1].append(row)
        used += length
    return parts


def _packed_batch(packed, responses: Sequence[Sequence[int]], pad_token_id: int) -> dict[str, Tensor]:
    rows = [[*prompt, *(token for row in members for token in responses[row])] for prompt, members in packed]
    width = max(len(row) for row in rows)
    segment = torch.full((len(rows), width), -1)
    position = torch.zeros((len(rows), width), dtype=torch.int64)
    ids, where, whose = [], [], []
    for index, (prompt, members) in enumerate(packed):
        start = len(prompt)
        segment[index, :start] = 0
        position[index, :start] = torch.arange(start)
        for number, row in enumerate(members, start=1):
            length = len(responses[row])
            segment[index, start : start + length] = number
            position[index, start : start + length] = torch.arange(len(prompt), len(prompt) + length)
            ids.append(torch.tensor(responses[row]))
            before = torch.arange(start - 1, start + length - 1)
            before[0] = len(prompt) - 1
            where.append(before + index * width)
            whose.append(torch.full((length,), row))
            start += length
    seen = (segment[:, None, :] == segment[:, :, None]) | (segment[:, None, :] == 0)
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    # A padded query looks at itself, so that no row of the softmax is empty.
    mask = (seen & causal & (segment[:, None, :] >= 0)) | torch.eye(width, dtype=torch.bool)
    return {
        "input_ids": _padded(rows, pad_token_id, "right"),
        "attention_mask": mask[:, None],
        "position_ids": position,
        "target_ids": torch.cat(ids),
        "target_positions": torch.cat(where),
        "target_rows": torch.cat(whose),
    }


@dataclass(frozen=True)
class Collator:
    """From rows of a tokenised table to the batch that `response_logps` reads, with prompts shared where exact."""

    pad_token_id: int
    encoder_decoder: bool
    share_prompts: bool = True

    def batch(self, table: datasets.Dataset, rows: Sequence[int]) -> dict[str, Tensor]:
        """The batch of `rows`, one value per row in that order."""
        return self.tensors(table[list(rows)])

    def tensors(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, Tensor]:
        """The batch of columns prompt_ids, response_ids and prompt_id."""
        prompts, responses = columns["prompt_ids"], columns["response_ids"]
        shape = {"pad_token_id": self.pad_token_id, "encoder_decoder": self.encoder_decoder}
        if self.share_prompts:
            return collate_shared(prompts, responses, columns["prompt_id"], **shape)
        return collate(prompts, responses, **shape)

    def scoring_batches(self, table: datasets.Dataset, rows: Sequence[int], batch_tokens: int) -> list[list[int]]:
        """`rows` in batches of like length, a prompt's rows together, padded size within `batch_tokens`."""
        part = table[list(rows)]
        lengths = [len(p) + len(r) for p, r in zip(part["prompt_ids"], part["response_ids"], strict=True)]
        groups: dict[int, list[tuple[int, int]]] = {}
        for row, prompt, length in zip(rows, part["prompt_id"], lengths, strict=True):
            groups.setdefault(prompt if self.share_prompts else row, []).append((length, row))
        batches: list[list[int]] = []
        widest = rows_in = 0
        for members in sorted(groups.values(), key=lambda group: -max(group)[0]):
            width = max(members)[0]
            if not batches or (rows_in + len(members)) * max(widest, width) > batch_tokens:
                batches.append([])
                widest = rows_in = 0
            batches[-1].extend(row for _, row in members)
            rows_in += len(members)
            widest = max(widest, width)
        return batches


class GroupBatches:
    """Batches of row numbers for a data loader: every row once per epoch, a prompt's rows together.

    The rows stand in one sequence, prompt after prompt, shuffled by seed and epoch; an optimiser step takes the next
    `step_rows` of it and a micro-batch the next `batch_size`, so that what a step sees does not depend on how it is cut
    up. Prompts are ordered such that they end where steps and micro-batches end, as far as their sizes allow.
    """

    drop_last = False

    def __init__(self, prompt_of: Sequence[int], *, batch_size: int, step_rows: int, seed: int | None, epoch: int = 0):
        """`seed` None keeps the order of the data."""
        self.batch_size, self.step_rows, self.seed, self.epoch = batch_size, step_rows, seed, epoch
        groups: dict[int, list[int]] = {}
        for row, prompt in enumerate(prompt_of):
            groups.setdefault(int(prompt), []).append(row)
        self._groups = list(groups.values())
        self._prompt_of = [int(prompt) for prompt in prompt_of]

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer; the order depends on it."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(len(self._prompt_of), self.step_rows)
        return whole * -(-self.step_rows // self.batch_size) + -(-rest // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        groups = list(self._groups)
        if self.seed is not None:
            random.Random(f"{self.seed}/{self.epoch}").shuffle(groups)
        rows = [row for group in aligned(groups, self.step_rows) for row in group]
        for start in range(0, len(rows), self.step_rows):
            step = self._by_micro_batch(rows[start : start + self.step_rows])
            for first in range(0, len(step), self.batch_size):
                yield step[first : first + self.batch_size]

    def _by_micro_batch(self, rows: list[int]) -> list[int]:
        """The rows of one step, their prompts ordered to end where micro-batches do."""
        parts: dict[int, list[int]] = {}
        for row in rows:
            parts.setdefault(self._prompt_of[row], []).append(row)
        return [row for part in aligned(list(parts.values()), self.batch_size) for row in part]


def aligned(groups: list[list[int]], capacity: int, window: int = 32) -> list[list[int]]:
    """`groups` reordered a little, so that group ends fall on multiples of `capacity` where their sizes allow.

    Of the next `window` groups the first is taken that leaves room which others of the window fill exactly; if none
    does, the first that fits; if none fits, the first, which then straddles. Groups that fit in order stay in order.
    """
    waiting, ordered, used = list(groups), [], 0
    while waiting:
        room = capacity - used % capacity
        sizes = [len(group) for group in waiting[:window]]
        exact = (index for index, size in enumerate(sizes) if _fills(sizes, index, room))
        index = next(exact, next((index for index, size in enumerate(sizes) if size <= room), 0))
        group = waiting.pop(index)
        ordered.append(group)
        used += len(group)
    return ordered


def _fills(sizes: list[int], index: int, room: int) -> bool:
    """Whether the group at `index`, with some of the others, fills `room` exactly."""
    rest = room - sizes[index]
    if rest <= 0:
        return rest == 0
    reachable = 1  # bit k: some of the others sum to k
    for other, size in enumerate(sizes):
        if other != index and size <= rest:
            reachable |= (reachable << size) & ((2 << rest) - 1)
            if reachable >> rest & 1:
                return True
    return False
