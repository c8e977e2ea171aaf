"""The options of each verb of the command line; no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from valuefree.config.feedback_sets import PrepareConfig
from valuefree.config.judging import JudgeConfig
from valuefree.config.metrics import DEFAULT, OWNED, MetricOptions, kind_of
from valuefree.config.objectives import PAIRWISE, PARTITIONED, REWARD_MODEL, ObjectiveOptions
from valuefree.config.options import (
    TOP_K,
    DataOptions,
    DecodingOptions,
    LengthOptions,
    ModelOptions,
    Options,
    RewardOptions,
    ScoreOptions,
    option,
    positional,
    required,
)
from valuefree.config.reporting import ReportConfig
from valuefree.config.studies import StudyExactConfig, StudyPaperConfig, StudySmallConfig
from valuefree.errors import ConfigError

REFERENCE_SAMPLES = (
    "rpo: file of samples of the model itself for V(x), as `valuefree sample --score` writes, rewarded by the same "
    "function as the rows; default: none"
)
EXACT = "Partition estimates take samples for the model's own; with another value than {} they describe another policy"
OF_BEST = ("response", "reward", "thumbs", "on_bad")  # options of evaluate that --references best reads
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
class InspectConfig(DataOptions, ModelOptions, LengthOptions, ScoreOptions, ObjectiveOptions):
    """Of ``valuefree inspect``."""

    about: ClassVar[str] = "What this data and these settings will do, before anything is trained."
    reference_samples: str | None = option(None, REFERENCE_SAMPLES)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in PARTITIONED:
            raise ConfigError(
                f"objective {self.objective} has no partition to inspect; {', '.join(PARTITIONED)} has one."
            )


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(DataOptions, ModelOptions, LengthOptions, ScoreOptions):
    """Of ``valuefree score``."""

    about: ClassVar[str] = "Log-probability of every response under the reference, into the cache and a Parquet file."
    out: str = option("scores.parquet", "Parquet file to write: prompt_id, logp (nats), tokens")
    dry_run: bool = option(False, "read and check the data, print the settings, and stop")


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


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(ModelOptions, DecodingOptions):
    """Of ``valuefree generate``."""

    about: ClassVar[str] = "Sample one response per prompt into a JSONL file."
    prompts: str = required("JSONL, CSV or Parquet file, or text file with one prompt a line")
    prompt: str = option("prompt", "column of the prompt")
    out: str = option(
        "responses.jsonl", "JSONL file to write: prompt, response; or outputs.json, in the form of alpaca_eval"
    )
    top_k: int | None = option(  # type: ignore[assignment]  # None: not given, which only servers tell from the default
        None, f"most likely tokens to sample from; 0 for all; default: {TOP_K}, of a server its own"
    )
    seed: int = option(0, "of sampling")
    server: str | None = option(None, "ask this OpenAI-compatible server, http://host:port/v1; model is its name there")
    api_key_env: str = option("OPENAI_API_KEY", "environment variable with the server's key, if it wants one")
    concurrency: int = option(16, "requests under way at a time")
    timeout_seconds: float = option(120.0, "of one try of a request")
    max_retries: int = option(5, "further tries of a request that failed")
    resume: bool = option(False, "ask only for prompts that the file out lacks, and append; keep the settings the same")
    dry_run: bool = option(False, "count the prompts, print the settings, and stop")

    def __post_init__(self) -> None:
        local = ("dtype", "attn_implementation", "trust_remote_code", "generation_batch_size")
        remote = ("api_key_env", "concurrency", "timeout_seconds", "max_retries", "resume")
        changed = self.changed()
        if self.server is not None and (idle := [name for name in local if name in changed]):
            raise ConfigError(f"server loads the model itself, so it does not read {', '.join(idle)}; leave it out.")
        if self.server is None and (idle := [name for name in remote if name in changed]):
            raise ConfigError(f"{', '.join(idle)} needs server: without it the model runs in this process.")
        if self.server is not None and self.out.endswith(".json"):
            raise ConfigError(f"with server, out is {self.out}: answers are written as they come; name a .jsonl file.")


@dataclass(frozen=True, kw_only=True)
class SampleConfig(ModelOptions, DecodingOptions):
    """Of ``valuefree sample``."""

    about: ClassVar[str] = "Draw responses from a model, the reference; reward them, or those that a file holds."
    prompts: str | None = positional(
        "JSONL, CSV or Parquet file (also of training rows: each prompt once), or text file with one prompt a line"
    )
    prompt: str = option("prompt", "column of the prompt")
    responses: str | None = option(None, "file of rows prompt, response to reward, in place of sampling; default: none")
    response: str = option("response", "column of the response in the file of --responses")
    samples: int = option(4, "responses per prompt")
    score: str | None = option(
        None, "module:function of prompts and responses, or a reward model's name or folder; default: no rewards"
    )
    temperature: float = option(1.0, f"of sampling; 0 is greedy. {EXACT.format('1')}")
    top_k: int = option(0, f"most likely tokens to sample from; 0 for all. {EXACT.format('0')}")
    top_p: float = option(1.0, f"probability mass to sample from; 1 for all. {EXACT.format('1')}")
    out: str = option("samples.jsonl", "JSONL file to write: prompt, response, and reward if scored")
    seed: int = option(0, "of sampling")
    dry_run: bool = option(False, "count the prompts, print the settings, and stop")

    def __post_init__(self) -> None:
        if (self.prompts is None) == (self.responses is None):
            raise ConfigError("give one of the two: prompts to sample from, or --responses FILE to reward.")
        if self.samples < 1:
            raise ConfigError(f"samples is {self.samples}; expected at least 1 per prompt.")
        if self.responses is None:
            if "response" in self.changed():
                raise ConfigError("response is a column of the file of --responses; leave it out, or give that.")
            return
        if self.score is None:
            raise ConfigError("--responses needs --score: module:function, or a reward model's name or folder.")
        read = ("responses", "response", "prompt", "score", "out", "dry_run")
        idle = [name for name in self.changed() if name not in read]
        if idle:
            raise ConfigError(f"with --responses nothing is sampled, so nothing reads {', '.join(idle)}; leave it out.")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(ModelOptions, DecodingOptions, RewardOptions, MetricOptions):
    """Of ``valuefree evaluate``."""

    about: ClassVar[str] = "Measure responses of a file or of a model; or reward a policy against its reference."
    prompts: str | None = positional(
        "JSONL, CSV or Parquet file of prompts (with --metrics also of references), or text file with one prompt a line"
    )
    prompt: str = option("prompt", "column of the prompt")
    predictions: str | None = option(None, "file of responses to measure, in place of sampling; default: none")
    prediction: str = option("prediction", "column of the response in the file of --predictions")
    reference_column: str = option("reference", "column of the reference text, for --metrics")
    references: Literal["column", "best"] = option(
        "column", "reference of a prompt: that column, or the response with the highest reward in rows of feedback"
    )
    response: str = option("response", "column of the response, for references best")
    reward: str = option("reward", "column of the reward, for references best")
    thumbs: bool = option(False, "references best: take true/false and up/down as rewards +1/-1")
    on_bad: Literal["raise", "drop"] = option(
        "raise", "references best: bad rows raise an error that lists them, or are dropped and counted"
    )
    reference: str | None = option(None, "model to compare with; default: the adapter's base model")
    kl_prompts: int = option(64, "prompts that estimate the KL to the reference; 0 for none")
    out: str = option("outputs/evaluate", "folder for metrics.json and the rest")
    overwrite: bool = option(False, "replace the run in the folder out: remove what it wrote, and nothing else")
    seed: int = option(0, "of sampling")
    dry_run: bool = option(False, "count the prompts or rows, print the settings, and stop")

    def __post_init__(self) -> None:
        if (self.prompts is None) == (self.predictions is None):
            raise ConfigError("give one of the two: prompts, to sample responses to, or --predictions FILE to measure.")
        if self.predictions is not None:
            self._check_file()
        elif self.metrics is not None:
            self._check_generated()
        else:
            self._check_comparison()

    def measured(self) -> tuple[str, ...]:
        """Metrics of the responses; a reward function brings the reward."""
        asked = self.metric_list() or (DEFAULT if self.predictions is not None else ())
        return (*asked, "reward") if asked and self.reward_function and "reward" not in asked else asked

    def needs_references(self) -> bool:
        """Whether one of the metrics compares with reference texts."""
        return any(kind_of(name).needs == "reference" for name in self.measured())

    def _check_file(self) -> None:
        read = (
            "predictions",
            "prediction",
            "prompt",
            "reference_column",
            "reward_function",
            "metrics",
            "out",
            "overwrite",
        )
        idle = [name for name in self.changed() if name not in (*read, *OWNED, "dry_run")]
        if idle:
            raise ConfigError(
                f"with --predictions nothing is sampled, so nothing reads {', '.join(idle)}; leave it out."
            )
        if "kl" in self.measured():
            raise ConfigError("metric kl is of a model; give prompts and --model in place of --predictions.")
        self._check_measured()

    def _check_generated(self) -> None:
        unread = ["prediction"]
        unread += ["reference_column"] if self.references == "best" else list(OF_BEST)
        unread += [] if "kl" in self.measured() else ["reference", "kl_prompts"]
        unread += [] if self.needs_references() else ["references", "reference_column"]
        idle = [name for name in self.changed() if name in unread]
        if idle:
            raise ConfigError(
                f"nothing reads {', '.join(idle)} here: prediction goes with --predictions; reference and kl_prompts "
                f"with metric kl; {', '.join(OF_BEST)} with --references best, reference_column with column."
            )
        if "kl" in self.measured() and self.kl_prompts < 1:
            raise ConfigError(f"kl_prompts is {self.kl_prompts}; metric kl needs at least 1.")
        self._check_measured()

    def _check_measured(self) -> None:
        if "reward" in self.measured() and self.reward_function is None:
            raise ConfigError("metric reward needs --reward-function: module:function, or a reward model's name.")
        self.check_metrics(self.measured())

    def _check_comparison(self) -> None:
        columns = ("prediction", "reference_column", "references", *OF_BEST)
        idle = [name for name in self.changed() if name in (*columns, *OWNED)]
        if idle:
            raise ConfigError(f"nothing reads {', '.join(idle)} without --metrics or --predictions.")
        if self.reward_function is None:
            raise ConfigError(
                "evaluate needs --reward-function (module:function, or a reward model's name) to compare with the "
                "reference model, or --metrics to measure against reference texts."
            )


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Options):
    """Of ``valuefree demo``."""

    about: ClassVar[str] = (
        "The main job on feedback that comes with the package: train, and compare on held-out prompts."
    )
    model: Literal["smollm2", "tiny-t5"] = option("smollm2", "SmolLM2-135M-Instruct by pip, or a T5 made in seconds")
    seed: int = option(0, "of split, order, adapter and sampling")
    shuffle_rewards: bool = option(False, "control: permute the rewards within each prompt of the training rows")
    train_prompts: int = option(192, "prompts to train on, of 240")
    test_prompts: int = option(48, "prompts held out")
    samples_per_prompt: int = option(2, "responses per held-out prompt and model")
    epochs: float = option(1.0, "passes over the training rows")
    lr: float = option(5e-4, "peak learning rate")
    target_std: float | None = option(
        None, "standard deviation of the target log-ratio within a prompt, in nats; default: that of RPO()"
    )
    out: str = option("outputs/demo", "folder for report.html, metrics.json and the rest")
    overwrite: bool = option(False, "replace the run in the folder out: remove what it wrote, and nothing else")
    cache_dir: str | None = option(None, "folder of reference scores; default: valuefree/scores in the user cache")
    dry_run: bool = option(False, "print the settings and stop")


VERBS: dict[str, type[Options]] = {
    "prepare": PrepareConfig,
    "inspect": InspectConfig,
    "score": ScoreConfig,
    "train": TrainConfig,
    "sample": SampleConfig,
    "generate": GenerateConfig,
    "evaluate": EvaluateConfig,
    "judge": JudgeConfig,
    "report": ReportConfig,
    "demo": DemoConfig,
    "study exact": StudyExactConfig,
    "study small": StudySmallConfig,
    "study paper": StudyPaperConfig,
}
