"""One trainer for every objective: a `transformers.Trainer` that knows no objective by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_utils import EvalLoopOutput

from valuefree.batches.micro_batch import MicroBatch, TokenBatch
from valuefree.data.prompts import as_text, decoded
from valuefree.data.rewards import RewardScaler
from valuefree.errors import ConfigError
from valuefree.models.adapters import policy_of
from valuefree.models.hidden_states import supports_packing
from valuefree.models.logprobs import ResponseLogps, patch_forward, response_logps
from valuefree.models.modules import disable_dropout, evaluating, is_encoder_decoder
from valuefree.models.value_network import ValueNetwork, attach, check_sharding, network_of, split_groups
from valuefree.objectives.base import Objective, ObjectiveInputs, ObjectiveOutput
from valuefree.training.arguments import PolicyTrainingArguments
from valuefree.training.callbacks import RisingLoss, ShortRun
from valuefree.training.checked_trainer import CheckedTrainer
from valuefree.training.distributed import all_reduce, missing_calls
from valuefree.training.metrics import TrainingMetrics
from valuefree.training.preparation import (
    STEP_INPUTS,
    Scorer,
    add_step_inputs,
    align_stop_ids,
    partition_settings,
    prepare,
)
from valuefree.training.scored_dataset import RowCollator, ScoredDataset, collator_for, objective_inputs
from valuefree.training.training_rows import check_columns, training_rows

__all__ = ["PolicyTrainer", "PolicyTrainingArguments"]

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class PolicyTrainer(CheckedTrainer):
    """Fine-tune a policy on (prompt, response, reward) rows by any `Objective`.

    Before training it standardises the rewards, resolves the settings of the objective that depend on the data, selects
    and tokenises the objective's rows, scores every response once under the reference, estimates the partition over the
    whole data set, and prepares step inputs, each as far as the objective requires it.

    Args:
        model: encoder-decoder or decoder-only policy.
        objective: for example ``RPO()`` or ``SFT()``.
        args: training arguments; the batch size counts responses.
        train_dataset, eval_dataset: as `valuefree.data.read_triplets` returns them.
        processing_class: the tokenizer.
        reference_model: default: the policy as passed, with its adapter, if any, switched off.
        peft_config: adds a fresh adapter to `model`, and one to the value network if there is one.
        reference_samples: prompt, response and reward of samples of the reference. The partition is then estimated from
            them instead of the training rows. Every prompt must have at least one.
        kwargs: further arguments of `transformers.Trainer` (callbacks, optimizers, …).

    Raises:
        DataError: a column is missing, or a response is truncated to nothing.
        ScoringError: a row has no reference score.
        ConfigError: settings contradict each other, or the policy differs from its reference.
        DivergenceError: see `CheckedTrainer`.

    Attributes:
        objective: the resolved objective.
        reward_scaler: mean and spread of the training rewards; saved with every checkpoint.
        scorer: the reference, and how it scores; for an in-place reference only before training.
        report: the `PartitionReport` of the training rows.
        rising_loss, short_run: callbacks that warn of a rising loss, and of a run that is half warm-up.
    """

    loss_is_scaled_for_ga = True  # compute_loss divides by the denominator of the global batch

    # `Trainer` declares these more widely.
    args: Any  # PolicyTrainingArguments
    model: Any  # PreTrainedModel, or a peft model around one
    train_dataset: Any  # ScoredDataset
    eval_dataset: Any  # ScoredDataset or None
    processing_class: Any  # the tokenizer

    def __init__(
        self,
        model: PreTrainedModel,
        objective: Objective,
        args: PolicyTrainingArguments,
        train_dataset: datasets.Dataset,
        eval_dataset: datasets.Dataset | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        reference_model: PreTrainedModel | None = None,
        peft_config: Any = None,
        reference_samples: datasets.Dataset | None = None,
        **kwargs: Any,
    ):
        if processing_class is None:
            raise ConfigError("processing_class is None; pass the tokenizer of the model.")
        if not isinstance(args, PolicyTrainingArguments):
            raise ConfigError(f"args is {type(args).__name__}; expected PolicyTrainingArguments, which has its fields.")
        args.check_processes()
        check_columns(train_dataset)
        rewards = train_dataset["reward"]
        self.reward_scaler = RewardScaler.fit(rewards) if args.standardize_rewards else RewardScaler(0, 1)
        rows = training_rows(train_dataset, objective, self.reward_scaler, reference_samples)
        self.objective = objective = objective.resolve(rows)
        partition_settings(objective, rows)  # raises before the costly steps
        settings = objective.value_network() if "value_outputs" in objective.requires else None
        network = ValueNetwork(model, peft_config=peft_config, **settings) if settings is not None else None
        policy = policy_of(model, peft_config, reference_model, compared="reference_logps" in objective.requires)
        attach(policy, network)
        if args.disable_dropout:
            disable_dropout(policy)
        data = {"train_dataset": train_dataset, "eval_dataset": eval_dataset}
        super().__init__(model=policy, args=args, processing_class=processing_class, **data, **kwargs)
        if network is not None:
            check_sharding(self.accelerator.state)
        patch_forward(policy)  # before anything wraps or shards it
        # All layers of T5 read the relative positions of its first layer, which FSDP shards separately.
        packed = args.padding_free and not (is_encoder_decoder(model) and self.is_fsdp_enabled)
        packed = packed and (reference_model is None or supports_packing(reference_model))
        self._collator = collator_for(policy, processing_class, share_prompts=args.share_prompts, padding_free=packed)
        self.scorer = scorer = Scorer(
            reference_model if reference_model is not None else policy,
            processing_class,
            self._collator,
            device=args.device,
            limits=args.limits(),
            cache_dir=args.score_cache_dir,
            batch_tokens=args.score_batch_tokens,
            autocast=AUTOCAST.get(self.accelerator.mixed_precision),  # from the arguments or the launcher
            progress=not args.disable_tqdm,
        )
        self.train_dataset = prepare(train_dataset, rows, objective, scorer)
        self.eval_dataset = None
        if eval_dataset is not None:
            eval_rows = training_rows(eval_dataset, objective, self.reward_scaler, reference_samples)
            self.eval_dataset = prepare(eval_dataset, eval_rows, objective, scorer)
        self._add_step_inputs(scorer)
        self.report = self.train_dataset.report
        self.rising_loss, self.short_run = RisingLoss(), ShortRun()
        self.add_callback(self.rising_loss)
        self.add_callback(self.short_run)
        self._metrics = TrainingMetrics(args.device)

    def _add_step_inputs(self, scorer: Scorer) -> None:
        """Prepare the required step inputs, while the policy still equals the reference."""
        requires = self.objective.requires
        if not requires & STEP_INPUTS.keys():
            return
        epochs, *_ = self.set_initial_training_values(self.args, self.get_train_dataloader())
        add_step_inputs(self.train_dataset, requires, scorer, epochs=epochs, seed=self._data_seed)
        if self.eval_dataset is not None:
            add_step_inputs(self.eval_dataset, requires, scorer, epochs=1, seed=self._data_seed)

    @property
    def temperature(self) -> float | None:
        """Temperature of the objective in the unit of the rewards in the data; None if it has none."""
        tau = self.objective.temperature()
        return None if tau is None else tau * self.reward_scaler.scale

    @property
    def _data_seed(self) -> int:
        return self.args.seed if self.args.data_seed is None else self.args.data_seed

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimizer of `transformers.Trainer`, with the learning rates of the objective."""
        given = self.optimizer is not None
        optimizer = super().create_optimizer(model)
        rate = self.args.learning_rate
        rates = self.objective.learning_rates(rate)
        network = network_of(self.model)
        if not given and (network is not None or rates["policy"] != rate):
            split_groups(optimizer, network, rates)
        return optimizer

    # ------------------------------------------------------------------------------------------------------ batches

    def _loader(self, dataset: ScoredDataset, batch_size: int, accumulation: int, **order: Any) -> DataLoader:
        """Micro-batches of this rank; `accumulation` of them make an optimizer step."""
        requires = self.objective.requires
        parts = {"whole_groups": "groups" in requires, "prompts": "value_outputs" in requires}
        collator = RowCollator(dataset, self._collator, self.objective.loss_denominator, **parts)
        return collator.loader(self.args, batch_size=batch_size, accumulation=accumulation, **order)

    def get_train_dataloader(self) -> DataLoader:
        """Prompt-grouped micro-batches; see `valuefree.batches.sampling.GroupBatches`."""
        args = self.args
        strategy = args.train_sampling_strategy
        if strategy == "auto":
            strategy = "random" if self._collator.padding_free else "group_by_length"
        return self._loader(
            self.train_dataset,
            args.train_batch_size,
            args.gradient_accumulation_steps,
            seed=self._data_seed,
            strategy=strategy,
            batch_tokens=args.batch_tokens,
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """The evaluation rows in their order; they were prepared when the trainer was made."""
        dataset = eval_dataset if eval_dataset is not None else self.eval_dataset
        if isinstance(dataset, datasets.Dataset):
            raise ConfigError(
                "pass the evaluation rows as eval_dataset when the trainer is made; it scores them at that time."
            )
        if dataset is None:
            raise ConfigError("there are no evaluation rows; pass eval_dataset when the trainer is made.")
        return self._loader(dataset, self.args.eval_batch_size, 1, seed=None)

    def _prepare_inputs(self, inputs: MicroBatch | Any) -> Any:
        """The micro-batch with its tensors on the device."""
        return inputs.map_tensors(self._prepare_input)

    def _get_num_items_in_batch(self, batch_samples: list[MicroBatch], device: torch.device) -> Tensor | None:
        """The divisor of the loss of the global batch."""
        if not batch_samples:
            return None
        own = float(sum(batch.loss_denominator for batch in batch_samples))
        return torch.tensor(all_reduce([own], device)[0], device=device)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The micro-batches of a step, with the inputs that are computed once per step, and its loss divisor."""
        samples, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        if samples and self.train_dataset.step_inputs:
            epoch = self.state.global_step // self._steps_per_epoch
            samples = self._with_step_inputs(self.model_wrapped, samples, self.train_dataset, epoch)
        return samples, count

    def set_initial_training_values(self, args: Any, dataloader: DataLoader) -> Any:
        """The values of `transformers.Trainer`; stores the number of steps per epoch."""
        values = super().set_initial_training_values(args, dataloader)
        self._steps_per_epoch = values[1]
        return values

    def _with_step_inputs(
        self, model: Any, batches: list[MicroBatch], dataset: ScoredDataset, epoch: int
    ) -> list[MicroBatch]:
        """The micro-batches of a whole step, with the inputs that are computed over all of them."""

        def logps(batch: TokenBatch) -> Tensor:
            batch = {name: self._prepare_input(tensor) for name, tensor in batch.items()}
            with torch.no_grad(), self.compute_loss_context_manager():
                return self._logps(model, batch).total

        with evaluating(model):
            made = {
                name: step_input.compute(dataset, batches, logps, epoch, self.args.device)
                for name, step_input in dataset.step_inputs.items()
            }
        return [replace(batch, step_inputs=made) for batch in batches]

    # --------------------------------------------------------------------------------------------------------- loss

    def _logps(self, model: nn.Module, batch: TokenBatch, prompts: TokenBatch | None = None) -> ResponseLogps:
        args = self.args
        limits = {"chunk_tokens": args.chunk_tokens, "max_logit_bytes": args.max_logit_bytes}
        return response_logps(model, batch, value_batch=prompts, **limits)

    def _apply(self, model: nn.Module, inputs: MicroBatch) -> tuple[ObjectiveInputs, ObjectiveOutput]:
        """The objective on the micro-batch's rows and, without gradient, on the rest of their prompts' rows."""
        idle = missing_calls(len(inputs.context), self.args.device) if "groups" in self.objective.requires else 0
        own = self._logps(model, inputs.batch, inputs.prompts)
        with torch.no_grad():
            rest = [self._logps(model, batch) for batch in inputs.context]
            for _ in range(idle):
                self._logps(model, inputs.batch)
        given = objective_inputs(inputs, [own, *rest])
        return given, self.objective(given)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: MicroBatch | Any,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Sum of the losses of the micro-batch, divided by the denominator of the global batch.

        The loss is multiplied by the number of processes, because the processes average their gradients.
        """
        given, output = self._apply(model, inputs)
        denominator = float(inputs.loss_denominator if num_items_in_batch is None else num_items_in_batch)
        loss = (output.losses[: inputs.counted].sum() / (denominator or 1.0)).float()  # no counted row: a loss of 0
        if model.training:
            self._metrics.add(output, inputs, given)
            loss = loss * self.args.world_size
        return (loss, {}) if return_outputs else loss

    # ------------------------------------------------------------------------------------------------------ logging

    def metric_sums(self) -> dict[str, float]:
        """Sums of the objective's metrics."""
        return self._metrics.sums

    def prompts_of(self, batch: MicroBatch) -> dict[int | str, str]:
        """Texts of the prompts in a micro-batch, by prompt_id."""
        rows = self.train_dataset.table.select(batch.row_numbers)
        return {name: as_text(decoded(text)) for name, text in zip(rows["prompt_id"], rows["prompt"], strict=True)}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the objective's metrics since the last log line, throughput and peak memory to a training log."""
        if "loss" in logs and self._metrics.sums:
            logs = {**logs, **self._metrics.summary(self.report)}
        super().log(logs, start_time)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as `transformers.Trainer` does; throughput is measured from here on."""
        align_stop_ids(self.model, self.processing_class)
        self._metrics.restart()
        return super().train(*args, **kwargs)

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Mean loss and metrics of the objective over the evaluation rows."""
        model = self._wrap_model(self.model, training=False)
        model.eval()
        sums = TrainingMetrics(self.args.device)
        batches: Any = dataloader
        dataset: Any = dataloader.dataset  # a ScoredDataset, as `get_eval_dataloader` made it
        if dataset.step_inputs:  # over all rows at once, so that the result does not depend on the batches
            batches = self._with_step_inputs(model, list(dataloader), dataset, 0)
        for batch in batches:
            with torch.no_grad(), self.compute_loss_context_manager():
                _, output = self._apply(model, self._prepare_inputs(batch))
            sums.add(output, batch)
        means, total = sums.means()
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in means.items()}
        rows = int(total["responses"])
        nothing: Any = None
        return EvalLoopOutput(predictions=nothing, label_ids=None, metrics=metrics, num_samples=rows)

    def floating_point_ops(self, inputs: MicroBatch | Any) -> int:
        """6 · parameters · tokens (Kaplan et al. 2020, arXiv 2001.08361)."""
        return 6 * sum(p.numel() for p in self.model.parameters()) * inputs.batch["input_ids"].numel()

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:  # other processes may arrive before the first one has made the folder
            self.reward_scaler.save(Path(output_dir or self.args.output_dir or "."))
