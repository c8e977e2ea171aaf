"""Small training runs for the faults: how they are started, and what tells whether two of them gave the same."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM

from valuefree.demo.data import feedback, take_prompts
from valuefree.demo.tiny import tiny_t5, tiny_tokenizer

STEPS = 12
CLOCK = ("_per_second", "peak_memory_gb", "train_runtime")  # ends of the names of fields that differ between runs
TIME_LIMIT = 300  # seconds for a run that takes ten


@dataclass(frozen=True)
class Subject:
    """A model and how it is trained: the options of `valuefree train` besides --out."""

    name: str
    arguments: tuple[str, ...]

    def command(self, out: Path, *more: str) -> list[str]:
        """The command line after `valuefree`."""
        return ["train", *self.arguments, "--out", str(out), *more]

    def start(self, out: Path, *more: str) -> subprocess.Popen[str]:
        """Start the command; its standard error can be read."""
        command = [sys.executable, "-m", "valuefree", *self.command(out, *more)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def subjects(folder: Path) -> list[Subject]:
    """A T5 whose weights are all trained, and a Llama with an adapter."""
    rows = take_prompts(feedback(), 24)
    texts = [*rows["prompt"], *rows["response"]]
    tokenizer = tiny_tokenizer(texts, vocabulary=200)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    llama = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, **size, **ids))
    lines = [json.dumps({name: row[name] for name in ("prompt", "response", "reward")}) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = []
    for name, model, rank in (("T5, all weights", tiny_t5(tokenizer, width=32), 0), ("Llama, LoRA", llama, 4)):
        base = folder / f"base-{rank}"
        model.save_pretrained(base)
        tokenizer.save_pretrained(base)
        options = {"model": base, "lora-rank": rank, "max-steps": STEPS, "save-steps": 3, "logging-steps": 4}
        options |= {"test-prompts": 4, "strength": "off", "kl-prompts": 0, "max-length": 96, "max-prompt-length": 48}
        options |= {"warmup-steps": 2, "cache-dir": folder / "scores"}
        flags = (text for key, value in options.items() for text in (f"--{key}", str(value)))
        found.append(Subject(name, (str(folder / "rows.jsonl"), *flags)))
    return found


def result_of(run: Path) -> tuple[str, list[dict]]:
    """Hash of the saved weights, and the rows of metrics.jsonl without what a clock measures."""
    weights = b"".join(file.read_bytes() for file in sorted((run / "model").glob("*.safetensors")))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return hashlib.sha256(weights).hexdigest(), [
        {name: value for name, value in row.items() if not name.endswith(CLOCK)} for row in rows
    ]


def finish(process: subprocess.Popen[str]) -> tuple[int | None, str]:
    """Exit code and standard error of a process; None after the time limit."""
    try:
        _, said = process.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        return None, process.communicate()[1]
    return process.returncode, said


def last_line(said: str | Sequence[str]) -> str:
    """The last line that was printed; empty where there is none."""
    lines = [line for line in (said.splitlines() if isinstance(said, str) else said) if line.strip()]
    return lines[-1] if lines else ""
