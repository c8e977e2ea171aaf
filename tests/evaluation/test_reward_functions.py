"""Reward functions by name, and reward models by folder."""

import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from valuefree.errors import ConfigError
from valuefree.evaluation.reward_functions import load_reward


def test_reward_function_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_rewards.py").write_text(
        "def words(prompts, responses):\n    return [len(r.split()) for r in responses]\n"
    )
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert load_reward("my_rewards:words")(["a"], ["one two"]) == [2]
    assert sys.path == path
    for wrong in ("my_rewards:none", "no_such_module:f", "math:pi"):
        with pytest.raises(ConfigError):
            load_reward(wrong)


def test_a_python_file_as_reward_function_is_told_its_module_and_functions(tmp_path, monkeypatch):
    """The file is parsed and not run: running it would divide by zero."""
    (tmp_path / "one_reward.py").write_text("def brief(prompts, responses):\n    return []\n\n1 / 0\n")
    monkeypatch.chdir(tmp_path)
    for spec in ("one_reward.py", "one_reward.py:brief"):
        with pytest.raises(ConfigError, match=r"write one_reward:FUNCTION. one_reward.py defines brief\."):
            load_reward(spec)
    (tmp_path / "two_rewards.py").write_text("def brief(): ...\n\n\ndef wordy(): ...\n")
    with pytest.raises(ConfigError, match=r"has no 'nope'.*two_rewards.py defines brief, wordy\."):
        load_reward("two_rewards:nope")


def test_reward_model_by_folder(tmp_path, tokenizer):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_labels=1,
        pad_token_id=0,
    )
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "rm")
    tokenizer.save_pretrained(tmp_path / "rm")
    score = load_reward(str(tmp_path / "rm"))
    scores = score(["the sea"] * 2, ["is wide", "and blue apples"])
    assert len(scores) == 2
    assert scores[0] != scores[1]
    assert score(["the sea"], ["is wide"])[0] == pytest.approx(scores[0], abs=1e-5)
    with pytest.raises(ConfigError, match="no such model folder"):
        load_reward(str(tmp_path / "nothing"))
