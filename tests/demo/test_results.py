"""Pooling runs: clustering by prompt, pairing with the control, the page and the README."""

import pytest

from valuefree.demo.results import pooled, table, true_minus_shuffled, write_between
from valuefree.errors import DataError


def run(seed, policy, reference=(0.0, 0.0), held_out=("a", "b"), shuffled=False):
    estimate = {"value": 0.5, "interval": (0.4, 0.6), "n": 2}
    return {
        "seed": seed,
        "shuffled": shuffled,
        "seconds": 100.0,
        "evaluation": {
            "policy_rewards": list(policy),
            "reference_rewards": list(reference),
            "held_out": list(held_out),
            "policy": estimate,
            "reference": estimate,
            "gain": estimate,
            "kl": estimate,
            "outcomes": {"wins": 1, "ties": 0, "losses": 1},
            "reference_length": 20.0,
            "policy_length": 15.0,
        },
    }


def test_a_prompt_held_out_twice_is_one_observation():
    """Prompt b gains 1 and 3 in two runs, a gains 0, c gains 4: means 0, 2, 4."""
    result = pooled([run(0, (0, 1)), run(1, (3, 4), held_out=("b", "c"))])
    assert (result.n, result.value) == (3, 2.0)


def test_true_minus_shuffled_is_paired_by_seed_and_prompt():
    true = [run(0, (1, 2)), run(1, (5, 5))]
    shuffled = [run(1, (4, 5), shuffled=True), run(0, (0, 2), shuffled=True)]
    assert true_minus_shuffled(true, shuffled).value == pytest.approx(0.5)
    with pytest.raises(DataError, match="same prompts"):
        true_minus_shuffled(true, [run(s, (0, 0), held_out=("a", "z"), shuffled=True) for s in (0, 1)])


def test_the_table_has_every_run_and_the_three_pooled_rows():
    text = table([run(1, (1, 2)), run(0, (1, 1)), run(0, (0, 1), shuffled=True)])
    rows = text.splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:5]] == ["seed 0", "seed 1", "seed 0, rewards shuffled"]
    assert "true rewards (2 seeds)" in text
    assert "true minus shuffled (1 seeds)" in text


def test_text_goes_between_the_markers(tmp_path):
    file = tmp_path / "page.md"
    file.write_text("top\n<!-- demo:begin -->\nold\n<!-- demo:end -->\nend\n")
    write_between(file, "new")
    assert file.read_text() == "top\n<!-- demo:begin -->\nnew\n<!-- demo:end -->\nend\n"
    file.write_text("nothing")
    with pytest.raises(DataError, match="markers"):
        write_between(file, "new")
