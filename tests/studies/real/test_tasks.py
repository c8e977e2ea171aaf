"""Tasks of the study on real models: prompts that are distinct, and rewards worked by hand."""

import pytest

from studies.real.rows import KEPT, rows_of
from studies.real.tasks import NAMES, task_named
from valuefree.errors import ConfigError
from valuefree.runs.files import read_jsonl


@pytest.mark.parametrize("name", [name for name in NAMES if name != "toxicity"])
def test_a_task_has_240_prompts_and_nothing_for_an_empty_response(name):
    task = task_named(name)
    prompts = task.prompts()
    assert len(prompts) == len(set(prompts)) == 240
    assert task.reward(prompts[:1], [""]) == [0.0]


def test_an_unknown_task_is_named():
    with pytest.raises(ConfigError, match="unknown task 'chess'; choose from constraints"):
        task_named("chess")


def test_a_cheerful_text_is_better_than_a_gloomy_one():
    good, neutral, bad = task_named("sentiment").reward([""] * 3, ["I love it!", "It is a table.", "I hate it."])
    assert good > neutral == 0.5 > bad


def test_the_reading_level_is_the_automated_readability_index():
    """8 words of 3 letters: 4.71·3 + 0.5·8 − 21.43 = −3.3, held at 1; 8 words of 8 letters: 20.25, held at 0."""
    reward = task_named("reading").reward
    assert reward([""], ["the cat saw the dog and ran off."]) == [1.0]
    assert reward([""], ["abcdefgh " * 7 + "abcdefgh."]) == [0.0]
    assert reward([""], ["Only five words are here."]) == [0.0]


def test_brevity_pays_for_the_answer_and_takes_for_words():
    """All 6 words of the reference answer at .01 each, and 4 of 6 in a wrong answer with 6 words."""
    (prompt, *_) = task_named("brevity").prompts()
    assert prompt == "What is the capital of France?"
    right, wrong = task_named("brevity").reward(
        [prompt] * 2, ["The capital of France is Paris.", "The capital of Spain is Madrid."]
    )
    assert right == pytest.approx(1 - 0.06)
    assert wrong == pytest.approx(4 / 6 - 0.06)


def test_an_insult_is_worse_than_a_greeting():
    pytest.importorskip(
        "profanity_check", reason="alt-profanity-check is no dependency, since it wants one version of scikit-learn"
    )
    insult, greeting = task_named("toxicity").reward([""] * 2, ["You are a stupid idiot.", "Have a nice day."])
    assert insult < 0.1 < 0.9 < greeting


@pytest.mark.parametrize("file", sorted(KEPT.rglob("*.jsonl")), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_rewards_of_the_kept_rows_are_recomputed_from_their_texts(file):
    lines, task = list(read_jsonl(file)), task_named(file.stem.split("-")[0])
    assert [line["prompt"] for line in lines] == task.prompts()
    answers = [(line["prompt"], answer) for line in lines for answer in line["responses"]]
    rewards = task.reward([prompt for prompt, _ in answers], [answer["text"] for _, answer in answers])
    assert rewards == pytest.approx([answer["reward"] for _, answer in answers], abs=1e-6)


def test_rows_by_regime(monkeypatch):
    own = [
        {"prompt": "a", "responses": [{"text": t, "reward": r} for t, r in zip("pqrs", (1, 2, 3, 4), strict=True)]},
        {"prompt": "b", "responses": [{"text": t, "reward": r} for t, r in zip("tu w", (5, 6, 7, 8), strict=True)]},
    ]
    other = [{"prompt": p, "responses": [{"text": "other", "reward": 9}] * 4} for p in "ab"]
    files = {"own": own, "hinted": other}
    monkeypatch.setattr("studies.real.rows.read_jsonl", lambda file: files[str(file).split("-")[-1][:-6]])
    assert [row["response"] for row in rows_of("x", "on-policy")] == list("pqrstuw")  # an empty response is left out
    assert [(row["response"], row["reward"]) for row in rows_of("x", "thumbs")] == [
        ("p", 0.0),
        ("t", 1.0),
    ]  # median 4.5
    assert [row["response"] for row in rows_of("x", "off-policy")] == ["p", "q", "other", "other", "t", "u"] + [
        "other"
    ] * 2
