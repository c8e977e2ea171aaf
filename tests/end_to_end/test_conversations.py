"""Conversations with tool calls from the log to the policy: train, held-out rows, strength, generate."""

import json

import pytest

from chat_templates import CHATML_TOOLS, byte_tokenizer
from conftest import make_llama
from valuefree.cli import main as cli

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CITIES = ["Lyon", "Paris", "Nice", "Metz", "Brest", "Lille"]


def shortness(prompts, responses):
    assert all(prompt["tools"] == TOOLS for prompt in prompts)  # a reward function is given prompts as logs hold them
    return [-float(len(response)) for response in responses]


def log_row(city, temperature):
    call = {"type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": f"{temperature} degrees"},
        {"role": "assistant", "content": f"It is {temperature} degrees."},
    ]
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Weather in {city}?"}]
    return {"prompt": prompt, "tools": TOOLS, "response": turns, "reward": temperature % 3}


@pytest.mark.parametrize("objective", ["rpo", "kto", "sft"])
def test_a_log_of_tool_calls_trains_a_policy_that_writes_one(tmp_path, capsys, objective):
    tokenizer = byte_tokenizer(CHATML_TOOLS, special=("<|im_start|>", "<|im_end|>"))
    make_llama(tokenizer, max_position_embeddings=1024).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    log, run = tmp_path / "log.jsonl", tmp_path / "run"
    log.write_text("".join(json.dumps(log_row(city, 10 + step)) + "\n" for city in CITIES for step in range(3)))
    length = ["--max-length", "600"]
    arguments = ["train", str(log), "--model", str(tmp_path / "base"), "--train-on", "all", "--objective", objective]
    arguments += [*length, "--max-steps", "3", "--batch-size", "4", "--logging-steps", "1", "--test-prompts", "2"]
    cli.run([*arguments, "--reward-function", f"{__name__}:shortness", "--max-new-tokens", "4", "--out", str(run)])
    assert "What the policy has learned" in capsys.readouterr().out
    held_out = [json.loads(line) for line in (run / "held_out.jsonl").read_text().splitlines()]
    assert len(held_out) == 6
    assert held_out[0]["response"][1] == {"role": "tool", "content": held_out[0]["response"][1]["content"]}
    assert held_out[0]["prompt"]["tools"] == TOOLS
    assert "Weather in " in (run / "report.md").read_text() or "Weather in " in (run / "report.html").read_text()
    cli.run(["strength", str(run)])
    out = tmp_path / "generated.jsonl"
    cli.run(["generate", str(log), "--model", str(run), "--max-new-tokens", "4", "--out", str(out)])
    assert json.loads(out.read_text().splitlines()[0])["prompt"]["tools"] == TOOLS
