"""One policy measured against its reference: reward, KL, length and variety of exact samples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from studies.small.grammar import reward
from studies.small.world import sample
from valuefree.batches.collate import IGNORED, collate
from valuefree.batches.rendering import pad_id
from valuefree.errors import DataError
from valuefree.models.modules import evaluating, is_encoder_decoder


@dataclass(frozen=True)
class Measured:
    """The measurements of one policy: means over its samples.

    kl: in nats per response, the sum over its tokens of the KL between the two next-token distributions, which has the
    mean of the log-ratio and less noise; kl_low, kl_high: its 95 % interval, by Student's t over prompts; kl_logratio:
    the plain estimate, the mean log-ratio of the samples. length: tokens per response. distinct1, distinct2: distinct
    words, and pairs of words, per word and pair. ended: share of the samples that end with the end-of-text token.
    """

    reward: float
    kl: float
    kl_low: float
    kl_high: float
    kl_logratio: float
    length: float
    distinct1: float
    distinct2: float
    ended: float
    samples: int


def _response_logits(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Log-probabilities of the whole vocabulary at each response token, shape (T, V), T over all responses in turn."""
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    labels = batch["labels"]
    if is_encoder_decoder(model):
        logits = model(**inputs, labels=labels).logits
    else:
        logits, labels = model(**inputs, use_cache=False).logits[:, :-1], labels[:, 1:]
    return logits[labels != IGNORED].double().log_softmax(-1)


def sample_kls(policy: nn.Module, reference: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """For each sampled response (R,), in nats: the sum over its tokens of KL(policy‖reference), and its log-ratio.

    Given that the responses are the policy's own exact samples, both have the KL of the whole response as their mean.

    Args:
        batch: as `valuefree.batches.collate.collate` makes it, one row per response.
    """
    with evaluating(policy), evaluating(reference):
        ours, theirs = _response_logits(policy, batch), _response_logits(reference, batch)
    labels = batch["labels"]
    rows, columns = (labels != IGNORED).nonzero(as_tuple=True)
    token_kls = (ours.exp() * (ours - theirs)).sum(-1)
    token_ratios = (ours - theirs).gather(-1, labels[rows, columns][:, None])[:, 0]
    zero = ours.new_zeros(len(labels))
    return zero.index_add(0, rows, token_kls), zero.index_add(0, rows, token_ratios)


def interval_over_groups(values: np.ndarray, size: int) -> tuple[float, float]:
    """95 % interval of the mean by Student's t over groups of `size` neighbours."""
    means = values.reshape(-1, size).mean(axis=1)
    half = float(stats.t.ppf(0.975, len(means) - 1) * stats.sem(means)) if len(means) > 1 else math.nan
    return float(means.mean() - half), float(means.mean() + half)


def variety(texts: Sequence[str], n: int) -> float:
    """Different runs of n words over all of them; 0 without any."""
    runs = [tuple(words[i : i + n]) for words in map(str.split, texts) for i in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0


def measure(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    *,
    samples: int,
    seed: int,
) -> Measured:
    """Sample `samples` responses per prompt from the policy and measure them.

    Raises:
        DataError: reward or KL that is not finite: the policy has diverged.
    """
    asked, answers, texts = sample(policy, tokenizer, prompts, samples, seed)
    batch = collate(asked, answers, pad_token_id=pad_id(tokenizer), encoder_decoder=is_encoder_decoder(policy))
    kls, ratios = (values.numpy() for values in sample_kls(policy, reference, batch))
    rewards = reward([prompt for prompt in prompts for _ in range(samples)], texts)
    if not (np.isfinite(kls).all() and np.isfinite(ratios).all() and np.isfinite(rewards).all()):
        raise DataError("reward or KL of the samples is not finite: the policy has diverged; lower lr.")
    low, high = interval_over_groups(kls, samples)
    end = tokenizer.eos_token_id
    return Measured(
        reward=float(np.mean(rewards)),
        kl=float(kls.mean()),
        kl_low=low,
        kl_high=high,
        kl_logratio=float(ratios.mean()),
        length=float(np.mean([len(ids) for ids in answers])),
        distinct1=variety(texts, 1),
        distinct2=variety(texts, 2),
        ended=float(np.mean([ids[-1] == end for ids in answers])),
        samples=len(texts),
    )
