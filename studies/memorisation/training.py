"""One run: train an adapter on logged rows, and measure it at strengths, by rows and by sampling."""

import copy
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from peft import LoraConfig
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from studies.harness.training import ranking_accuracy, with_rewards
from studies.memorisation.candidates import CANDIDATES, Candidate, Cell
from studies.small.measure import measure
from studies.small.scale import Scale
from studies.small.training import SAMPLING_SEED
from studies.small.world import as_rows, held_out_prompts, prompts_of, reference, rows_of, sample, trainer_of
from valuefree.cli.commands.from_options import lora
from valuefree.evaluation.held_out.logged_responses import LoggedResponses
from valuefree.evaluation.held_out.ridge import fit_ridge
from valuefree.models.adapters import add_adapter
from valuefree.models.modules import evaluating, is_encoder_decoder
from valuefree.models.strength import strength_of
from valuefree.objectives import RPO
from valuefree.training.trainer import PolicyTrainer

SIZES = Scale(batch=8, warmup_steps=10, samples=8, validation_samples=4)
EPOCHS = 3
LR = 2e-3
STRENGTHS = (0.3, 0.6, 1.0)
FOLDS = 8
NOISE_SEED = 30_000  # apart from the seeds that rows are drawn with
UPPER_HALF = {  # of two layers
    "t5": r".*block\.1\.layer.*\.(q|k|v|o|wi_0|wi_1|wo)",
    "decoder": r".*layers\.1\..*_proj",
}


class AveragedWeights(TrainerCallback):
    """Averages the trained weights over the last `share` of the steps."""

    def __init__(self, policy: nn.Module, share: float):
        self.weights = [weight for weight in policy.parameters() if weight.requires_grad]
        self.share, self.count = share, 0
        self.means: list[Tensor] = []

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add the weights after this step."""
        if state.global_step <= (1 - self.share) * state.max_steps:
            return
        self.count += 1
        self.means = self.means or [weight.detach().clone() for weight in self.weights]
        for mean, weight in zip(self.means, self.weights, strict=True):
            mean.lerp_(weight.detach(), 1 / self.count)

    def apply(self) -> None:
        """Give the policy the averaged weights."""
        with torch.no_grad():
            for weight, mean in zip(self.weights, self.means, strict=True):
                weight.copy_(mean)


def noisy(rows: datasets.Dataset, noise: float, seed: int) -> datasets.Dataset:
    """Rows whose rewards have Gaussian noise of `noise` standard deviations of the rewards within prompts."""
    if not noise:
        return rows
    rewards, prompt_of = np.asarray(rows["reward"]), np.asarray(rows["prompt_id"])
    deviations = rewards - _prompt_means(rewards[:, None], prompt_of)[:, 0]
    spread = float(np.sqrt((deviations**2).sum() / (len(rewards) - prompt_of.max() - 1)))
    drawn = np.random.default_rng(NOISE_SEED + seed).normal(size=len(rewards))
    return with_rewards(rows, (rewards + noise * spread * drawn).tolist())


def shrunk(
    rows: datasets.Dataset, own: float, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> datasets.Dataset:
    """Rows whose rewards are shrunk within a prompt toward a prediction that was fitted without this prompt.

    The prediction is a ridge regression of the rewards on the reference's mean hidden state over the response, both
    minus their means over the prompt.
    """
    if own == 1:
        return rows
    rewards, prompt_of = np.asarray(rows["reward"]), np.asarray(rows["prompt_id"])
    states = _response_states(rows, model, tokenizer)
    means = _prompt_means(rewards[:, None], prompt_of)
    targets, features = rewards[:, None] - means, states - _prompt_means(states, prompt_of)
    predicted = np.empty_like(targets)
    for fold in range(FOLDS):
        inside = prompt_of % FOLDS == fold
        predicted[inside] = fit_ridge(features[~inside], targets[~inside])(features[inside])
    return with_rewards(rows, (means + own * targets + (1 - own) * predicted)[:, 0].tolist())


def _prompt_means(values: np.ndarray, prompt_of: np.ndarray) -> np.ndarray:
    """The mean of its prompt at each row; (R, K)."""
    sums = np.zeros((prompt_of.max() + 1, values.shape[1]))
    np.add.at(sums, prompt_of, values)
    return (sums / np.bincount(prompt_of)[:, None])[prompt_of]


def _response_states(rows: datasets.Dataset, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """Mean of the last hidden states over each response's tokens, (R, d)."""
    asked, answers = (tokenizer(list(rows[name]))["input_ids"] for name in ("prompt", "response"))
    return np.concatenate(list(_states(asked, answers, model)))


def _states(asked: list[list[int]], answers: list[list[int]], model: PreTrainedModel) -> Iterator[np.ndarray]:
    for prompt, response in zip(asked, answers, strict=True):
        given = torch.tensor([response])
        with evaluating(model):
            if is_encoder_decoder(model):
                found: Any = model(input_ids=torch.tensor([prompt]), labels=given, output_hidden_states=True)
                states = found.decoder_hidden_states[-1][0]
            else:
                whole = torch.tensor([prompt + response])
                found = model(input_ids=whole, output_hidden_states=True, use_cache=False)
                states = found.hidden_states[-1][0, len(prompt) :]
        yield states.mean(dim=0, keepdim=True).double().numpy()


def adapter_of(candidate: Candidate, kind: str) -> LoraConfig:
    """The adapter of a candidate, otherwise as `valuefree train` makes it."""
    adapter = lora(candidate.rank)
    adapter.lora_dropout = candidate.dropout
    if candidate.upper_half:
        adapter.target_modules = UPPER_HALF[kind]
    return adapter


def keep_dropout(policy: nn.Module, dropout: float) -> None:
    """Set the adapter's dropout again, which the trainer has set to zero with all others."""
    for name, module in policy.named_modules():
        if "lora_dropout" in name and isinstance(module, nn.Dropout):
            module.p = dropout


def _samples(tuning: bool) -> int:
    return SIZES.validation_samples if tuning else SIZES.samples


@lru_cache(maxsize=16)
def _held_out(folder: Path, kind: str, seed: int, *, tuning: bool) -> tuple[list[str], datasets.Dataset, float]:
    """Prompts, rows that the reference wrote for them, and the mean reward of other samples of the reference."""
    prompts = prompts_of(SIZES)["validation"] if tuning else held_out_prompts(SIZES, seed)
    base, tokenizer = reference(folder, kind)
    _, _, texts = sample(base, tokenizer, prompts, SIZES.responses, SAMPLING_SEED + 5000 + seed)
    rows = as_rows([prompt for prompt in prompts for _ in range(SIZES.responses)], texts)
    start = measure(base, base, tokenizer, prompts, samples=_samples(tuning), seed=SAMPLING_SEED + seed)
    return prompts, rows, start.reward


def measure_cell(cell: Cell, folder: Path) -> list[dict[str, Any]]:
    """The curve of a cell: one point per strength of the trained policy; the same cell gives the same numbers."""
    candidate = CANDIDATES[cell.candidate]
    base, tokenizer = reference(folder, cell.kind)
    prompts, held_out, start = _held_out(folder, cell.kind, cell.seed, tuning=cell.tuning)
    logged = noisy(rows_of(folder, cell.kind, "on", cell.seed, SIZES), cell.noise, cell.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)  # of the adapter's first weights
        policy: Any = add_adapter(copy.deepcopy(base), adapter_of(candidate, cell.kind), as_reference=True)
        trainer = trainer_of(
            policy,
            tokenizer,
            RPO(),
            shrunk(logged, candidate.own, base, tokenizer),
            str(folder),
            num_train_epochs=EPOCHS,
            learning_rate=LR,
            lr_scheduler_type="linear",
            warmup_steps=SIZES.warmup_steps,
            weight_decay=candidate.weight_decay,
            per_device_train_batch_size=SIZES.batch,
            seed=cell.seed,
        )
        keep_dropout(policy, candidate.dropout)
        train = LoggedResponses.prepare(logged, trainer.scorer)
        other = LoggedResponses.prepare(noisy(held_out, cell.noise, cell.seed + 500), trainer.scorer)
        _train(trainer, candidate)

    strength, curve, samples = strength_of(policy), [], _samples(cell.tuning)
    for scale in STRENGTHS:
        with strength.at(scale):
            found = measure(policy, base, tokenizer, prompts, samples=samples, seed=SAMPLING_SEED + cell.seed)
            point = {"scale": scale, "kl": found.kl, "gain": found.reward - start}
            ranked = {"train": ranking_accuracy(train, policy), "held_out": ranking_accuracy(other, policy)}
            curve.append(point | ranked)
    return curve


def _train(trainer: PolicyTrainer, candidate: Candidate) -> None:
    if not candidate.averaged:
        trainer.train()
        return
    averaged = AveragedWeights(trainer.model, candidate.averaged)
    trainer.add_callback(averaged)
    trainer.train()
    averaged.apply()
