"""Sample the rows of each optimiser step and split them into micro-batches, by prompt, length, tokens and rank."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from valuefree.batches.grouping import groups_of, rows_of_prompts
from valuefree.errors import ConfigError

Strategy = Literal["random", "sequential", "group_by_length"]
Size = Callable[[Sequence[int]], int]  # row numbers → their positions in the linear layers, including padding
WINDOW_GROUPS = 32  # prompts among which the sampler searches for those that fill a batch exactly
WINDOW_STEPS = 50  # steps whose prompts are sorted by length together, as in transformers' length grouping


@dataclass(frozen=True)
class Lengths:
    """Numbers of tokens of each row's prompt and response, shape (R,)."""

    prompt: np.ndarray
    response: np.ndarray

    def of_groups(self, rows_of: Sequence[np.ndarray]) -> np.ndarray:
        """Sort key of each prompt, shape (P,): the length of the prompt plus that of its longest response."""
        return np.array([int(self.prompt[rows[0]]) + int(self.response[rows].max()) for rows in rows_of])


class GroupBatches:
    """Batches of row numbers for a data loader: every row once per epoch, a prompt's rows together.

    An optimiser step has `batch_size` × `micro_batches` rows, and its rows do not depend on how they are split into
    micro-batches. All prompts form one sequence, ordered so that the ends of steps and micro-batches coincide with
    ends of prompts as far as the sizes of the prompts allow. `strategy` sets the order: shuffled by seed and epoch
    (random), as in the data (sequential), or shuffled, then sorted by length within windows of `WINDOW_STEPS` steps,
    and the steps shuffled again (group_by_length).

    With `whole_groups` or `batch_tokens`, a micro-batch holds whole prompts only. It is closed before it would exceed
    `batch_size` rows or `batch_tokens` positions, so the number of rows varies between steps. The seed alone then
    determines which rows share a micro-batch; the epoch changes only the order of the micro-batches. A prompt that
    exceeds a limit by itself is split.

    With several processes, `micro_batches` counts those of all ranks, and each rank takes its share. All ranks see
    equally many micro-batches: when the rows run out, a rank gets a negative number ~i, which runs row i with weight
    zero.
    """

    drop_last = False

    def __init__(
        self,
        prompt_of: Sequence[int] | np.ndarray,
        *,
        batch_size: int,
        micro_batches: int = 1,
        seed: int | None = 0,
        strategy: Strategy = "random",
        lengths: Lengths | None = None,
        size: Size | None = None,
        batch_tokens: int | None = None,
        whole_groups: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ):
        if micro_batches % world_size:
            raise ConfigError(f"{micro_batches} micro-batches per step do not divide among {world_size} processes.")
        if strategy == "group_by_length" and lengths is None:
            raise ConfigError("strategy='group_by_length' needs lengths.")
        if batch_tokens is not None and size is None:
            raise ConfigError("batch_tokens needs size, the function that counts the positions of a batch.")
        self.batch_size, self.micro_batches, self.seed, self.epoch = batch_size, micro_batches, seed, 0
        self.strategy, self.size, self.batch_tokens = strategy, size, batch_tokens
        self.rank, self.world_size = rank, world_size
        self._prompt_of = np.asarray(prompt_of, dtype=np.int64)
        groups = rows_of_prompts(self._prompt_of)
        first_rows = np.fromiter((rows[0] for rows in groups), dtype=np.int64, count=len(groups))
        self._groups = [groups[index] for index in np.argsort(first_rows)]  # prompts by first appearance
        self._lengths = lengths.of_groups(self._groups) if lengths is not None else None
        self._bins = self._binned() if whole_groups or batch_tokens is not None else None

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the order; the trainer calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of micro-batches of one rank."""
        if self._bins is not None:
            return -(-len(self._bins) // self.world_size)
        whole, rest = divmod(len(self._prompt_of), self.batch_size * self.micro_batches)
        last = -(-rest // self.batch_size)
        return whole * self.micro_batches // self.world_size + -(-last // self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Row numbers of each micro-batch of this rank."""
        for micro_batches in self._concurrent():
            yield micro_batches[self.rank] if self.rank < len(micro_batches) else [~micro_batches[0][0]]

    def _concurrent(self) -> Iterator[list[list[int]]]:
        """Micro-batches that the ranks run at the same time, at most one per rank."""
        if self._bins is not None:
            rounds = list(_chunked(self._bins, self.world_size))
            self._shuffle(rounds, self.epoch)
            yield from rounds
            return
        for step in self._steps():
            yield from _chunked(list(_chunked(step, self.batch_size)), self.world_size)

    # ------------------------------------------------------------------------------------------------------- order

    def _shuffle(self, items: list, epoch: int | None) -> None:
        if self.seed is not None and self.strategy != "sequential":
            random.Random(self.seed if epoch is None else f"{self.seed}/{epoch}").shuffle(items)

    def _ordered(self, epoch: int | None) -> list[list[int]]:
        """The rows of each prompt, prompts in the order of the strategy; with `epoch` None, the same in every epoch."""
        numbers = list(range(len(self._groups)))
        self._shuffle(numbers, epoch)
        lengths = self._lengths
        if self.strategy == "group_by_length" and lengths is not None:
            rows_per_prompt = len(self._prompt_of) / max(len(numbers), 1)
            window = max(int(WINDOW_STEPS * self.batch_size * self.micro_batches / rows_per_prompt), 1)
            windows = _chunked(numbers, window)
            numbers = [
                number for part in windows for number in sorted(part, key=lambda n, lengths=lengths: -int(lengths[n]))
            ]
        return [self._groups[number].tolist() for number in numbers]

    def _steps(self) -> Iterator[list[int]]:
        step_rows = self.batch_size * self.micro_batches
        rows = [row for group in aligned(self._ordered(self.epoch), step_rows) for row in group]
        steps = list(_chunked(rows, step_rows))
        if self.strategy == "group_by_length":
            rest = [steps.pop()] if steps and len(steps[-1]) < step_rows else []
            self._shuffle(steps, self.epoch)
            steps += rest
        for step in steps:
            yield self._by_micro_batch(step)

    def _by_micro_batch(self, rows: list[int]) -> list[int]:
        """The rows of one step, with prompts ordered so that they end where micro-batches end."""
        groups = groups_of(self._prompt_of[rows].tolist())
        return [rows[index] for group in aligned(groups, self.batch_size) for index in group]

    def _binned(self) -> list[list[int]]:
        """Micro-batches of whole prompts within the limits.

        Of the next prompts that fit, one is preferred that fills all remaining rows exactly together with others.
        """
        coming = (piece for group in self._ordered(None) for piece in self._pieces(group))
        waiting = list(itertools.islice(coming, WINDOW_GROUPS))
        bins: list[list[int]] = []
        while waiting:
            room = self.batch_size - len(bins[-1]) if bins else 0
            sizes = [len(group) for group in waiting]
            fit = [n for n, group in enumerate(waiting) if sizes[n] <= room and self._fits([*bins[-1], *group])]
            if not fit:
                bins.append([])
                fit, room = list(range(len(waiting))), self.batch_size
            index = next((n for n in fit if _fills(sizes, n, room)), fit[0])
            bins[-1].extend(waiting.pop(index))
            waiting += itertools.islice(coming, 1)
        return bins

    def _pieces(self, group: list[int]) -> list[list[int]]:
        """The group, split if it exceeds a limit by itself; a single row is never split."""
        if self._fits(group):
            return [group]
        pieces = [group[:1]]
        for row in group[1:]:
            if self._fits([*pieces[-1], row]):
                pieces[-1].append(row)
            else:
                pieces.append([row])
        return pieces

    def _fits(self, rows: list[int]) -> bool:
        if len(rows) > self.batch_size:
            return False
        return self.batch_tokens is None or self.size is None or self.size(rows) <= self.batch_tokens


def _chunked(items: list, size: int) -> Iterator[list]:
    return (items[start : start + size] for start in range(0, len(items), size))


def aligned(groups: list[list[int]], capacity: int, window: int = WINDOW_GROUPS) -> list[list[int]]:
    """`groups` in a slightly different order, so that groups end at multiples of `capacity` where their sizes allow.

    The next group is chosen among the next `window` groups: the first one after which other groups of the window can
    fill the remaining room exactly; else the first one that fits; else the first one, which then crosses a multiple.
    Groups that fit in the given order keep it.
    """
    coming = iter(groups)
    waiting = list(itertools.islice(coming, window))
    ordered: list[list[int]] = []
    used = 0
    while waiting:
        room = capacity - used % capacity
        sizes = [len(group) for group in waiting]
        exact = (index for index, size in enumerate(sizes) if _fills(sizes, index, room))
        index = next(exact, next((index for index, size in enumerate(sizes) if size <= room), 0))
        group = waiting.pop(index)
        waiting += itertools.islice(coming, 1)
        ordered.append(group)
        used += len(group)
    return ordered


def _fills(sizes: list[int], index: int, room: int) -> bool:
    """Whether the group at `index`, together with some of the others, fills `room` exactly."""
    rest = room - sizes[index]
    if rest <= 0:
        return rest == 0
    reachable = 1  # bit k is set if some of the other sizes sum to k
    for other, size in enumerate(sizes):
        if other != index and size <= rest:
            reachable |= (reachable << size) & ((2 << rest) - 1)
            if reachable >> rest & 1:
                return True
    return False
