"""A signal while reference scores are computed, responses drawn or rewarded: exit code, and what is kept."""

import json
import os
import signal
import sys
from types import ModuleType

import pytest

from conftest import make_llama
from valuefree.cli import main as cli
from valuefree.cli import stopping
from valuefree.cli.commands import responses_file
from valuefree.cli.stopping import SIGNALS, ended_by_signal
from valuefree.demo.data import feedback, take_prompts
from valuefree.runs.checkpoints import checkpoints_in, step_of
from valuefree.training import reference_scores

pytestmark = pytest.mark.usefixtures("own_signal_handlers")
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
QUICK = ["--test-prompts", "4", "--max-steps", "3", "--max-length", "96", "--max-new-tokens", "4", "--kl-prompts", "0"]


@pytest.fixture
def folder(tmp_path, tokenizer):
    make_llama(tokenizer).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    rows = take_prompts(feedback(), 12)
    columns = ("prompt", "response", "reward")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({k: row[k] for k in columns}) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def reward(monkeypatch):
    """A reward function that sends a signal in its call number `at`; its name on the command line."""
    module = ModuleType("signalling")
    module.at, module.number, module.calls = 0, signal.SIGTERM, 0

    def length(prompts, responses):
        module.calls += 1
        if module.calls == module.at:
            os.kill(os.getpid(), module.number)
        return [float(len(text)) for text in responses]

    module.length = length
    monkeypatch.setitem(sys.modules, "signalling", module)
    return module


def code_of(arguments):
    with pytest.raises(SystemExit) as ended, ended_by_signal():
        cli.exit_with_message(lambda: cli.run(arguments), name="valuefree")
    return ended.value.code


@pytest.mark.parametrize("number", SIGNALS)
def test_train_stopped_while_it_scores_leaves_no_folder(number, folder, monkeypatch):
    monkeypatch.setattr(reference_scores, "response_logps", lambda *_, **__: os.kill(os.getpid(), number))
    arguments = ["train", str(folder / "rows.jsonl"), "--model", str(folder / "base"), *QUICK]
    assert code_of([*arguments, "--out", str(folder / "run")]) == CODES[number]
    assert not (folder / "run").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_train_stopped_while_it_rewards_goes_on_after_the_last_step(number, folder, reward, monkeypatch, capsys):
    """The first call tries the function before training, the second is of the policy's responses."""
    arguments = ["train", str(folder / "rows.jsonl"), "--model", str(folder / "base"), *QUICK]
    arguments += ["--reward-function", "signalling:length", "--out", str(folder / "run")]
    reward.at, reward.number = 2, number
    assert code_of(arguments) == CODES[number]
    assert [step_of(path) for path in checkpoints_in(folder / "run" / "checkpoints")] == [3]
    assert not (folder / "run" / "metrics.json").exists()
    monkeypatch.setattr(stopping, "_received", [])
    reward.at = 0
    cli.run([*arguments, "--resume"])
    assert json.loads((folder / "run" / "metrics.json").read_text())["evaluation"]["policy_rewards"]
    assert not list((folder / "run").glob(".lock*"))


@pytest.mark.parametrize("number", SIGNALS)
def test_generate_stopped_while_it_samples_writes_no_file(number, folder, monkeypatch):
    monkeypatch.setattr(responses_file, "generate_ids", lambda *_, **__: os.kill(os.getpid(), number))
    arguments = ["generate", str(folder / "rows.jsonl"), "--model", str(folder / "base")]
    assert code_of([*arguments, "--out", str(folder / "responses.jsonl")]) == CODES[number]
    assert not (folder / "responses.jsonl").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_sample_stopped_while_it_rewards_keeps_the_samples(number, folder, reward):
    arguments = ["sample", str(folder / "rows.jsonl"), "--model", str(folder / "base"), "--samples", "1"]
    arguments += ["--max-new-tokens", "4", "--score", "signalling:length", "--overwrite"]
    arguments += ["--out", str(folder / "samples.jsonl")]
    reward.at, reward.number = 1, number
    assert code_of(arguments) == CODES[number]
    assert len((folder / "samples.jsonl").read_text().splitlines()) == 12


@pytest.mark.parametrize("number", SIGNALS)
def test_evaluate_stopped_while_it_rewards_leaves_no_lock(number, folder, reward):
    arguments = ["evaluate", str(folder / "rows.jsonl"), "--model", str(folder / "base"), "--max-new-tokens", "4"]
    arguments += ["--reference", str(folder / "base"), "--reward-function", "signalling:length"]
    reward.at, reward.number = 2, number
    assert code_of([*arguments, "--out", str(folder / "evaluated")]) == CODES[number]
    assert not (folder / "evaluated").exists()
