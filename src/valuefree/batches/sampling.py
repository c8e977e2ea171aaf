"""Which rows make an optimiser step, and how they are cut into micro-batches: by prompt, length, tokens and rank."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from valuefree.errors import ConfigError

Strategy = Literal["random", "sequential", "group_by_length"]
WINDOW_GROUPS = 32  # prompts looked at to fill a batch exactly
WINDOW_STEPS = 50  # steps whose prompts are sorted by length together, as many as transformers' length grouping takes


class Size(Protocol):
    """Positions that a batch of rows takes in the linear layers, padding included."""

    def __call__(self, rows: Sequence[int], /) -> int:
        """Of these row numbers."""
        ...


@dataclass(frozen=True)
class Lengths:
    """Tokens of each row's prompt and response, shape (R,)."""

    prompt: np.ndarray
    response: np.ndarray

    def of_groups(self, rows_of: Sequence[np.ndarray]) -> np.ndarray:
        """Length by which prompts are sorted, shape (P,): of the prompt and of its longest response."""
        return np.array([int(self.prompt[rows[0]]) + int(self.response[rows].max()) for rows in rows_of])


class GroupBatches:
    """Batches of row numbers for a data loader: every row once per epoch, a prompt's rows together.

    An optimiser step is `batch_size` × `micro_batches` rows, and what it sees does not depend on how it is cut up: the
    prompts stand in one sequence, ordered such that they end where steps and micro-batches end, as far as their sizes
    allow. `strategy` says in which order they come: shuffled by seed and epoch, as in the data, or shuffled and then
    sorted by length within windows of some steps, whose order is shuffled again.

    With `whole_groups`, or with `batch_tokens`, a micro-batch holds whole prompts only: it is closed before it would
    pass `batch_size` rows or `batch_tokens` positions, so that steps differ in their number of rows. Which rows share
    a micro-batch then depends on the seed alone, and their order on the epoch. A prompt that passes a limit by itself
    is cut.

    Over several processes, `micro_batches` counts those of all ranks, and each rank takes its share. All ranks see
    equally many micro-batches; where rows run out, one holds a row number ~row < 0: it is run, and does not count.
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
            raise ConfigError("batch_tokens needs size, which says how many positions a batch takes.")
        self.batch_size, self.micro_batches, self.seed, self.epoch = batch_size, micro_batches, seed, 0
        self.strategy, self.size, self.batch_tokens = strategy, size, batch_tokens
        self.rank, self.world_size = rank, world_size
        self._prompt_of = np.asarray(prompt_of, dtype=np.int64)
        order = np.argsort(self._prompt_of, kind="stable")
        ends = np.flatnonzero(np.diff(self._prompt_of[order], append=-1)) + 1
        first_seen = np.argsort(order[np.concatenate([[0], ends[:-1]])]) if len(ends) else ends
        groups = np.split(order, ends[:-1])
        self._groups = [groups[index] for index in first_seen]
        self._lengths = lengths.of_groups(self._groups) if lengths is not None else None
        self._bins = self._binned() if whole_groups or batch_tokens is not None else None

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer; the order depends on it."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Micro-batches of one rank."""
        if self._bins is not None:
            return -(-len(self._bins) // self.world_size)
        whole, rest = divmod(len(self._prompt_of), self.batch_size * self.micro_batches)
        last = -(-rest // self.batch_size)
        return whole * self.micro_batches // self.world_size + -(-last // self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Row numbers of each micro-batch of this rank."""
        for slot in self._slots():
            yield slot[self.rank] if self.rank < len(slot) else [~slot[0][0]]

    def _slots(self) -> Iterator[list[list[int]]]:
        """What the ranks run at the same time, at most one micro-batch each."""
        if self._bins is not None:
            slots = [self._bins[at : at + self.world_size] for at in range(0, len(self._bins), self.world_size)]
            self._shuffle(slots, self.epoch)
            yield from slots
            return
        for step in self._steps():
            parts = [step[at : at + self.batch_size] for at in range(0, len(step), self.batch_size)]
            for at in range(0, len(parts), self.world_size):
                yield parts[at : at + self.world_size]

    # ------------------------------------------------------------------------------------------------------- order

    def _shuffle(self, items: list, epoch: int | None) -> None:
        if self.seed is not None and self.strategy != "sequential":
            random.Random(self.seed if epoch is None else f"{self.seed}/{epoch}").shuffle(items)

    def _ordered(self, epoch: int | None) -> list[list[int]]:
        """The rows of each prompt, the prompts in the order of the strategy; `epoch` None for the same in every."""
        numbers = list(range(len(self._groups)))
        self._shuffle(numbers, epoch)
        if self.strategy == "group_by_length" and self._lengths is not None:
            rows_per_prompt = len(self._prompt_of) / max(len(numbers), 1)
            window = max(int(WINDOW_STEPS * self.batch_size * self.micro_batches / rows_per_prompt), 1)
            parts = [numbers[at : at + window] for at in range(0, len(numbers), window)]
            numbers = [n for part in parts for n in sorted(part, key=lambda n: -int(self._lengths[n]))]  # type: ignore[index]
        return [self._groups[number].tolist() for number in numbers]

    def _steps(self) -> Iterator[list[int]]:
        step_rows = self.batch_size * self.micro_batches
        rows = [row for group in aligned(self._ordered(self.epoch), step_rows) for row in group]
        steps = [rows[at : at + step_rows] for at in range(0, len(rows), step_rows)]
        if self.strategy == "group_by_length":
            rest = [steps.pop()] if steps and len(steps[-1]) < step_rows else []
            self._shuffle(steps, self.epoch)
            steps += rest
        for step in steps:
            yield self._by_micro_batch(step)

    def _by_micro_batch(self, rows: list[int]) -> list[int]:
        """The rows of one step, their prompts ordered to end where micro-batches do."""
        parts: dict[int, list[int]] = {}
        for row in rows:
            parts.setdefault(int(self._prompt_of[row]), []).append(row)
        return [row for part in aligned(list(parts.values()), self.batch_size) for row in part]

    def _binned(self) -> list[list[int]]:
        """Whole prompts until a limit; of the next ones that fit, rather one with which others fill all rows."""
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
        """The group, cut where it passes a limit by itself; a row alone is never cut."""
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


def aligned(groups: list[list[int]], capacity: int, window: int = WINDOW_GROUPS) -> list[list[int]]:
    """`groups` reordered a little, so that group ends fall on multiples of `capacity` where their sizes allow.

    Of the next `window` groups the first is taken that leaves room which others of the window fill exactly; if none
    does, the first that fits; if none fits, the first, which then straddles. Groups that fit in order stay in order.
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
