"""Responses written in parts: a stopped run goes on, gives what an undisturbed one gives, and harms no file."""

import json
import logging

import pytest

from conftest import make_llama
from valuefree.cli import main as cli
from valuefree.cli.commands import responses_file
from valuefree.cli.commands.responses_file import Sampled, sample_responses
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.generation import Decoding, generate_ids

PROMPTS = ["the sea", "cats purr", "bread", "the boat is small", "why"]
VERBS = {"sample": ["--samples", "2", "--score", "test_responses_of_this:length"], "generate": []}
DECODING = Decoding(max_new_tokens=6, temperature=1.0, top_k=0, top_p=1.0, batch_size=4)


@pytest.fixture
def job(tmp_path, tokenizer, monkeypatch):
    """A model, five prompts, a reward, and parts of one batch of four responses."""
    (tmp_path / "test_responses_of_this.py").write_text(
        "def length(prompts, responses):\n    return list(map(len, responses))\n"
    )
    monkeypatch.chdir(tmp_path)
    make_llama(tokenizer).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    monkeypatch.setattr(responses_file, "BATCHES", 1)
    options = ["--max-new-tokens", "6", "--generation-batch-size", "4", "--temperature", "1"]
    return [str(tmp_path / "prompts.txt"), "--model", str(tmp_path / "base"), *options]


class Stops:
    """`generate_ids`, which counts its calls and stops at one of them."""

    def __init__(self, at: int) -> None:
        self.calls, self.at = 0, at

    def __call__(self, *arguments, **options):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return generate_ids(*arguments, **options)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("more", [b"", b'{"prompt": "br'], ids=["whole lines", "last line cut"])
def test_a_stopped_run_goes_on_and_gives_the_same_file(verb, more, job, tmp_path, monkeypatch, caplog):
    """Two parts are written, or three of `sample` with two responses per prompt; the last one is still missing."""
    out = tmp_path / "out.jsonl"
    command = [verb, *job, *VERBS[verb], "--out", str(out)]
    cli.run(command)
    whole = out.read_bytes()
    parts = 3 if verb == "sample" else 2
    stops = Stops(parts)
    monkeypatch.setattr(responses_file, "generate_ids", stops)
    with pytest.raises(KeyboardInterrupt), caplog.at_level(logging.INFO, logger="valuefree"):
        cli.run([*command, "--overwrite"])
    kept = out.read_bytes()
    assert f"{len(kept.splitlines())} of {len(whole.splitlines())} responses are in {out}; with --resume" in caplog.text
    assert len(kept.splitlines()) == 4 * (parts - 1)
    out.write_bytes(kept + more)
    stops.at = 0
    cli.run([*command, "--resume"])
    assert out.read_bytes() == whole
    assert stops.calls == parts + 1


def test_a_part_depends_on_the_seed_and_its_number(tokenizer, monkeypatch):
    monkeypatch.setattr(responses_file, "BATCHES", 1)
    model = make_llama(tokenizer)
    first = sample_responses(model, tokenizer, ["the sea"] * 12, DECODING).texts
    assert first == sample_responses(model, tokenizer, ["the sea"] * 12, DECODING).texts
    assert len({tuple(first[start : start + 4]) for start in (0, 4, 8)}) == 3
    found = Sampled(first[:8], cut=0)
    assert first == sample_responses(model, tokenizer, ["the sea"] * 12, DECODING, found=found).texts


def test_a_file_that_is_deleted_in_mid_run_is_written_again(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(responses_file, "BATCHES", 1)
    file = tmp_path / "folder" / "out.jsonl"

    def generate(*arguments, **options):
        file.unlink(missing_ok=True)
        return generate_ids(*arguments, **options)

    monkeypatch.setattr(responses_file, "generate_ids", generate)
    texts = sample_responses(make_llama(tokenizer), tokenizer, PROMPTS, DECODING, file=file).texts
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert rows == [{"prompt": p, "response": text} for p, text in zip(PROMPTS, texts, strict=True)]


@pytest.fixture
def stopped(job, tmp_path, monkeypatch):
    """The command of a run of `sample` without rewards, stopped after four of ten responses, and its file."""
    out = tmp_path / "out.jsonl"
    command = ["sample", *job, "--samples", "2", "--out", str(out)]
    stops = Stops(2)
    monkeypatch.setattr(responses_file, "generate_ids", stops)
    with pytest.raises(KeyboardInterrupt):
        cli.run(command)
    stops.at = 0
    return command, out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "9", "--temperature", "0"], "--temperature is 0.0, it was 1.0; --seed is 9, it was 0"),
        (["--samples", "3"], "--samples is 3, it was 2"),
        (["--overwrite"], "resume adds to the file out, overwrite replaces it"),
    ],
)
def test_other_settings_are_refused(options, message, stopped):
    command, out = stopped
    before = out.read_bytes()
    with pytest.raises(ConfigError, match=message):
        cli.run([*command, "--resume", *options])
    assert out.read_bytes() == before


@pytest.mark.parametrize("change", ["prompts", "responses"])
def test_other_prompts_or_a_changed_file_are_refused(change, stopped, tmp_path):
    command, out = stopped
    if change == "prompts":
        (tmp_path / "prompts.txt").write_text("another\nthe sea\ncats purr")
    else:
        out.write_bytes(b"".join(out.read_bytes().splitlines(keepends=True)[:3]))
    before = out.read_bytes()
    with pytest.raises(ConfigError, match=r"does not begin with the 4 responses to these prompts .* --overwrite"):
        cli.run([*command, "--resume"])
    assert out.read_bytes() == before


def test_the_file_of_a_run_that_has_ended_is_left_as_it_is(stopped, capsys):
    command, out = stopped
    cli.run([*command, "--resume"])
    assert "10 rows" in capsys.readouterr().out
    whole = out.read_bytes()
    assert [file.name for file in out.parent.glob("out*")] == ["out.jsonl"]
    with pytest.raises(ConfigError, match=r"not of a run that was stopped: there is no out.jsonl.progress.json"):
        cli.run([*command, "--resume"])
    assert out.read_bytes() == whole


def test_responses_that_are_cut_are_counted_over_both_runs(stopped, tmp_path, capsys):
    command, _ = stopped
    cli.run([*command, "--resume"])
    said = capsys.readouterr().out.splitlines()[1:]
    cli.run([*command, "--overwrite"])
    assert capsys.readouterr().out.splitlines()[1:] == said
    assert "were cut" in said[0]


def test_where_the_reward_failed_resume_rewards_what_is_there(job, tmp_path, monkeypatch, caplog):
    out = tmp_path / "out.jsonl"
    fail = "import os\n\n\ndef of(prompts, responses):\n    return [float(os.environ['REWARD'])] * len(prompts)\n"
    (tmp_path / "test_reward_by_name.py").write_text(fail)
    command = ["sample", *job, "--score", "test_reward_by_name:of", "--out", str(out)]
    with caplog.at_level(logging.INFO, logger="valuefree"), pytest.raises(DataError, match="failed with KeyError"):
        cli.run(command)
    assert f"all 20 responses are in {out}; with --resume they are rewarded" in caplog.text
    monkeypatch.setattr(responses_file, "generate_ids", None)
    monkeypatch.setenv("REWARD", "0.5")
    cli.run([*command, "--resume"])
    assert [json.loads(line)["reward"] for line in out.read_text().splitlines()] == [0.5] * 20
