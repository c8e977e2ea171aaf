"""The demo's rows, its reward function, and the control with shuffled rewards. No torch."""

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import datasets

from valuefree.batches.grouping import groups_of
from valuefree.data import read_triplets
from valuefree.demo.verifiers import constraint_reward
from valuefree.errors import DataError
from valuefree.runs.files import read_jsonl

FEEDBACK = Path(__file__).with_name("feedback.jsonl")


@cache
def _tasks() -> dict[str, dict[str, Any]]:
    return {row["prompt"]: row for row in read_jsonl(FEEDBACK)}


def reward(prompts: Sequence[Any], responses: Sequence[str]) -> list[float]:
    """0.85 × share of the prompt's constraints that a response keeps + 0.15 if it is on topic; for the demo's prompts.

    Usable as ``--reward-function valuefree.demo.data:reward``.

    Raises:
        DataError: other prompts.
    """
    unknown = [prompt for prompt in prompts if prompt not in _tasks()]
    if unknown:
        raise DataError(f"{len(unknown)} prompts are not of the demo (first: {unknown[0]!r}).")
    pairs = zip((_tasks()[prompt] for prompt in prompts), responses, strict=True)
    return [constraint_reward(text.strip(), task["constraints"], task["topic_words"]) for task, text in pairs]


def feedback() -> datasets.Dataset:
    """The committed rows: 240 prompts with 4 answers of SmolLM2 each."""
    return read_triplets(FEEDBACK)


def take_prompts(rows: datasets.Dataset, count: int) -> datasets.Dataset:
    """The rows of the first `count` prompts."""
    return rows.select([row for row, prompt in enumerate(rows["prompt_id"]) if prompt < count])


def shuffle_rewards(rows: datasets.Dataset, *, seed: int) -> datasets.Dataset:
    """The same rows with the rewards permuted within each prompt; the prompts' mean rewards stay.

    The rewards of prompts with one response are permuted among these prompts.
    """
    generator = random.Random(seed)
    rewards = list(rows["reward"])
    shuffled = list(rewards)
    groups = groups_of(rows["prompt_id"])
    lone = [row for group in groups if len(group) == 1 for row in group]
    for group in [group for group in groups if len(group) > 1] + [lone]:
        for row, source in zip(group, generator.sample(group, len(group)), strict=True):
            shuffled[row] = rewards[source]
    columns = {name: rows[name] for name in rows.column_names}
    return datasets.Dataset.from_dict(columns | {"reward": shuffled})
