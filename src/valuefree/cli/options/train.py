"""Options of ``valuefree train``; no torch."""

from dataclasses import dataclass
from typing import ClassVar

from valuefree.cli.options.groups import (
    REFERENCE_SAMPLES,
    DataOptions,
    DecodingOptions,
    LengthOptions,
    ModelOptions,
    RewardOptions,
    ScoreOptions,
    option,
)
from valuefree.cli.options.metrics import MetricOptions
from valuefree.cli.options.objective import PAIRWISE, PARTITIONED, REWARD_MODEL, ObjectiveOptions
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.registry import OWNED, kind_of

NOT_OF_REWARD_MODELS = (
    "max_prompt_length",
    "max_response_length",
    "cache_dir",
    "score_batch_tokens",
    "batch_tokens",
    "max_new_tokens",
    "temperature",
    "top_k",
    "top_p",
    "generation_batch_size",
    "reward_function",
    "samples_per_prompt",
    "kl_prompts",
    "reference_samples",
    "metrics",
    "metric_for_best_model",
    *OWNED,
)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(
    DataOptions,
    ModelOptions,
    LengthOptions,
    ScoreOptions,
    ObjectiveOptions,
    DecodingOptions,
    RewardOptions,
    MetricOptions,
):
    """Of ``valuefree train``."""

    about: ClassVar[str] = "Fine-tune a policy on feedback, and report what it gained on held-out prompts."
    chosen: str | None = option(None, "column of the preferred response: pairs of your own; default: pairs by reward")
    rejected: str | None = option(None, "column of the response that lost; goes with chosen; default: none")
    desirable: str | None = option(None, "kto: column of true/false; default: rewards above the threshold")
    reference_samples: str | None = option(None, REFERENCE_SAMPLES)
    out: str = option("outputs/train", "folder of the run")
    test_prompts: int = option(48, "prompts held out for what is reported in the end; 0 for none")
    validation_prompts: int = option(
        0, "further prompts held out, for what is measured while training and for patience; 0 for none"
    )
    seed: int = option(0, "of split, order, adapter and sampling")
    epochs: float = option(1.0, "passes over the training rows")
    max_steps: int = option(-1, "optimiser steps, instead of epochs; -1 for none")
    lr: float = option(5e-4, "peak learning rate; for full fine-tuning (lora_rank 0) rather 1e-5 to 1e-4")
    warmup_steps: int = option(10, "steps of linear warm-up")
    batch_size: int = option(8, "responses (reward-model: pairs) per micro-batch")
    batch_tokens: int | None = option(None, "positions per micro-batch, padding included; default: no limit of its own")
    accumulation: int = option(1, "micro-batches per optimiser step")
    lora_rank: int = option(16, "rank of the adapter; 0 trains all weights")
    gradient_checkpointing: bool = option(False, "recompute activations in the backward pass, to save memory")
    eval_steps: int = option(
        0, "steps between losses (and --metrics) on validation prompts, or without these on the test prompts; 0: none"
    )
    patience: int = option(0, "stop after this many evaluations that are not better; 0 for never")
    metric_for_best_model: str | None = option(
        None, "keep the checkpoint that is best by this: loss, reward, or one of --metrics; default: loss if patience"
    )
    save_steps: int = option(0, "steps between checkpoints; 0 for the end and on a signal only")
    logging_steps: int = option(10, "steps between log lines")
    report_to: str = option("none", "tensorboard, wandb, trackio or none")
    resume: bool = option(False, "go on from the last checkpoint in the folder out, with the settings of that run")
    overwrite: bool = option(False, "replace the run in the folder out: remove what it wrote, and nothing else")
    kl_prompts: int = option(32, "held-out prompts that estimate the KL to the reference; 0 for none")
    dry_run: bool = option(False, "read and check the data, print the settings, and stop")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resume and self.overwrite:
            raise ConfigError("resume goes on with the run, overwrite replaces it; give one of the two.")
        self._check_validation()
        if self.reward_function and not self.test_prompts:
            raise ConfigError("reward_function needs test_prompts above 0: it rewards responses to held-out prompts.")
        self._check_columns()
        if self.objective == REWARD_MODEL:
            idle = [name for name in self.changed() if name in NOT_OF_REWARD_MODELS]
            if idle:
                raise ConfigError(f"objective {REWARD_MODEL} does not read {', '.join(idle)}; leave it out.")
        if self.reference_samples is not None and self.objective not in PARTITIONED:
            raise ConfigError(f"reference_samples is read by {', '.join(PARTITIONED)}, not by {self.objective}.")

    def selects(self) -> str | None:
        """What the best checkpoint is chosen by; None to keep the last one."""
        return self.metric_for_best_model or ("loss" if self.patience else None)

    def measured(self) -> tuple[str, ...]:
        """Metrics of the responses to validation prompts; a reward function brings the reward."""
        asked = self.metric_list()
        rewarded = self.reward_function is not None and bool(asked or self.metric_for_best_model == "reward")
        return (*asked, "reward") if rewarded and "reward" not in asked else asked

    def _check_validation(self) -> None:
        names, chosen = self.measured(), self.selects()
        if self.validation_prompts < 0:
            raise ConfigError(f"validation_prompts is {self.validation_prompts}; expected at least 0.")
        if chosen is not None and not (self.eval_steps and self.validation_prompts):
            flag = f"patience={self.patience}" if self.patience else f"metric_for_best_model={chosen}"
            raise ConfigError(
                f"{flag} needs eval_steps and validation_prompts above 0: it selects a checkpoint, by prompts that no "
                "reported number uses."
            )
        if names and not (self.eval_steps and self.validation_prompts):
            raise ConfigError("metrics needs eval_steps and validation_prompts above 0: when and on what to measure.")
        if self.validation_prompts and not self.eval_steps:
            raise ConfigError("validation_prompts needs eval_steps above 0: nothing would be measured on them.")
        if "reward" in names and not self.reward_function:
            raise ConfigError("metric reward needs reward_function.")
        if "kl" in names and not self.lora_rank:
            raise ConfigError("metric kl needs lora_rank above 0: while training the reference is the adapter off.")
        self.check_metrics(names)
        if chosen not in (None, "loss", *names):
            raise ConfigError(f"metric_for_best_model is {chosen}; choose loss or one of metrics ({', '.join(names)}).")
        if chosen not in (None, "loss") and kind_of(chosen).better is None:
            raise ConfigError(f"metric_for_best_model is {chosen}, of which neither more nor less is better.")
        if chosen is not None and self.save_steps % self.eval_steps:
            raise ConfigError(
                f"save_steps is {self.save_steps} and eval_steps {self.eval_steps}: to keep the best checkpoint the "
                "first must be a multiple of the second, or 0 for the same."
            )

    def _check_columns(self) -> None:
        if (self.chosen is None) != (self.rejected is None):
            raise ConfigError("chosen and rejected go together: give both columns, or neither for pairs by reward.")
        if self.desirable is not None and (self.objective != "kto" or self.threshold is not None):
            raise ConfigError("desirable is read by objective kto alone, and in place of threshold.")
        if self.chosen is None:
            return
        if self.objective not in (*PAIRWISE, REWARD_MODEL):
            raise ConfigError(
                f"chosen and rejected are read by {', '.join(PAIRWISE)} and {REWARD_MODEL}, not by {self.objective}."
            )
        idle = [name for name in ("response", "reward", "thumbs", "pairs") if name in self.changed()]
        if idle:
            raise ConfigError(f"with chosen and rejected nothing reads {', '.join(idle)}; leave it out.")
