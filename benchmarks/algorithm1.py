"""A direct implementation of Algorithm 1 of the paper, and the same work by the library."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.bench import Bench
from benchmarks.comparisons import MICRO_BATCH
from benchmarks.rows import EOS, PAD
from benchmarks.sides import Measured, policy_trainer
from valuefree.batches.collate import IGNORED
from valuefree.objectives import RPO

TAU = 1.0


def ours(bench: Bench) -> Measured:
    """Tokenisation, scoring, partition and one epoch in the paper's form: reference estimator, and eq. 21 on sums."""
    bench.warm_up()
    bench.meter.start()
    policy_trainer(bench, RPO.preset("paper", tau=TAU)).train()
    bench.meter.stop()
    return bench.measured(bench.meter)


def theirs(bench: Bench) -> Measured:
    """Algorithm 1: pad to the maximum length, estimate V̂ by one reference pass, and run the reference in every step."""
    policy, reference = bench.model, bench.new_model().eval()
    meter = bench.new_meter(policy, reference)
    bench.warm_up()
    meter.start()
    batches = [_padded(bench, rows) for rows in _shuffled(len(bench.rows), bench.setting.seed)]
    rewards = torch.tensor(bench.rows["reward"])
    rewards = (rewards - rewards.mean()) / rewards.std(correction=0)
    with torch.no_grad():
        scores = torch.empty_like(rewards)
        for batch in batches:
            scores[batch["rows"]] = _logps(reference, batch)
    values = _values(scores, rewards, bench.rows["prompt_id"])
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-5, weight_decay=0.0)
    policy.train()
    for batch in batches:
        rows = torch.tensor(batch["rows"])
        with torch.no_grad():
            reference_logps = _logps(reference, batch)
        target = (rewards[rows] - values[rows]) / TAU
        loss = 0.5 * (_logps(policy, batch) - reference_logps - target).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    meter.stop()
    return bench.measured(meter)


def _shuffled(count: int, seed: int) -> Iterator[list[int]]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    for start in range(0, count, MICRO_BATCH):
        yield order[start : start + MICRO_BATCH]


def _padded(bench: Bench, rows: Sequence[int]) -> dict[str, Any]:
    """Prompts and responses, each padded to the maximum length of the distribution."""
    width, tokenizer, part = bench.lengths.longest, bench.tokenizer, bench.rows[list(rows)]
    prompts = tokenizer(part["prompt"], padding="max_length", max_length=width, return_tensors="pt")
    responses = [[*ids, EOS] for ids in tokenizer(text_target=part["response"])["input_ids"]]
    labels = torch.tensor([[*ids, *[IGNORED] * (width - len(ids))] for ids in responses])
    return {"rows": list(rows), "prompts": prompts, "labels": labels}


def _logps(model: Any, batch: dict[str, Any]) -> Tensor:
    """Log-probability of each response from the log-softmax of all logits, shape (R,)."""
    labels, prompts = batch["labels"], batch["prompts"]
    start = torch.full_like(labels[:, :1], PAD)
    inputs = torch.cat([start, labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED, PAD)], dim=1)
    logits = model(
        input_ids=prompts["input_ids"], attention_mask=prompts["attention_mask"], decoder_input_ids=inputs
    ).logits
    token_logps = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[:, :, None])[:, :, 0]
    return (token_logps * (labels != IGNORED)).sum(1)


def _values(scores: Tensor, rewards: Tensor, prompt_of: Sequence[int]) -> Tensor:
    """V̂ of each row's prompt: τ·log Σ π_ref(y|x)·exp(r/τ), shape (R,)."""
    owner = torch.tensor(prompt_of)
    values = torch.empty_like(scores)
    for prompt in owner.unique():
        members = owner == prompt
        values[members] = TAU * torch.logsumexp(scores[members] + rewards[members] / TAU, 0)
    return values
