"""Responses written in parts: a stopped run goes on, gives what an undisturbed one gives, and harms no file."""

import json
import logging

import pytest

from conftest import make_llama
from valuefree.cli import main as cli
from valuefree.cli.commands import responses_file
from valuefree.cli.commands.responses_file import sample_responses
from valuefree.errors import DataError
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
@pytest.mark.parametrize("cut", [0, 5], ids=["whole lines", "last line cut"])
def test_a_stopped_run_goes_on_and_gives_the_same_file(verb, cut, job, tmp_path, monkeypatch, caplog):
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
    out.write_bytes(kept[: len(kept) - cut])
    stops.at = 0
    cli.run([*command, "--resume"])
    assert out.read_bytes() == whole
    assert stops.calls == parts + 1 + (cut > 0)  # where a line was cut, its part is sampled again


def test_a_part_depends_on_the_seed_and_its_number(tokenizer, monkeypatch):
    monkeypatch.setattr(responses_file, "BATCHES", 1)
    model = make_llama(tokenizer)
    first = sample_responses(model, tokenizer, ["the sea"] * 12, DECODING).texts
    assert first == sample_responses(model, tokenizer, ["the sea"] * 12, DECODING).texts
    assert len({tuple(first[start : start + 4]) for start in (0, 4, 8)}) == 3
    assert first == sample_responses(model, tokenizer, ["the sea"] * 12, DECODING, found=first[:9]).texts


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


def test_a_finished_run_has_nothing_left_to_do(job, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.jsonl"
    command = ["sample", *job, *VERBS["sample"], "--out", str(out)]
    cli.run(command)
    whole = out.read_bytes()
    stops = Stops(0)
    monkeypatch.setattr(responses_file, "generate_ids", stops)
    cli.run([*command, "--resume"])
    assert "10 rows" in capsys.readouterr().out
    assert (out.read_bytes(), stops.calls) == (whole, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"prompt": "another", "response": "r"}\n', "does not hold the first responses to these prompts, 2 to each"),
        ('{"prompt": "the sea", "response": "r"}\n{"prompt": "cats purr", "response": "r"}\n', "2 to each"),
        ('{"prompt": "the sea", "response": "r", "reward": 1}\n', "has rewards, which are written once all 10"),
        ('{"prompt": "the sea", "response": "r", "reward": 1}', "has rewards, which are written once all 10"),
        ('{"text": "a novel"}\n', "not a file of responses"),
    ],
)
def test_another_file_is_left_as_it_is(content, message, job, tmp_path):
    out = tmp_path / "out.jsonl"
    out.write_text(content)
    with pytest.raises(DataError, match=message):
        cli.run(["sample", *job, *VERBS["sample"], "--out", str(out), "--resume"])
    assert out.read_text() == content
