"""Options of ``valuefree train``; no torch."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import (
    DataOptions,
    DecodingOptions,
    LengthOptions,
    ModelOptions,
    ResultOptions,
    RewardOptions,
    ScoreOptions,
    option,
)
from valuefree.cli.options.metrics import MetricOptions
from valuefree.cli.options.objective import (
    REWARD_MODEL,
    ObjectiveOptions,
    objectives_that_read,
    partitioned,
    reference_samples_option,
)
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.registry import HELD_OUT_DEFAULT, HELD_OUT_MEASURES, kind_of

# Options that a resumed run can take up in mid-run: they set the learning rate of the steps that are left.
CHANGEABLE = ("lr", "epochs", "max_steps", "warmup_steps")
# Options that the training of a reward model does not read.
NOT_OF_REWARD_MODELS = (
    *("max_prompt_length", "max_response_length", "cache_dir", "score_batch_tokens", "batch_tokens"),
    *("kl_prompts", "reference_samples", "quantize", "metric_for_best_model", "strength", "max_kl"),
    *(item.name for group in (DecodingOptions, RewardOptions, MetricOptions) for item in fields(group)),
)


def _output(default: Any, text: str, **more: Any) -> Any:
    return option(default, text, group="output", **more)


def _evaluation(default: Any, text: str, **more: Any) -> Any:
    return option(default, text, group="evaluation", **more)


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
    ResultOptions,
):
    """Of ``valuefree train``."""

    about: ClassVar[str] = VERBS["train"]
    group: ClassVar[str] = "training"
    shown_first: ClassVar[tuple[str, ...]] = (
        *("data", "model", "objective", "epochs", "lr", "batch_size", "reward_function", "out"),
    )
    chosen: str | None = option(
        None, "column of the preferred response, for pairs of your own", otherwise="none, pairs by reward", group="data"
    )
    rejected: str | None = option(
        None, "column of the other response of the pair; goes with chosen", otherwise="none", group="data"
    )
    desirable: str | None = option(
        None, "kto: column of true/false", otherwise="none, rewards above the threshold are desirable", group="data"
    )
    reference_samples: str | None = reference_samples_option()
    test_prompts: int | None = _evaluation(
        None,
        "prompts held out for the numbers of the final report; 0 for none",
        otherwise="a quarter, at most 400",
        minimum=0,
    )
    validation_prompts: int | None = _evaluation(
        None,
        "further prompts held out, to select the strength, the best checkpoint and when to stop by; 0 for none",
        otherwise="an eighth, at most 200; none below 400 prompts unless an option needs them",
        minimum=0,
    )
    strength: Literal["auto", "off"] = _evaluation(
        "auto",
        "auto: after training, scale the policy's distance from the reference as the selection prompts support; off: "
        "leave it as trained",
    )
    max_kl: float | None = _evaluation(
        None, "strength auto: largest KL to the reference, in nats per response", otherwise="no limit", above=0
    )
    seed: int = option(0, "random seed of split, order, adapter and sampling", minimum=0)
    epochs: float = option(1.0, "passes over the training rows", above=0)
    max_steps: int = option(-1, "optimiser steps, instead of epochs; -1 for none", minimum=-1)
    lr: float | Literal["auto"] = option(
        5e-4,
        "peak learning rate; for full fine-tuning (lora_rank 0) rather 1e-5 to 1e-4; auto: a short search, about as "
        "long as the run, by the ranking of logged responses to the selection prompts",
        minimum=0,
        maximum=1e30,
    )
    warmup_steps: int | None = option(
        None, "steps of linear warm-up", otherwise="10, at most a fifth of the steps", minimum=0
    )
    batch_size: int = option(8, "responses (reward-model: pairs) per micro-batch", minimum=1)
    batch_tokens: int | None = option(
        None, "token positions per micro-batch, padding included", otherwise="no separate limit", minimum=1
    )
    accumulation: int = option(1, "micro-batches per optimizer step", minimum=1)
    lora_rank: int = option(16, "rank of the adapter; 0 trains all weights", minimum=0)
    on_divergence: Literal["stop", "skip"] = option(
        "stop", "stop: stop at a loss or gradient that is not finite; skip: leave out that step's update, and count it"
    )
    gradient_checkpointing: bool = option(False, "recompute activations in the backward pass, to save memory")
    eval_steps: int = _evaluation(
        0,
        "steps between evaluations of the loss (and --metrics) on the validation prompts, or without these on the test "
        "prompts; 0 for none",
        minimum=0,
    )
    patience: int = option(
        0, "early stopping: stop after this many evaluations without improvement; 0 for never", minimum=0
    )
    metric_for_best_model: str | None = _evaluation(
        None,
        "keep the checkpoint that is best by this: loss, reward, one of --metrics, or of the logged responses "
        f"{', '.join(HELD_OUT_MEASURES)}",
        otherwise=f"{HELD_OUT_DEFAULT} (reward-model: loss) with patience, else the last checkpoint is kept",
    )
    out: str = _output("outputs/train", "folder of the run", output="folder")
    save_minutes: float = _output(
        10.0, "minutes between checkpoints, and one after the last step; 0 for no checkpoints by time", minimum=0
    )
    save_steps: int = _output(0, "steps between checkpoints, beside those by time; 0 for none", minimum=0)
    logging_steps: int = _output(10, "steps between log lines", minimum=1)
    report_to: str = _output("none", "tensorboard, wandb, trackio or none")
    resume: bool = _output(
        False, "continue from the newest whole checkpoint in the folder out, with the settings of that run"
    )
    allow_changed: str | None = _output(
        None,
        f"with resume: options that have another value from here on, such as lr,epochs; of {', '.join(CHANGEABLE)}",
        otherwise="none",
    )
    overwrite: bool = _output(False, "replace the run in the folder out: remove what it wrote, and nothing else")
    kl_prompts: int = _evaluation(
        32, "held-out prompts used to estimate the KL to the reference; 0 for none", minimum=0
    )
    dry_run: bool = _output(False, "read and check the data, print the settings, and stop")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resume and self.overwrite:
            raise ConfigError("resume continues the run, overwrite replaces it; give one of the two.")
        if self.quantize and not self.lora_rank:
            raise ConfigError("quantize needs lora_rank above 0: weights of 4 or 8 bits have no gradient to train by.")
        if self.allow_changed is not None and not self.resume:
            raise ConfigError("nothing reads allow_changed without resume. Leave it out.")
        unknown = sorted(self.may_change() - set(CHANGEABLE))
        if unknown:
            raise ConfigError(
                f"allow_changed is {self.allow_changed}; only {', '.join(CHANGEABLE)} can change in mid-run, not "
                f"{', '.join(unknown)}: start a new run with another --out."
            )
        if self.max_steps == 0:
            raise ConfigError("max_steps is 0; expected at least 1, or -1 to train for the given epochs.")
        self._check_validation()
        if self.reward_function and self.test_prompts == 0:
            raise ConfigError("reward_function needs test_prompts above 0: it rewards responses to held-out prompts.")
        self._check_columns()
        if self.objective == REWARD_MODEL:
            self.check_unread(NOT_OF_REWARD_MODELS, f"objective {REWARD_MODEL} trains no policy")
        elif self.objective not in partitioned():
            reason = f"{', '.join(partitioned())} needs V(x), and objective {self.objective} does not"
            self.check_unread(("reference_samples",), reason)

    def may_change(self) -> set[str]:
        """Options that may have another value than at the start of the resumed run."""
        return {name.strip().replace("-", "_") for name in (self.allow_changed or "").split(",")} - {""}

    def selects(self) -> str | None:
        """What the best checkpoint is chosen by; None to keep the last one."""
        default = "loss" if self.objective == REWARD_MODEL else HELD_OUT_DEFAULT
        return self.metric_for_best_model or (default if self.patience else None)

    def measured(self) -> tuple[str, ...]:
        """Metrics of the responses to validation prompts; a reward function brings the reward."""
        names = self.metric_list()
        rewarded = self.reward_function is not None and bool(names or self.metric_for_best_model == "reward")
        return (*names, "reward") if rewarded and "reward" not in names else names

    def _check_validation(self) -> None:
        names, chosen = self.measured(), self.selects()
        evaluated = self.eval_steps and self.validation_prompts != 0
        if chosen is not None and not evaluated:
            flag = f"patience={self.patience}" if self.patience else f"metric_for_best_model={chosen}"
            raise ConfigError(
                f"{flag} needs eval_steps and validation_prompts above 0: it selects a checkpoint, by prompts that no "
                "reported number uses."
            )
        if names and not evaluated:
            raise ConfigError("metrics needs eval_steps and validation_prompts above 0: when and on what to measure.")
        unread = not self.eval_steps and self.strength == "off" and self.lr != "auto"
        if self.validation_prompts and unread:
            raise ConfigError("nothing reads validation_prompts: eval_steps is 0 and strength is off.")
        if self.lr == "auto" and (self.validation_prompts == 0 or self.objective == REWARD_MODEL):
            raise ConfigError("lr auto chooses by logged responses to validation_prompts: give a number, or prompts.")
        if self.max_kl is not None and (self.strength == "off" or self.validation_prompts == 0):
            raise ConfigError("nothing reads max_kl: no strength is chosen. Leave it out.")
        self._check_measured(names)
        if chosen is not None:
            self._check_selection(chosen, names)

    def _check_measured(self, names: tuple[str, ...]) -> None:
        if "reward" in names and not self.reward_function:
            raise ConfigError("metric reward needs reward_function.")
        if "kl" in names and not self.lora_rank:
            raise ConfigError("metric kl needs lora_rank above 0: while training the reference is the adapter off.")
        self.check_metrics(names)

    def _check_selection(self, chosen: str, names: tuple[str, ...]) -> None:
        if chosen not in ("loss", *HELD_OUT_MEASURES, *names):
            every = ", ".join(("loss", *HELD_OUT_MEASURES, *names))
            raise ConfigError(f"metric_for_best_model is {chosen}; choose from {every}.")
        if chosen in names and kind_of(chosen).better is None:
            raise ConfigError(f"metric_for_best_model is {chosen}, of which neither more nor less is better.")
        if self.save_steps % self.eval_steps:
            raise ConfigError(
                f"save_steps is {self.save_steps} and eval_steps {self.eval_steps}: to keep the best checkpoint the "
                "first must be a multiple of the second, or 0 for the same."
            )

    def _check_columns(self) -> None:
        if (self.chosen is None) != (self.rejected is None):
            raise ConfigError("chosen and rejected go together: give both columns, or neither for pairs by reward.")
        marked = objectives_that_read("desirable")
        if self.desirable is not None and (self.objective not in marked or "threshold" in self.knobs()):
            raise ConfigError(f"desirable is read by objective {', '.join(marked)} alone, and in place of threshold.")
        if self.chosen is None:
            return
        pairwise = objectives_that_read("pair_id")
        if self.objective not in (*pairwise, REWARD_MODEL):
            raise ConfigError(
                f"chosen and rejected are read by {', '.join(pairwise)} and {REWARD_MODEL}, not by {self.objective}."
            )
        read_by_reward = ("response", "reward", "thumbs", "pairs", "from_", "score_name", "categories")
        self.check_unread(read_by_reward, "with chosen and rejected the pairs are in the data")
