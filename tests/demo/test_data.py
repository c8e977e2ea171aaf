"""The committed feedback is what the tasks and verifiers say it is; and the control."""

import json
from collections import defaultdict

import datasets
import pytest

from scripts.demo_feedback import make_tasks
from valuefree.demo.data import FEEDBACK, feedback, reward, shuffle_rewards, take_prompts
from valuefree.errors import DataError


def test_committed_rewards_are_recomputed_from_the_texts():
    rows = feedback()
    assert reward(rows["prompt"], rows["response"]) == pytest.approx(rows["reward"])


def test_size():
    rows = [json.loads(line) for line in FEEDBACK.read_text(encoding="utf-8").splitlines()]
    assert FEEDBACK.stat().st_size < 2**20
    assert [row["prompt"] for row in rows] == [task.prompt for task in make_tasks()]
    assert min(len(row["responses"]) for row in rows) >= 4


def test_shuffling_permutes_within_each_prompt():
    rows = feedback()
    shuffled = shuffle_rewards(rows, seed=0)
    before, after = defaultdict(list), defaultdict(list)
    for one, two in zip(rows, shuffled, strict=True):
        assert one["response"] == two["response"]
        before[one["prompt_id"]].append(one["reward"])
        after[two["prompt_id"]].append(two["reward"])
    assert {k: sorted(v) for k, v in before.items()} == {k: sorted(v) for k, v in after.items()}
    assert before != after


def test_shuffling_permutes_lone_rewards_among_their_prompts():
    ids, rewards = [0, 1, 1, *range(2, 22)], [0.5, 1.0, 2.0, *map(float, range(10, 30))]
    rows = datasets.Dataset.from_dict({"prompt_id": ids, "reward": rewards})
    shuffled = shuffle_rewards(rows, seed=0)["reward"]
    lone = [0, *range(3, 23)]
    assert sorted(shuffled[1:3]) == [1.0, 2.0]
    assert sorted(shuffled[row] for row in lone) == [0.5, *map(float, range(10, 30))]
    assert sum(shuffled[row] != rewards[row] for row in lone) > 10


def test_take_prompts():
    assert set(take_prompts(feedback(), 7)["prompt_id"]) == set(range(7))


def test_a_strange_prompt_has_no_reward():
    with pytest.raises(DataError, match="not of the demo"):
        reward(["What is love?"], ["Baby"])
