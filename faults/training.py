"""Small training runs for the faults: how they are started, and what tells whether two of them gave the same."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from faults.processes import Child
from valuefree.demo.data import feedback, take_prompts
from valuefree.demo.tiny import tiny_t5, tiny_tokenizer

STEPS = 30
CLOCK = ("_per_second", "peak_memory_gb", "train_runtime")  # ends of the names of fields that differ between runs


@dataclass(frozen=True)
class Subject:
    """A model and how it is trained: the options of `valuefree train` besides --out."""

    name: str
    arguments: tuple[str, ...]

    def command(self, out: Path, *more: str) -> list[str]:
        """The command line after `valuefree`."""
        scores = out.with_name(f"{out.name}.scores")
        return ["train", *self.arguments, "--out", str(out), "--cache-dir", str(scores), *more]

    def start(self, out: Path, *more: str) -> Child:
        """Start the command in a process of its own."""
        return Child(self.command(out, *more), out.with_name(f"{out.name}.log"))


def tiny_llama(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama of two layers with random weights."""
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, **size, **ids))


def subjects(folder: Path) -> list[Subject]:
    """A T5 whose weights are all trained, and a Llama with an adapter."""
    rows = take_prompts(feedback(), 24)
    texts = [*rows["prompt"], *rows["response"]]
    tokenizer = tiny_tokenizer(texts, vocabulary=200)
    lines = [json.dumps({name: row[name] for name in ("prompt", "response", "reward")}) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = []
    for name, model, rank in (
        ("T5, all weights", tiny_t5(tokenizer, width=32), 0),
        ("Llama, LoRA", tiny_llama(tokenizer), 4),
    ):
        base = folder / f"base-{rank}"
        model.save_pretrained(base)
        tokenizer.save_pretrained(base)
        options = {"model": base, "lora-rank": rank, "max-steps": STEPS, "save-steps": 5, "logging-steps": 4}
        options |= {"test-prompts": 4, "strength": "off", "kl-prompts": 0, "max-length": 96, "max-prompt-length": 48}
        options |= {"warmup-steps": 2}
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
