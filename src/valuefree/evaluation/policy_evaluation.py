"""A policy against its reference: the rewards of their responses to the same prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedTokenizerBase

from valuefree.data.prompts import Prompt
from valuefree.data.validation import distinct_prompts
from valuefree.errors import DataError
from valuefree.evaluation.generation import Decoding, generate_ids, response_texts
from valuefree.evaluation.kl import as_reference, kl_to_reference
from valuefree.evaluation.reward_functions import RewardFunction, rewards_of
from valuefree.evaluation.stats import Estimate, WinTieLoss, bootstrap_mean, win_tie_loss
from valuefree.models.adapters import check_reference


@dataclass(frozen=True)
class Evaluation:
    """Rewards of the policy and of the reference on the same prompts, and the statistics of their differences.

    Attributes:
        policy_rewards, reference_rewards: mean reward of each prompt's samples, shape (P,).
        kl: estimate of KL(policy‖reference) in nats per response, from samples of the policy at temperature 1 with the
            same limit of tokens; None if it was not estimated.
        policy_length, reference_length: mean tokens per response.
        samples: the first prompts, each with one response of either model and its reward.
        completions: all responses, a row per prompt and sample; a row holds the k-th response of both models.
        seen: how many of these prompts the policy's training data hold, where that is known.
    """

    prompts: list[Prompt]
    policy_rewards: np.ndarray
    reference_rewards: np.ndarray
    kl: Estimate | None
    policy_length: float
    reference_length: float
    samples: list[dict[str, Any]]
    samples_per_prompt: int
    decoding: Decoding
    completions: list[dict[str, Any]]
    seen: dict[str, int] | None = None

    @property
    def gains(self) -> np.ndarray:
        """Policy minus reference, shape (P,)."""
        return self.policy_rewards - self.reference_rewards

    @property
    def policy(self) -> Estimate:
        """Mean reward of the policy."""
        return bootstrap_mean(self.policy_rewards)

    @property
    def reference(self) -> Estimate:
        """Mean reward of the reference."""
        return bootstrap_mean(self.reference_rewards)

    @property
    def gain(self) -> Estimate:
        """Mean of the paired differences."""
        return bootstrap_mean(self.gains)

    @property
    def outcomes(self) -> WinTieLoss:
        """Prompts won, tied and lost by the policy."""
        return win_tie_loss(self.gains)

    def to_dict(self) -> dict[str, Any]:
        """Everything except the completions, for metrics.json."""
        return {
            "prompts": len(self.gains),
            "seen": self.seen,
            "samples_per_prompt": self.samples_per_prompt,
            "policy": self.policy.to_dict(),
            "reference": self.reference.to_dict(),
            "gain": self.gain.to_dict(),
            "outcomes": self.outcomes.to_dict(),
            "kl": self.kl.to_dict() if self.kl else None,
            "policy_length": self.policy_length,
            "reference_length": self.reference_length,
            "decoding": self.decoding.to_dict(),
            "held_out": self.prompts,
            "policy_rewards": self.policy_rewards.tolist(),
            "reference_rewards": self.reference_rewards.tolist(),
            "samples": self.samples,
        }


def evaluate(
    policy: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    reward_function: RewardFunction,
    *,
    reference: nn.Module | None = None,
    decoding: Decoding | None = None,
    samples_per_prompt: int = 1,
    kl_prompts: int = 64,
    shown: int = 3,
    seen: dict[str, int] | None = None,
    progress: bool = False,
) -> Evaluation:
    """Sample policy and reference on the same prompts with the same decoding and seed, and compare their rewards.

    Args:
        policy: the fine-tuned model; with an adapter, and no `reference`, the adapter switched off is the reference.
        prompts: strings or lists of messages; duplicates are removed.
        reward_function: from prompts and responses, in order, to one finite number each.
        decoding: default ``Decoding()``.
        samples_per_prompt: responses drawn per prompt and model.
        kl_prompts: the KL is estimated from one exact sample for each of the first `kl_prompts` prompts; 0 for no KL.
        shown: how many prompts to keep in `Evaluation.samples`.
        seen: passed on to `Evaluation`.

    Raises:
        ConfigError: no reference, or one of another dtype.
        DataError: no prompts, or rewards that are missing or not finite.
    """
    check_reference(policy, reference)
    prompts = distinct_prompts(prompts)
    if not prompts:
        raise DataError("no prompts to evaluate on.")
    decoding = decoding or Decoding()
    if reference is not None:
        reference.to(next(policy.parameters()).device)
    other = policy if reference is None else reference
    sampling = {"samples": samples_per_prompt, "progress": progress}
    _, policy_ids = generate_ids(policy, tokenizer, prompts, decoding, **sampling)
    with as_reference(other, adapter_off=reference is None):
        _, reference_ids = generate_ids(other, tokenizer, prompts, decoding, **sampling)
    repeated = [prompt for prompt in prompts for _ in range(samples_per_prompt)]
    texts, rewards = [], []
    for model, ids in ((policy, policy_ids), (other, reference_ids)):
        texts.append([text.strip() for text in response_texts(model, tokenizer, ids)])
        rewards.append(rewards_of(reward_function, repeated, texts[-1]))
    completions = _completions(repeated, texts, rewards)
    return Evaluation(
        prompts=prompts,
        policy_rewards=rewards[0].reshape(len(prompts), -1).mean(axis=1),
        reference_rewards=rewards[1].reshape(len(prompts), -1).mean(axis=1),
        kl=kl_to_reference(policy, tokenizer, prompts[:kl_prompts], reference, decoding) if kl_prompts else None,
        policy_length=float(np.mean([len(ids) for ids in policy_ids])),
        reference_length=float(np.mean([len(ids) for ids in reference_ids])),
        samples=[_side_by_side(row) for row in completions[::samples_per_prompt][:shown]],
        samples_per_prompt=samples_per_prompt,
        decoding=decoding,
        completions=completions,
        seen=seen,
    )


def _completions(
    prompts: Sequence[Prompt], texts: Sequence[list[str]], rewards: Sequence[np.ndarray]
) -> list[dict[str, Any]]:
    """Rows of completions.jsonl: both responses to a prompt with their rewards, a row per sample."""
    names = ("policy", "reference")
    return [
        {
            "prompt": prompt,
            "responses": dict(zip(names, responses, strict=True)),
            "rewards": dict(zip(names, map(float, values), strict=True)),
        }
        for prompt, responses, values in zip(prompts, zip(*texts, strict=True), zip(*rewards, strict=True), strict=True)
    ]


def _side_by_side(completion: dict[str, Any]) -> dict[str, Any]:
    row = {"prompt": completion["prompt"]}
    for name, response in completion["responses"].items():
        row |= {name: response, f"{name}_reward": completion["rewards"][name]}
    return row
