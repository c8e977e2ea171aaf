"""The grammar and its reward, worked by hand."""

import random

import pytest

from studies.small.grammar import WORDS, all_requests, parts, read_prompt, reward, write_response
from studies.small.models import KINDS, make_tokenizer
from studies.small.scale import Scale
from studies.small.world import prompts_of
from valuefree.errors import DataError

PROMPT = "short calm note about sea and boat :"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        # 8 words and a stop; both nouns; both adjectives calm; 6 content words, all different
        (
            "the quiet sea waits and the soft boat moves .",
            {"keywords": 1, "mood": 1, "length": 1, "distinct": 1, "stop": 1},
        ),
        # 7 words: one outside the window; one noun of two; no stop; waits twice among 5 content words
        (
            "the loud sea waits waits and slowly",
            {"keywords": 0.5, "mood": 0, "length": 0.8, "distinct": 0.8, "stop": 0},
        ),
        # 15 words: five outside; the stop stands twice; one adjective of three is calm; 10 content words, 9 different
        (
            "the grey hill falls . and the soft boat moves but the cold hill sings today .",
            {"keywords": 0.5, "mood": 1 / 3, "length": 0, "distinct": 9 / 10, "stop": 0},
        ),
        ("", {"keywords": 0, "mood": 0, "length": 0, "distinct": 0, "stop": 0}),
    ],
)
def test_parts_by_hand(response, expected):
    assert parts(PROMPT, response) == pytest.approx(expected)


def test_reward_is_the_weighted_sum_of_its_parts():
    best, middling = "the quiet sea waits and the soft boat moves .", "the loud sea waits waits and slowly"
    # .3 × .5 + .2 × .8 + .15 × .8
    assert reward([PROMPT, PROMPT], [best, middling]) == pytest.approx([1.0, 0.43])


def test_a_prompt_says_what_it_asks_for_and_a_stranger_is_an_error():
    for request in all_requests():
        assert read_prompt(str(request)) == request
    for text in ("", "short calm note about sea and sky :", PROMPT + " :", "short calm note on sea and boat :"):
        with pytest.raises(DataError, match="is not a prompt of the small world"):
            read_prompt(text)


def test_no_prompt_has_two_uses():
    uses = prompts_of(Scale())
    everything = [prompt for prompts in uses.values() for prompt in prompts]
    assert len(everything) == len(set(everything)) == len(all_requests())
    assert len(uses["test"]) == Scale().test_pool
    assert len(uses["validation"]) == Scale().test_prompts


def test_the_grammar_says_known_words_and_its_rewards_are_spread():
    generator = random.Random(0)
    requests = all_requests()[::7]
    texts = [write_response(request, generator) for request in requests]
    assert {word for text in texts for word in text.split()} <= {*WORDS}
    rewards = reward([str(request) for request in requests], texts)
    assert len({round(value, 6) for value in rewards}) > len(rewards) / 2
    assert 0.3 < min(rewards) + 0.2 < max(rewards) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_is_a_token_and_comes_back(kind):
    tokenizer = make_tokenizer(kind)
    text = "the quiet sea waits and the soft boat moves ."
    ids = tokenizer(text)["input_ids"]
    assert len(tokenizer) < 200
    assert len(ids) == len(text.split()) + (kind == "t5")
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text
