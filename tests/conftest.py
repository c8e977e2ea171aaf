"""Tiny models with random weights, made from their configs; no network, no cache outside the test's folder."""

import os
import signal

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


from pathlib import Path

import datasets
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from valuefree.cli import stopping
from valuefree.demo.tiny import tiny_t5, tiny_tokenizer

datasets.disable_progress_bars()
torch.set_num_threads(1)  # tiny models: a second thread only waits

TEXTS = [
    "Describe the sea in one word. The sea is wide and blue, and it never sleeps.",
    "Give a tip about bread. Knead the dough well; let it rest for an hour!",
    "Why do cats purr? Because they are content, or hungry, or both.",
    "Name three fruits. Apples, pears and plums are fruits that many people like.",
]
CHAT = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALUEFREE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer(TEXTS, vocabulary=120)


@pytest.fixture
def chat_tokenizer(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    other = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    other.chat_template = CHAT
    return other


def make_t5(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> torch.nn.Module:
    return tiny_t5(tokenizer, seed=seed, width=32).eval()


def make_llama(tokenizer: PreTrainedTokenizerFast, seed: int = 0, **config: object) -> torch.nn.Module:
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 1,
    } | config
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**settings)).eval()


def make_gpt2(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=256,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
    )
    return GPT2LMHeadModel(config).eval()


MAKERS = {"t5": make_t5, "llama": make_llama, "gpt2": make_gpt2}


@pytest.fixture(params=["t5", "llama"])
def model(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast) -> torch.nn.Module:
    return MAKERS[request.param](tokenizer)


@pytest.fixture
def rows() -> datasets.Dataset:
    """Five prompts with 4, 3, 1, 2 and 6 responses."""
    words = ["the", "sea", "is", "wide", "and", "blue", "apples", "pears", "bread", "dough", "rest", "cats", "purr"]
    records = []
    for prompt, size in enumerate([4, 3, 1, 2, 6]):
        for number in range(size):
            length = 1 + (3 * prompt + 2 * number) % 7
            response = " ".join(words[(prompt + number + k) % len(words)] for k in range(length)) + f" {number}."
            records.append(
                {
                    "prompt": TEXTS[prompt % 4] + " again" * (prompt // 4),
                    "response": response,
                    "reward": float((prompt * 7 + number * 5) % 4) - 0.5 * number,
                    "prompt_id": prompt,
                }
            )
    return datasets.Dataset.from_list(records)


@pytest.fixture
def own_signal_handlers(monkeypatch):
    """The command sets handlers of signals; the test process gets its own back."""
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    monkeypatch.setattr(stopping, "_received", [])
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
