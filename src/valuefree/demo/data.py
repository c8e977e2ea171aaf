"""The demo's rows, its reward function, and the control that takes the rewards' meaning away. No torch."""

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import datasets

from valuefree.data import read_triplets
from valuefree.demo.tasks import Task, make_tasks
from valuefree.demo.verifiers import constraint_reward
from valuefree.errors import DataError

FEEDBACK = Path(__file__).with_name("feedback.jsonl")


@cache
def _tasks() -> dict[str, Task]:
    return {task.prompt: task for task in make_tasks()}


def reward(prompts: Sequence[Any], responses: Sequence[str]) -> list[float]:
    """Checked share of the constraints, and a little for staying on topic; for the demo's own prompts.

    Usable as ``--reward-function valuefree.demo.data:reward``.
    """
    strangers = [prompt for prompt in prompts if prompt not in _tasks()]
    if strangers:
        raise DataError(f"{len(strangers)} prompts are not of the demo (first: {strangers[0]!r}).")
    pairs = zip((_tasks()[prompt] for prompt in prompts), responses, strict=True)
    return [constraint_reward(text.strip(), task.constraints, task.topic_words) for task, text in pairs]


def feedback() -> datasets.Dataset:
    """The committed rows: 240 prompts with 4 answers of SmolLM2 each."""
    return read_triplets(FEEDBACK)


def take_prompts(rows: datasets.Dataset, count: int) -> datasets.Dataset:
    """The rows of the first `count` prompts."""
    return rows.select([row for row, prompt in enumerate(rows["prompt_id"]) if prompt < count])


def shuffle_rewards(rows: datasets.Dataset, *, seed: int) -> datasets.Dataset:
    """The same rows with the rewards permuted within each prompt; the prompts' mean rewards stay."""
    generator = random.Random(seed)
    members: dict[int, list[int]] = {}
    for row, prompt in enumerate(rows["prompt_id"]):
        members.setdefault(prompt, []).append(row)
    rewards = list(rows["reward"])
    shuffled = list(rewards)
    for group in members.values():
        for row, source in zip(group, generator.sample(group, len(group)), strict=True):
            shuffled[row] = rewards[source]
    columns = {name: rows[name] for name in rows.column_names}
    return datasets.Dataset.from_dict(columns | {"reward": shuffled})
