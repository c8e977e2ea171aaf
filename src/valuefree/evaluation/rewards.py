"""⑥ What a policy gained: rewards of its responses against those of the reference, on the same prompts."""

import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from valuefree.batches.rendering import Prompt
from valuefree.data.validation import distinct_prompts
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.generation import Decoding, generate_ids, response_texts
from valuefree.evaluation.stats import Estimate, WinTieLoss, bootstrap_mean, win_tie_loss
from valuefree.models.load import accelerator_device, check_reference, evaluating, reference_context
from valuefree.models.logprobs import response_logps, supports_packing
from valuefree.models.reward_model import MAX_LENGTH, load_reward_model, reward_inputs, scores_of
from valuefree.training.scored_dataset import collator_for

logger = logging.getLogger(__name__)

RewardFunction = Callable[[Sequence[Prompt], Sequence[str]], Sequence[float]]


@dataclass(frozen=True)
class Evaluation:
    """Per prompt (P,) the mean reward of the policy's and of the reference's samples; and what follows from them.

    kl is an estimate of KL(policy‖reference) in nats per response from the policy's own samples at temperature 1, cut
    at the same number of tokens. Lengths are tokens per response. samples pair a prompt with one response of each, for
    the first prompts; completions are all responses, each prompt's one after the other, the k-th of both side by side.
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
        """Policy minus reference, one per prompt."""
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
        """All of it but the completions, for metrics.json."""
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
        prompts: strings or lists of messages; of a prompt that comes more than once the first counts.
        reward_function: from prompts and responses, in order, to one finite number each.
        decoding: default ``Decoding()``.
        samples_per_prompt: responses drawn per prompt and model.
        kl_prompts: how many prompts, from the first, to draw one exact sample for the KL; 0 for none.
        shown: how many prompts to keep with both responses side by side.
        seen: what is known of these prompts, see `Evaluation`.

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
    shared = {"samples": samples_per_prompt, "progress": progress}
    _, policy_ids = generate_ids(policy, tokenizer, prompts, decoding, **shared)
    with _as_reference(other, reference):
        _, reference_ids = generate_ids(other, tokenizer, prompts, decoding, **shared)
    texts = [
        [text.strip() for text in response_texts(model, tokenizer, ids)]
        for model, ids in ((policy, policy_ids), (other, reference_ids))
    ]
    rewards = [
        _rewards(reward_function, prompts, answers, samples_per_prompt).reshape(len(prompts), -1) for answers in texts
    ]
    first = [answers[::samples_per_prompt] for answers in texts]
    samples = [
        {
            "prompt": prompts[i],
            "policy": first[0][i],
            "policy_reward": float(rewards[0][i, 0]),
            "reference": first[1][i],
            "reference_reward": float(rewards[1][i, 0]),
        }
        for i in range(min(shown, len(prompts)))
    ]
    kl = kl_to_reference(policy, tokenizer, prompts[:kl_prompts], reference, decoding) if kl_prompts else None
    lengths = [float(np.mean([len(ids) for ids in answers])) for answers in (policy_ids, reference_ids)]
    means = [values.mean(axis=1) for values in rewards]
    return Evaluation(
        prompts=prompts,
        policy_rewards=means[0],
        reference_rewards=means[1],
        kl=kl,
        policy_length=lengths[0],
        reference_length=lengths[1],
        samples=samples,
        samples_per_prompt=samples_per_prompt,
        decoding=decoding,
        completions=_completions(prompts, texts, rewards, samples_per_prompt),
        seen=seen,
    )


def _completions(
    prompts: Sequence[Prompt], texts: Sequence[list[str]], rewards: Sequence[np.ndarray], samples: int
) -> list[dict[str, Any]]:
    """Rows of completions.jsonl: both responses to a prompt with their rewards, a row per sample."""
    names = ("policy", "reference")
    return [
        {
            "prompt": prompt,
            "responses": {name: answers[i * samples + k] for name, answers in zip(names, texts, strict=True)},
            "rewards": {name: float(values[i, k]) for name, values in zip(names, rewards, strict=True)},
        }
        for i, prompt in enumerate(prompts)
        for k in range(samples)
    ]


def _as_reference(model: nn.Module, reference: nn.Module | None) -> Any:
    return reference_context(model) if reference is None else evaluating(model)


def _rewards(function: RewardFunction, prompts: Sequence[Prompt], texts: list[str], samples: int) -> np.ndarray:
    return rewards_of(function, [prompt for prompt in prompts for _ in range(samples)], texts)


def rewards_of(function: RewardFunction, prompts: Sequence[Prompt], texts: Sequence[str]) -> np.ndarray:
    """One finite reward per response, float64 of shape (R,).

    Raises:
        DataError: the function gave another number of values, or some that are not finite.
    """
    values = np.asarray(function(prompts, texts), dtype=np.float64)
    if values.shape != (len(texts),):
        raise DataError(f"the reward function gave shape {values.shape} for {len(texts)} responses; expected one each.")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(f"the reward function gave {len(bad)} values that are not finite (first: {bad[:10].tolist()}).")
    return values


def check_reward(function: RewardFunction, prompts: Sequence[Prompt], texts: Sequence[str], *, name: str) -> None:
    """Call a reward function on a few examples, before the hours after which it is needed.

    Raises:
        ConfigError: it fails, or does not give one finite number per response.
    """
    try:
        rewards_of(function, prompts, texts)
    except Exception as error:  # whatever the user's code raises
        raise ConfigError(
            f"the reward function {name} cannot be used: on {len(texts)} examples it failed with "
            f"{type(error).__name__}: {error} It is called with a list of prompts and a list of responses, of equal "
            "length, and returns one finite number per response."
        ) from error


def kl_to_reference(
    policy: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    reference: nn.Module | None,
    decoding: Decoding,
) -> Estimate:
    """KL(policy‖reference) in nats per response: mean log-ratio on fresh samples of the policy itself, one per prompt.

    The token ids as sampled, never text tokenised again. reference: None for the policy with its adapter off.

    Raises:
        ConfigError: no reference, or one of another dtype.
    """
    check_reference(policy, reference)
    asked, answers = generate_ids(policy, tokenizer, prompts, decoding.exact(seed=decoding.seed + 1))
    collator = collator_for(policy, tokenizer, padding_free=reference is None or supports_packing(reference))
    rows = {"prompt_ids": asked, "response_ids": answers}
    ratios = []
    for start in range(0, len(asked), decoding.batch_size):
        part = {name: column[start : start + decoding.batch_size] for name, column in rows.items()}
        batch = collator.tensors(part)
        batch = {name: tensor.to(next(policy.parameters()).device) for name, tensor in batch.items()}
        with evaluating(policy):
            own = response_logps(policy, batch).total.double()
        other = policy if reference is None else reference
        with evaluating(other), _as_reference(other, reference):
            ratios.append((own - response_logps(other, batch).total.double()).cpu())
    return bootstrap_mean(torch.cat(ratios).numpy())


# --------------------------------------------------------------------------------------------------- reward functions


def load_reward(spec: str) -> RewardFunction:
    """A reward function from ``module:function``, or the reward model of that name or folder.

    The function takes prompts and responses, two sequences of equal length, and returns a number for each. A module is
    looked for in the working folder too.

    Raises:
        ConfigError: no such module, function or model.
    """
    module_name, _, function_name = spec.partition(":")
    if not function_name or Path(spec).exists():
        return RewardModel(spec)
    folder = str(Path.cwd())
    added = folder not in sys.path
    if added:
        sys.path.insert(0, folder)
    try:
        function: Any = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"no reward function {spec!r} ({error}); expected module:function.") from error
    finally:
        if added:
            sys.path.remove(folder)
    if not callable(function):
        raise ConfigError(f"{spec!r} is {type(function).__name__}, not a function of prompts and responses.")
    return cast("RewardFunction", function)


class RewardModel:
    """A sequence classifier with one output as reward function: higher is better.

    Rows are rendered as `valuefree.training.reward_model_trainer.RewardModelTrainer` renders them.

    Args:
        name: hub name or folder. batch_size: responses at a time. max_length: tokens of prompt and response together;
            no more than the model's tokenizer names.
    """

    def __init__(self, name: str, *, batch_size: int = 16, max_length: int = MAX_LENGTH):
        model, tokenizer = load_reward_model(name)
        self.inputs = reward_inputs(model, tokenizer, max_length)
        self.model: Any = model.to(accelerator_device())  # type: ignore[arg-type]
        self.batch_size = batch_size

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """One score per response."""
        scores: list[float] = []
        for start in range(0, len(prompts), self.batch_size):
            part = slice(start, start + self.batch_size)
            batch, _ = self.inputs.batch(prompts[part], responses[part])
            with torch.no_grad():
                there = {name: tensor.to(self.model.device) for name, tensor in batch.items()}
                scores += scores_of(self.model, there).tolist()
        return scores
