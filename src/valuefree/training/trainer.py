"""⑤ One trainer for every objective: a `transformers.Trainer` that knows none of them by name."""

import logging
from pathlib import Path
from typing import Any

import datasets
import torch
from accelerate.data_loader import prepare_data_loader
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.trainer_utils import EvalLoopOutput

from valuefree.data.rewards import RewardScaler
from valuefree.errors import ConfigError
from valuefree.models.load import disable_dropout, evaluating, is_encoder_decoder, policy_of
from valuefree.models.logprobs import ResponseLogps, patch_forward, response_logps, supports_packing
from valuefree.models.value_network import ValueNetwork, attach, check_sharding, network_of, save, split_groups
from valuefree.objectives.base import Objective, ObjectiveInputs, ObjectiveOutput
from valuefree.training.arguments import PolicyTrainingArguments
from valuefree.training.callbacks import RisingLoss, ShortRun
from valuefree.training.distributed import all_reduce
from valuefree.training.metrics import TrainingMetrics
from valuefree.training.preparation import Preparation, align_stop_ids, check_columns, partition_settings, training_rows
from valuefree.training.scored_dataset import RowCollator, ScoredDataset, collator_for, mean_logratio

__all__ = ["PolicyTrainer", "PolicyTrainingArguments"]

logger = logging.getLogger(__name__)

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class PolicyTrainer(Trainer):
    """Fine-tune a policy on (prompt, response, reward) rows by any `Objective`.

    Before training it standardises rewards on the training rows, lets the objective decide what it leaves to the data
    and choose its rows, tokenises them, scores every response once under the reference, estimates the partition over
    the whole data set, and draws mismatched pairs for every epoch, as far as the objective requires these.

    Args:
        model: encoder-decoder or decoder-only policy.
        objective: for example ``RPO()`` or ``SFT()``.
        args: training arguments; the batch size counts responses.
        train_dataset, eval_dataset: as `valuefree.data.read_triplets` returns them.
        processing_class: the tokenizer.
        reference_model: default: the policy as it is given, with the adapter, if any, switched off.
        peft_config: adds a fresh adapter to `model`, and one to the value network if there is one.
        reference_samples: prompt, response and reward of samples drawn from the reference, which the partition then
            takes instead of the data; every prompt must have one.
        kwargs: as of `transformers.Trainer` (callbacks, optimizers, …).

    Raises:
        DataError: columns missing, responses truncated away. ScoringError: rows without a reference score.
        ConfigError: settings that contradict each other; a policy that does not start at its reference.

    Attributes:
        objective: with what it leaves to the data decided.
        reward_scaler: saved with every checkpoint.
        report: the `PartitionReport` of the training rows.
        rising_loss, short_run: warn when the training loss rises, and when half of the steps are warm-up.
    """

    loss_is_scaled_for_ga = True  # compute_loss divides by the count of the global batch

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
        settings = partition_settings(objective, rows)
        learned = objective.value_network() if "learned" in objective.requires else None
        network = ValueNetwork(model, peft_config=peft_config, **learned) if learned is not None else None
        policy = policy_of(model, peft_config, reference_model, compared="reference_logps" in objective.requires)
        attach(policy, network)
        if args.disable_dropout:
            disable_dropout(policy)
        data = {"train_dataset": train_dataset, "eval_dataset": eval_dataset}
        super().__init__(model=policy, args=args, processing_class=processing_class, **data, **kwargs)
        if network is not None:
            check_sharding(self.accelerator.state)
        patch_forward(policy)  # before anything wraps or shards it
        # T5's relative positions are weights of one layer that all layers use, which FSDP shards apart.
        packed = args.padding_free and not (is_encoder_decoder(model) and self.is_fsdp_enabled)
        packed = packed and (reference_model is None or supports_packing(reference_model))
        self._collator = collator_for(policy, processing_class, share_prompts=args.share_prompts, padding_free=packed)
        preparation = Preparation(
            objective,
            settings,
            args,
            processing_class,
            self._collator,
            scorer=reference_model if reference_model is not None else policy,
            autocast=AUTOCAST.get(self.accelerator.mixed_precision),  # the recipe's, or the launcher's
        )
        self.train_dataset = preparation(train_dataset, rows)  # type: ignore[assignment]
        self.eval_dataset = None
        if eval_dataset is not None:
            eval_rows = training_rows(eval_dataset, objective, self.reward_scaler, reference_samples)
            self.eval_dataset = preparation(eval_dataset, eval_rows)  # type: ignore[assignment]
        if "baseline" in objective.requires:
            epochs, *_ = self.set_initial_training_values(args, self.get_train_dataloader())
            preparation.mismatch(self.train_dataset, epochs=epochs, seed=self._data_seed)  # type: ignore[arg-type]
            if self.eval_dataset is not None:
                preparation.mismatch(self.eval_dataset, epochs=1, seed=self._data_seed)
        self.report = self.train_dataset.report
        self.rising_loss, self.short_run = RisingLoss(), ShortRun()
        self.add_callback(self.rising_loss)
        self.add_callback(self.short_run)
        self._meter = TrainingMetrics(args.device)

    @property
    def _data_seed(self) -> int:
        return self.args.seed if self.args.data_seed is None else self.args.data_seed

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """As of `transformers.Trainer`, with the objective's learning rates."""
        given = self.optimizer is not None
        optimizer = super().create_optimizer(model)
        rate = self.args.learning_rate
        rates = self.objective.learning_rates(rate)
        network = network_of(self.model)  # type: ignore[arg-type]
        if not given and (network is not None or rates["policy"] != rate):
            split_groups(optimizer, network, rates)
        return optimizer

    # ------------------------------------------------------------------------------------------------------ batches

    def _row_collator(self, prepared: ScoredDataset) -> RowCollator:
        needed = self.objective.requires
        asked = {"whole_groups": "groups" in needed, "prompts": "learned" in needed}
        return RowCollator(prepared, self._collator, self.objective.counts, **asked)

    def _loader(self, prepared: ScoredDataset, batch_size: int, steps: int, **order: Any) -> DataLoader:
        """Micro-batches of this rank; `steps` of them make an optimiser step."""
        collator = self._row_collator(prepared)
        sampler = collator.sampler(
            batch_size=batch_size,
            micro_batches=steps * self.args.world_size,
            whole_groups=collator.whole_groups and self.args.world_size > 1,
            rank=self.args.process_index,
            world_size=self.args.world_size,
            **order,
        )
        loader = DataLoader(
            prepared,  # type: ignore[arg-type]
            batch_sampler=sampler,  # type: ignore[arg-type]
            collate_fn=collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
        )
        # The sampler deals rows out to ranks itself, so accelerate shall not.
        return prepare_data_loader(loader, num_processes=1, process_index=0, put_on_device=False)

    def get_train_dataloader(self) -> DataLoader:
        """Prompt-grouped micro-batches; see `valuefree.batches.sampling.GroupBatches`."""
        args: PolicyTrainingArguments = self.args  # type: ignore[assignment]
        strategy = args.train_sampling_strategy
        if strategy == "auto":
            strategy = "random" if self._collator.padding_free else "group_by_length"
        return self._loader(
            self.train_dataset,  # type: ignore[arg-type]
            args.train_batch_size,
            args.gradient_accumulation_steps,
            seed=self._data_seed,
            strategy=strategy,
            batch_tokens=args.batch_tokens,
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """The evaluation rows, prepared when the trainer was made, in their order."""
        prepared = eval_dataset if eval_dataset is not None else self.eval_dataset
        if isinstance(prepared, datasets.Dataset):
            raise ConfigError("pass the evaluation rows as eval_dataset when the trainer is made: it scores them then.")
        if prepared is None:
            raise ConfigError("there are no evaluation rows; pass eval_dataset when the trainer is made.")
        return self._loader(prepared, self.args.eval_batch_size, 1, seed=None)

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Tensor | None:
        """The count of the global batch: what the sum of its losses is divided by."""
        if not batch_samples:
            return None
        counts = [float(sum(sample["count"] for sample in batch_samples))]
        return torch.tensor(all_reduce(counts, device)[0], device=device)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The micro-batches of a step, with the step's baseline where the objective requires one, and its count."""
        samples, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        if samples and "baseline" in self.objective.requires:
            epoch = self.state.global_step // self._steps_per_epoch
            self._add_baseline(self.model_wrapped, samples, self.train_dataset, epoch)  # type: ignore[arg-type]
        return samples, count

    def set_initial_training_values(self, args: Any, dataloader: DataLoader) -> Any:
        """As of `transformers.Trainer`; remembers how many steps make an epoch."""
        values = super().set_initial_training_values(args, dataloader)
        self._steps_per_epoch = values[1]
        return values

    def _add_baseline(self, model: nn.Module, samples: list, prepared: Any, epoch: int) -> None:
        """Put the baseline of a whole step into each of its micro-batches."""

        def logps(batch: dict[str, Tensor]) -> Tensor:
            with torch.no_grad(), self.compute_loss_context_manager():
                return self._logps(model, self._prepare_inputs(batch)).total  # type: ignore[arg-type]

        with evaluating(model):
            found = mean_logratio(logps, self._row_collator(prepared), samples, epoch, self.args.device)
        for sample in samples:
            sample["baseline"] = found

    # --------------------------------------------------------------------------------------------------------- loss

    def _logps(self, model: nn.Module, batch: dict[str, Tensor], prompts: Any = None) -> ResponseLogps:
        args: PolicyTrainingArguments = self.args  # type: ignore[assignment]
        limits = {"chunk_tokens": args.chunk_tokens, "max_logit_bytes": args.max_logit_bytes}
        return response_logps(model, batch, value_batch=prompts, **limits)

    def _apply(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[ObjectiveInputs, ObjectiveOutput]:
        """The objective on the counted rows and, without gradient, on the rest of their groups."""
        idle = self._idle_forwards(len(inputs["context"]))
        own = self._logps(model, inputs["batch"], inputs["prompts"])
        with torch.no_grad():
            rest = [self._logps(model, batch) for batch in inputs["context"]]
            for _ in range(idle):
                self._logps(model, inputs["batch"])
        total = torch.cat([own.total, *(part.total for part in rest)])
        tokens = torch.cat([own.tokens, *(part.tokens for part in rest)])
        # ρ is formed in float64: at −5000 nats float32 steps are 5e-4 wide.
        rows = {
            name: column if column.dtype == torch.int64 else column.double() for name, column in inputs["rows"].items()
        }
        learned = own.values[inputs["prompt_row"]].double() if own.values is not None else None
        made = {"learned": learned, "baseline": inputs.get("baseline"), "columns": inputs["columns"]}
        given = ObjectiveInputs(policy_logps=total.double(), tokens=tokens, **rows, **made)
        return given, self.objective(given)

    def _idle_forwards(self, done: int) -> int:
        """How many more forwards another rank makes: each of them is a collective call, in which all must join."""
        if self.args.world_size == 1 or "groups" not in self.objective.requires:
            return 0
        return int(all_reduce([float(done)], self.args.device, how="max")[0]) - done

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Sum of the losses over the micro-batch, divided by the count of the global batch.

        Times the number of processes, because they average gradients and losses.
        """
        given, output = self._apply(model, inputs)
        count = float(inputs["count"] if num_items_in_batch is None else num_items_in_batch)
        loss = (output.losses[: inputs["responses"]].sum() / (count or 1.0)).float()  # nothing counted: a loss of 0
        if model.training:
            self._meter.add(output, inputs, given)
            loss = loss * self.args.world_size
        return (loss, {}) if return_outputs else loss

    # ------------------------------------------------------------------------------------------------------ logging

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Training logs with the objective's metrics since the last ones, throughput and peak memory."""
        if "loss" in logs and self._meter.sums:
            logs = {**logs, **self._meter.summary(self.report)}
        super().log(logs, start_time)

    def step_zero_noise(self, batches: int = 2) -> dict[str, float]:
        """|ρ| of the untouched policy on the first micro-batches, in nats, beside Σ|token log-prob|: mere rounding."""
        worst, scale = 0.0, 0.0
        loader = self.get_train_dataloader()
        for _, inputs in zip(range(batches), loader, strict=False):
            if "baseline" in self.objective.requires:
                self._add_baseline(self.model, [inputs], self.train_dataset, 0)  # type: ignore[arg-type]
            with torch.no_grad(), self.compute_loss_context_manager():
                given, _ = self._apply(self.model, self._prepare_inputs(inputs))  # type: ignore[arg-type]
            if given.reference_logps is None:
                raise ConfigError(f"{type(self.objective).__name__} has no reference to compare with.")
            worst = max(worst, float((given.policy_logps - given.reference_logps).abs().max()))
            scale = max(scale, float(given.policy_logps.abs().max()))
        return {"rho_max": worst, "logp_max": scale}

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As `transformers.Trainer.train`; the clock of the throughput starts here."""
        align_stop_ids(self.model, self.processing_class)  # type: ignore[arg-type]
        self._meter.restart()
        return super().train(*args, **kwargs)

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Mean loss of the evaluation rows, and the objective's metrics."""
        model = self._wrap_model(self.model, training=False)  # type: ignore[arg-type]
        model.eval()
        meter = TrainingMetrics(self.args.device)
        shared: dict[str, Any] = {}
        if "baseline" in self.objective.requires:
            samples = [{name: inputs[name] for name in ("numbers", "responses")} for inputs in dataloader]
            self._add_baseline(model, samples, dataloader.dataset, 0)
            shared = {"baseline": samples[0]["baseline"]}
        for given in dataloader:
            inputs = {**given, **shared}
            with torch.no_grad(), self.compute_loss_context_manager():
                _, output = self._apply(model, self._prepare_inputs(inputs))  # type: ignore[arg-type]
            meter.add(output, inputs)
        means, total = meter.means()
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in means.items()}
        rows = int(total["responses"])
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=metrics, num_samples=rows)  # type: ignore

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """6 · parameters · tokens, as is usual (Kaplan et al. 2020, arXiv 2001.08361)."""
        return 6 * sum(p.numel() for p in self.model.parameters()) * inputs["batch"]["input_ids"].numel()  # type: ignore

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The policy alone; a checkpoint also has the value network, in a file of its own."""
        super().save_model(output_dir, _internal_call)
        network = network_of(self.model) if _internal_call else None  # type: ignore[arg-type]
        if network is not None:
            weights = network.whole()
            if self.args.should_save:
                save(weights, output_dir or str(self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        network = network_of(self.model)  # type: ignore[arg-type]
        if network is not None:
            network.load(resume_from_checkpoint)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:  # the other processes may come here before the first one has made the folder
            self.reward_scaler.save(Path(output_dir or self.args.output_dir or "."))
