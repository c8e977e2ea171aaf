"""Train a sequence classifier with one output on which response was better, by Bradley and Terry."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
)

from valuefree.batches.reward_inputs import RewardInputs
from valuefree.data.columns import column_hashes, to_numpy
from valuefree.data.prompts import Prompt, as_text, decoded
from valuefree.errors import ConfigError, DataError, number_of
from valuefree.models.adapters import add_adapter, has_adapter
from valuefree.models.modules import disable_dropout
from valuefree.models.reward_model import MAX_LENGTH, reward_inputs, scores_of
from valuefree.objectives.base import check_same_shape
from valuefree.objectives.pairwise import Pairing, pairs_within
from valuefree.training.checked_trainer import CheckedTrainer
from valuefree.training.distributed import all_reduce
from valuefree.training.divergence import check_on_divergence, on_divergence_field

logger = logging.getLogger(__name__)


def bradley_terry_loss(chosen_scores: Tensor, rejected_scores: Tensor) -> Tensor:
    r"""Negative log-likelihood that the chosen response wins, one loss per pair: :math:`-\log\sigma(s_c - s_r)`.

    Args:
        chosen_scores, rejected_scores: outputs of the reward model, shape (N,).

    Returns:
        Shape (N,), in nats.

    Raises:
        ValueError: shapes differ.

    Source: eq. 1 and 2 of the paper; Bradley and Terry 1952; Ouyang et al. 2022, arXiv 2203.02155.
    """
    check_same_shape(chosen_scores=chosen_scores, rejected_scores=rejected_scores)
    return -F.logsigmoid(chosen_scores - rejected_scores)


@dataclass
class RewardModelArguments(TrainingArguments):
    """The TrainingArguments of transformers, and further ones. `per_device_train_batch_size` counts pairs."""

    learning_rate: float = field(default=1e-4, metadata={"help": "peak learning rate; 1e-4 suits LoRA"})
    per_device_train_batch_size: int = field(default=8, metadata={"help": "pairs per micro-batch and device"})
    max_length: int = field(default=MAX_LENGTH, metadata={"help": "tokens of prompt and response together"})
    disable_dropout: bool = field(default=True, metadata={"help": "in the whole model"})
    on_divergence: str = on_divergence_field()

    def __post_init__(self) -> None:
        self.remove_unused_columns = False  # pairs of texts are not arguments of the model
        self.label_names = ["labels"]
        self.logging_nan_inf_filter = False  # the trainer stops at, or skips, a loss that is not finite
        if self.ddp_find_unused_parameters is None:
            self.ddp_find_unused_parameters = False  # the scores depend on every trained parameter
        super().__post_init__()
        check_on_divergence(self.on_divergence)


@dataclass(frozen=True)
class RewardPairs(Dataset):
    """Pairs of rows of a data set: item i is (prompt, chosen response, rejected response)."""

    rows: datasets.Dataset
    chosen: np.ndarray
    rejected: np.ndarray

    @classmethod
    def of(cls, rows: datasets.Dataset, pairs: Pairing) -> "RewardPairs":
        """The user's own pairs where there is a column pair_id, else pairs within a prompt by reward.

        Raises:
            DataError: columns missing, or no two responses to a prompt with unlike rewards.
        """
        missing = {"prompt", "response", "reward", "prompt_id"} - set(rows.column_names)
        if missing:
            raise DataError(f"the data set lacks {sorted(missing)}; make it with read_triplets or read_pairs.")
        own = "pair_id" in rows.column_names
        groups = torch.from_numpy(to_numpy(rows["pair_id" if own else "prompt_id"], np.int64))
        rewards = torch.from_numpy(to_numpy(rows["reward"], np.float64))
        chosen, rejected = pairs_within(rewards, groups, "best_worst" if own else pairs)
        chosen, rejected = chosen.numpy(), rejected.numpy()
        same = np.logical_and(*(half[chosen] == half[rejected] for half in column_hashes(rows["response"])))
        if same.any():
            logger.warning("%s left out: both responses are the same text", number_of(int(same.sum()), "pair"))
        chosen, rejected = chosen[~same], rejected[~same]
        if not len(chosen):
            raise DataError(
                f"no pair in {len(rows)} rows: no prompt has two different responses with unlike rewards. A reward "
                "model learns from comparisons; add responses, or pairs with read_pairs."
            )
        return cls(rows, chosen, rejected)

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> tuple[Prompt, str, str]:
        better, worse = self.rows[int(self.chosen[index])], self.rows[int(self.rejected[index])]
        return better["prompt"], better["response"], worse["response"]


@dataclass(frozen=True)
class PairCollator:
    """From pairs to the model's arguments: all chosen responses, then all rejected ones."""

    inputs: RewardInputs

    def __call__(self, pairs: Sequence[tuple[Prompt, str, str]]) -> dict[str, Any]:
        """Arguments of the model, 2N rows; ``labels``, zeros of shape (N,); ``cut``, how many rows were too long.

        ``prompts`` are the N texts, for error messages.
        """
        prompts, chosen, rejected = (list(column) for column in zip(*pairs, strict=True))
        batch, cut = self.inputs.batch(prompts + prompts, chosen + rejected)
        texts = [as_text(decoded(prompt)) for prompt in prompts]
        return {**batch, "labels": torch.zeros(len(pairs)), "cut": cut, "prompts": texts}


class RewardModelTrainer(CheckedTrainer):
    """Train a sequence classifier with one output so that better responses score higher.

    Args:
        model: of `AutoModelForSequenceClassification` with ``num_labels=1``: encoder, decoder or encoder-decoder.
        args: training arguments; the batch size counts pairs.
        train_dataset, eval_dataset: as `valuefree.data.read_triplets` or `valuefree.data.read_pairs` return them.
        processing_class: the tokenizer; a copy of it is saved with the model.
        pairs: ``best_worst``, ``all`` or ``adjacent`` (`valuefree.objectives.pairs_within`); not read when the data
            have pair_id.
        peft_config: adds a fresh adapter, beside which the head is trained whole; `save_model` merges it.
        kwargs: as of `transformers.Trainer` (callbacks, optimizers, …).

    Logs ``accuracy`` (share of pairs whose chosen response scores higher), ``margin`` (mean of s_c − s_r, in nats) and
    ``cut_share`` (rows that were too long), and of the evaluation rows the first two with the loss.

    Raises:
        ConfigError: a model of several outputs, no tokenizer. DataError: no pair.
        DivergenceError: see `CheckedTrainer`.
    """

    loss_is_scaled_for_ga = True  # compute_loss divides by the pairs of the global batch

    # `Trainer` declares these more widely.
    train_dataset: Any  # RewardPairs
    model: Any  # a sequence classifier, or a peft model around one
    processing_class: Any  # the tokenizer

    def __init__(
        self,
        model: PreTrainedModel,
        args: RewardModelArguments,
        train_dataset: datasets.Dataset,
        eval_dataset: datasets.Dataset | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        pairs: Pairing = "best_worst",
        peft_config: Any = None,
        **kwargs: Any,
    ):
        if processing_class is None:
            raise ConfigError("processing_class is None; pass the tokenizer of the model.")
        if not isinstance(args, RewardModelArguments):
            raise ConfigError(f"args is {type(args).__name__}; expected RewardModelArguments, which has its fields.")
        if model.config.num_labels != 1:
            raise ConfigError(f"the model has {model.config.num_labels} outputs; load it with num_labels=1.")
        tokenizer = copy.deepcopy(processing_class)
        inputs = reward_inputs(model, tokenizer, args.max_length)
        tokenizer.model_max_length = inputs.max_length  # saved, so that scoring cuts where training did
        policy = add_adapter(model, _with_head(peft_config, model)) if peft_config is not None else model
        if args.disable_dropout:
            disable_dropout(policy)
        super().__init__(
            model=policy,
            args=args,
            train_dataset=RewardPairs.of(train_dataset, pairs),
            eval_dataset=RewardPairs.of(eval_dataset, pairs) if eval_dataset is not None else None,
            processing_class=tokenizer,
            data_collator=PairCollator(inputs),
            compute_metrics=_held_out_metrics,
            **kwargs,
        )
        self._sums: dict[str, float] = {}

    def _scores(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        arguments = {name: value for name, value in inputs.items() if name not in ("labels", "cut", "prompts")}
        chosen, rejected = scores_of(model, arguments).chunk(2)
        return chosen, rejected

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Tensor | None:
        """Pairs of the global batch."""
        if not batch_samples:
            return None
        pairs = float(sum(len(sample["labels"]) for sample in batch_samples))
        return torch.tensor(all_reduce([pairs], device)[0], device=device)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Sum of the losses of the micro-batch, divided by the pairs of the global batch.

        The loss is multiplied by the number of processes, because the processes average their gradients.
        """
        chosen, rejected = self._scores(model, inputs)
        count = len(chosen) if num_items_in_batch is None else num_items_in_batch
        loss = bradley_terry_loss(chosen, rejected).sum() / count
        if model.training:
            loss = loss * self.args.world_size
            margin = (chosen - rejected).detach()
            added = {"pairs": len(margin), "accuracy": (margin > 0).sum(), "margin": margin.sum(), "cut": inputs["cut"]}
            for name, value in added.items():
                self._sums[name] = self._sums.get(name, 0.0) + float(value)
        return (loss, {}) if return_outputs else loss

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Scores of chosen and rejected responses, shape (N, 2); the loss comes from these."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            scores = torch.stack(self._scores(model, inputs), dim=1)
        return None, scores, inputs["labels"]

    def metric_sums(self) -> dict[str, float]:
        """Sums of accuracy, margin and cut rows."""
        return self._sums

    def prompts_of(self, batch: dict[str, Any]) -> dict[int | str, str]:
        """Texts of the prompts in a micro-batch, by prompt_id."""
        rows, wanted = self.train_dataset.rows, set(batch["prompts"])
        texts = (
            (name, as_text(decoded(prompt))) for name, prompt in zip(rows["prompt_id"], rows["prompt"], strict=True)
        )
        return {name: text for name, text in texts if text in wanted}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add accuracy, margin and the share of cut rows since the last log line to a training log."""
        if "loss" in logs and self._sums:
            names = sorted(self._sums)
            totals = all_reduce([self._sums[name] for name in names], self.args.device)
            total = dict(zip(names, totals, strict=True))
            means = {name: total[name] / total["pairs"] for name in ("accuracy", "margin")}
            logs = {**logs, **means, "cut_share": total["cut"] / (2 * total["pairs"])}
            self._sums = {}
        super().log(logs, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """A folder that `valuefree.evaluation.reward_functions.RewardModel` reads; an adapter is merged into it.

        Checkpoints keep the adapter apart.
        """
        if _internal_call or not has_adapter(self.model):
            super().save_model(output_dir, _internal_call)
            return
        self.check_weights()
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir or ".")
            copy.deepcopy(self.accelerator.unwrap_model(self.model)).merge_and_unload().save_pretrained(folder)
            self.processing_class.save_pretrained(folder)


def _with_head(peft_config: Any, model: PreTrainedModel) -> Any:
    """The same adapter for a sequence classifier, with the parts of `model` beside its body trained whole."""
    config = copy.deepcopy(peft_config)
    config.task_type = "SEQ_CLS"
    if config.modules_to_save is None:
        beside = [(name, part) for name, part in model.named_children() if name != model.base_model_prefix]
        config.modules_to_save = [name for name, part in beside if any(True for _ in part.parameters())]
    return config


def _held_out_metrics(predictions: EvalPrediction) -> dict[str, float]:
    scores = torch.as_tensor(predictions.predictions)
    chosen, rejected = scores.unbind(dim=1)
    margin = chosen - rejected
    loss = bradley_terry_loss(chosen, rejected).mean()
    return {"loss": float(loss), "accuracy": float((margin > 0).double().mean()), "margin": float(margin.mean())}
