"""Generate responses: batched by length, seeded without touching the global generator."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from valuefree.data.batching import collate
from valuefree.data.rendering import Prompt, cut_prompt, end_of, padding_of, prompt_ids
from valuefree.errors import ConfigError
from valuefree.models import evaluating, is_encoder_decoder


@dataclass(frozen=True)
class Decoding:
    """How to sample: lengths in tokens; temperature 0 is greedy; top_k 0 and top_p 1 are off."""

    max_new_tokens: int = 256
    temperature: float = 0.7
    top_k: int = 50
    top_p: float = 0.95
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    max_prompt_length: int = 1024
    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_prompt_length", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 1.")
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0:
            raise ConfigError(
                f"temperature={self.temperature}, top_p={self.top_p}, top_k={self.top_k}: expected temperature ≥ 0, "
                "0 < top_p ≤ 1 and top_k ≥ 0."
            )

    def options(self) -> dict[str, Any]:
        """Keywords of transformers' `generate`."""
        shared = {
            "max_new_tokens": self.max_new_tokens,
            "repetition_penalty": self.repetition_penalty,
            "no_repeat_ngram_size": self.no_repeat_ngram_size,
        }
        if self.temperature == 0:
            return {**shared, "do_sample": False, "temperature": None, "top_k": None, "top_p": None}
        sampling = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        return {**shared, "do_sample": True, **sampling}

    def to_dict(self) -> dict[str, Any]:
        """All fields, for the manifest."""
        return asdict(self)

    def exact(self, *, seed: int) -> "Decoding":
        """Samples of the policy itself: temperature 1, nothing cut off."""
        return replace(
            self, temperature=1.0, top_k=0, top_p=1.0, repetition_penalty=1.0, no_repeat_ngram_size=0, seed=seed
        )


def generate_ids(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    decoding: Decoding,
    *,
    samples: int = 1,
    progress: bool = False,
) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of the prompts and of their responses, `samples` per prompt, in the order of the prompts.

    A response that ended carries its end-of-sequence token; one cut at max_new_tokens does not. Batches are sorted by
    length, so the samples depend on `batch_size` as well as on `seed`.
    """
    encoder_decoder = is_encoder_decoder(model)
    asked = [
        cut_prompt(prompt_ids(tokenizer, prompt), decoding.max_prompt_length, encoder_decoder=encoder_decoder)
        for prompt in prompts
        for _ in range(samples)
    ]
    answers: list[list[int]] = [[] for _ in asked]
    order = sorted(range(len(asked)), key=lambda index: -len(asked[index]))
    device = next(model.parameters()).device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), evaluating(model):
        torch.manual_seed(decoding.seed)
        starts = range(0, len(order), decoding.batch_size)
        for start in tqdm(starts, desc="generate", disable=not progress, leave=False):
            rows = order[start : start + decoding.batch_size]
            batch = _prompt_batch([asked[row] for row in rows], tokenizer, encoder_decoder)
            output = model.generate(  # type: ignore[operator]
                **{name: tensor.to(device) for name, tensor in batch.items()},
                **decoding.options(),
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                use_cache=True,
            )
            new = output[:, 1:] if encoder_decoder else output[:, batch["input_ids"].shape[1] :]
            for row, ids in zip(rows, new.tolist(), strict=True):
                answers[row] = _until_end(ids, end_of(tokenizer))
    return asked, answers


def _prompt_batch(rows: list[list[int]], tokenizer: PreTrainedTokenizerBase, encoder_decoder: bool):
    side = "right" if encoder_decoder else "left"
    nothing: list[list[int]] = [[] for _ in rows]
    batch = collate(
        rows, nothing, pad_token_id=padding_of(tokenizer), encoder_decoder=encoder_decoder, padding_side=side
    )
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}


def _until_end(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end) + 1] if end in ids else ids


def generate(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], **decoding: Any
) -> list[str]:
    """One response per prompt, in order; `decoding` are the fields of `Decoding`.

    The same seed, prompts and batch size give the same responses; the global random state is left as it was.
    """
    _, answers = generate_ids(model, tokenizer, prompts, Decoding(**decoding))
    return tokenizer.batch_decode(answers, skip_special_tokens=True)
