"""Memory that the head adds to a step: in chunks, with all logits at once, and a step without a head as baseline."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.bench import Bench
from benchmarks.sides import Measured
from valuefree.models.logprobs import response_logps

STEPS = 2
PROMPT, RESPONSE = 128, 512  # tokens of every row, so there is no padding
Batch = dict[str, Tensor]


def without(bench: Bench) -> Measured:
    """A step whose loss is the sum of the last hidden states."""
    return _steps(bench, lambda batch: _hidden(bench, batch).sum())


def in_chunks(bench: Bench) -> Measured:
    """`response_logps` without stored logits for the backward pass."""
    return _steps(bench, lambda batch: -response_logps(bench.model, batch, max_logit_bytes=0).total.mean())


def all_at_once(bench: Bench) -> Measured:
    """All logits, then their log-softmax, then the log-probabilities of the tokens."""

    def loss(batch: Batch) -> Tensor:
        logits = bench.model.get_output_embeddings()(_hidden(bench, batch))
        return -logits.log_softmax(-1).gather(-1, batch["labels"][:, :, None]).sum() / len(batch["labels"])

    return _steps(bench, loss)


def _hidden(bench: Bench, batch: Batch) -> Tensor:
    """Last hidden states of the decoder, shape (rows, tokens, hidden)."""
    model, mask = bench.model, batch["attention_mask"]
    states = model.get_encoder()(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
    shifted = torch.nn.functional.pad(batch["labels"][:, :-1], (1, 0))
    options = {"encoder_hidden_states": states, "encoder_attention_mask": mask, "use_cache": False}
    return model.get_decoder()(input_ids=shifted, **options).last_hidden_state


def _steps(bench: Bench, loss: Callable[[Batch], Tensor]) -> Measured:
    """`STEPS` forward and backward passes; the gradients of a step are freed before the next step."""
    count, scale = bench.setting.rows, 32 if bench.setting.size == "smoke" else 1
    generator = torch.Generator().manual_seed(bench.setting.seed)
    vocabulary = bench.model.config.vocab_size
    prompts = torch.randint(3, vocabulary, (count, PROMPT // scale), generator=generator)
    responses = torch.randint(3, vocabulary, (count, RESPONSE // scale), generator=generator)
    batch = {"input_ids": prompts, "attention_mask": torch.ones_like(prompts), "labels": responses}
    bench.warm_up()
    bench.model.train()
    bench.meter.start()
    for _ in range(STEPS):
        loss(batch).backward()
        bench.model.zero_grad(set_to_none=True)
    bench.meter.stop()
    return bench.meter.measured(count * STEPS)
