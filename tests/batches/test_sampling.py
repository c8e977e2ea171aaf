"""Which rows make a step and a micro-batch: every row once, prompts whole, lengths alike, equal work for every rank."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuefree.batches.sampling import GroupBatches, Lengths, aligned
from valuefree.errors import ConfigError

SIZES = [4, 3, 1, 2, 6]


def groups_of(sizes: list[int]) -> list[int]:
    return [prompt for prompt, size in enumerate(sizes) for _ in range(size)]


def test_every_row_once_per_epoch_and_another_order_in_the_next():
    batches = GroupBatches(groups_of(SIZES * 3), batch_size=3, micro_batches=2, seed=0)
    epochs = []
    for epoch in (0, 1, 0):
        batches.set_epoch(epoch)
        epochs.append([row for batch in batches for row in batch])
        assert len(list(batches)) == len(batches)
    assert all(sorted(rows) == list(range(48)) for rows in epochs)
    assert epochs[0] == epochs[2] != epochs[1]


def test_equal_groups_that_fit_are_never_cut():
    batches = GroupBatches(groups_of([4] * 10), batch_size=8, micro_batches=2, seed=5)
    assert all({row // 4 for row in batch} == {row // 4 for row in batch[::4]} for batch in batches)


def test_mixed_groups_are_cut_only_where_nothing_fits():
    """Sizes 2, 3, 5 and 6 with plenty of each fill batches of 8 without a cut but at the end of the epoch."""
    prompt_of = groups_of([3, 5, 2, 6] * 20)
    batches = [[prompt_of[row] for row in batch] for batch in GroupBatches(prompt_of, batch_size=8, seed=1)]
    cuts = [bool(set(a) & set(b)) for a, b in itertools.pairwise(batches)]
    assert sum(cuts) <= 2


def test_what_a_step_sees_does_not_depend_on_the_micro_batch():
    def steps(batch_size: int) -> list[set[int]]:
        sampler = GroupBatches(groups_of(SIZES), batch_size=batch_size, micro_batches=8 // batch_size, seed=2)
        rows = [row for batch in sampler for row in batch]
        return [set(rows[start : start + 8]) for start in range(0, 16, 8)]

    assert steps(1) == steps(2) == steps(4) == steps(8)


# ----------------------------------------------------------------------------------------------------------- lengths


def drawn_lengths(prompt_of: list[int], seed: int = 0) -> Lengths:
    draw = np.random.default_rng(seed)
    of_prompt = draw.integers(5, 200, max(prompt_of) + 1)
    return Lengths(of_prompt[prompt_of], draw.integers(5, 400, len(prompt_of)))


def padded(lengths: Lengths, batches) -> int:
    widths = [max(lengths.prompt[row] + lengths.response[row] for row in batch) * len(batch) for batch in batches]
    return int(sum(widths))


def test_grouping_by_length_spares_padding_and_still_shuffles():
    prompt_of = groups_of([1] * 4000)
    lengths = drawn_lengths(prompt_of)
    made = {
        strategy: GroupBatches(prompt_of, batch_size=8, micro_batches=2, seed=0, strategy=strategy, lengths=lengths)
        for strategy in ("random", "group_by_length")
    }
    sizes = {strategy: padded(lengths, sampler) for strategy, sampler in made.items()}
    real = int(lengths.prompt.sum() + lengths.response.sum())
    assert sizes["group_by_length"] < 1.1 * real < 1.3 * real < sizes["random"]
    grouped = made["group_by_length"]
    first = [row for batch in grouped for row in batch]
    grouped.set_epoch(1)
    second = [row for batch in grouped for row in batch]
    assert sorted(first) == sorted(second) == list(range(4000))
    assert first != second
    longest = [lengths.response[batch].max() for batch in grouped]
    assert longest != sorted(longest, reverse=True)


def test_sequential_keeps_the_order_of_the_data():
    sampler = GroupBatches(groups_of([2] * 6), batch_size=4, seed=3, strategy="sequential")
    assert [row for batch in sampler for row in batch] == list(range(12))
    with pytest.raises(ConfigError, match="needs lengths"):
        GroupBatches([0, 1], batch_size=1, strategy="group_by_length")


# ------------------------------------------------------------------------------------------------------ token budget


def budgeted(prompt_of, lengths, **options):
    def size(rows) -> int:
        return padded(lengths, [rows])

    return GroupBatches(prompt_of, lengths=lengths, size=size, **options)


def test_a_token_budget_is_kept_and_prompts_stay_whole():
    prompt_of = groups_of(SIZES * 20)
    lengths = drawn_lengths(prompt_of)
    sampler = budgeted(prompt_of, lengths, batch_size=16, batch_tokens=4000, seed=0, strategy="group_by_length")
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert sorted(row for batch in batches for row in batch) == list(range(len(prompt_of)))
    assert all(padded(lengths, [batch]) <= 4000 and len(batch) <= 16 for batch in batches)
    whole = [{prompt_of[row] for row in batch} for batch in batches]
    assert sum(len(prompts) for prompts in whole) == len(SIZES) * 20  # no prompt in two batches


def test_a_prompt_beyond_the_budget_is_cut_and_a_row_beyond_it_stands_alone():
    lengths = Lengths(np.array([10] * 5), np.array([40, 40, 40, 40, 400]))
    batches = list(budgeted([0, 0, 0, 0, 1], lengths, batch_size=8, batch_tokens=100, seed=None))
    assert sorted(map(sorted, batches)) == [[0, 1], [2, 3], [4]]


def test_the_number_of_batches_is_the_same_in_every_epoch_and_their_order_is_not():
    prompt_of = groups_of(SIZES * 20)
    sampler = budgeted(prompt_of, drawn_lengths(prompt_of), batch_size=16, batch_tokens=3000, seed=0)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
        assert len(epochs[-1]) == len(sampler)
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])


# -------------------------------------------------------------------------------------------------------------- ranks


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    batch_size=st.integers(1, 8),
    world_size=st.integers(1, 4),
    accumulation=st.integers(1, 3),
    whole=st.booleans(),
)
def test_ranks_share_all_rows_once_and_see_equally_many_batches(sizes, batch_size, world_size, accumulation, whole):
    ranks = [
        GroupBatches(
            groups_of(sizes),
            batch_size=batch_size,
            micro_batches=accumulation * world_size,
            seed=0,
            whole_groups=whole,
            rank=rank,
            world_size=world_size,
        )
        for rank in range(world_size)
    ]
    batches = [list(sampler) for sampler in ranks]
    assert {len(own) for own in batches} == {len(sampler) for sampler in ranks}
    rows = [row for own in batches for batch in own for row in batch if row >= 0]
    assert sorted(rows) == list(range(sum(sizes)))
    assert all(batch for own in batches for batch in own)
    assert all(len(batch) <= batch_size for own in batches for batch in own)
    if whole and max(sizes) <= batch_size:
        prompt_of = groups_of(sizes)
        held = [{prompt_of[row] for row in batch if row >= 0} for own in batches for batch in own]
        assert sum(map(len, held)) == len(sizes)  # no prompt straddles micro-batches


def test_micro_batches_that_do_not_divide_among_ranks_are_an_error():
    with pytest.raises(ConfigError, match="3 micro-batches per step do not divide among 2 processes"):
        GroupBatches([0], batch_size=1, micro_batches=3, world_size=2)


def test_aligned_keeps_every_group_and_the_order_of_those_that_fit():
    groups = [[0, 1], [2, 3, 4], [5], [6, 7]]
    # [0, 1] leaves two places, which [6, 7] fills; then [2, 3, 4] and [5]
    assert aligned(groups, 4) == [[0, 1], [6, 7], [2, 3, 4], [5]]
    assert aligned([[0, 1], [2, 3]], 4) == [[0, 1], [2, 3]]
