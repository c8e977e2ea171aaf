"""The options of each verb of the command line, as frozen dataclasses; no torch.

A field's metadata says what it means and in which unit; the same text is its ``--help``. Values come from the
defaults, then a YAML recipe, then flags (`valuefree.parsing`). A verb of two words is a world of a study.
"""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal

from valuefree.errors import ConfigError


def option(default: Any, text: str) -> Any:
    """A field with a default and its help text."""
    return field(default=default, metadata={"help": text})


def required(text: str) -> Any:
    """A field that must be given; the first one is positional on the command line."""
    return field(metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Options:
    """Root of all option sets."""

    about: ClassVar[str] = ""

    def to_dict(self) -> dict[str, Any]:
        """All values, for the manifest."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """Where the rows are."""

    data: str = required("JSONL, CSV or Parquet file, folder, or hub name with prompt, response and reward")
    prompt: str = option("prompt", "column of the prompt: text, or a list of messages")
    response: str = option("response", "column of the response")
    reward: str = option("reward", "column of the reward")
    split: str | None = option(None, "split of a hub data set")
    on_bad: Literal["raise", "drop"] = option("raise", "bad rows: raise an error that lists them, or drop and count")
    thumbs: bool = option(False, "take true/false and up/down as rewards +1/-1")


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """Which model."""

    model: str = option("google/flan-t5-small", "hub name, folder (also of an adapter), or .gguf file")
    dtype: Literal["float32", "bfloat16", "float16"] = option("float32", "type of the weights")
    attn_implementation: str | None = option(None, "eager, sdpa or flash_attention_2; default: transformers' choice")
    trust_remote_code: bool = option(False, "run model code from the hub")


@dataclass(frozen=True, kw_only=True)
class LengthOptions(Options):
    """How long sequences may be."""

    max_length: int = option(1024, "tokens of prompt and response together (encoder-decoder: of each)")
    max_prompt_length: int | None = option(None, "tokens of the prompt; default: no limit of its own")
    max_response_length: int | None = option(None, "tokens of the response; default: no limit of its own")


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(Options):
    """How the reference is scored."""

    cache_dir: str | None = option(None, "folder of reference scores; default: valuefree/scores in the user cache")
    score_batch_tokens: int = option(8192, "padded tokens per batch of scoring")
    bf16: bool = option(False, "compute under bfloat16 autocast, in scoring and training alike")


@dataclass(frozen=True, kw_only=True)
class ObjectiveOptions(Options):
    """What is optimised."""

    objective: Literal["rpo", "sft"] = option("rpo", "rpo, or supervised fine-tuning on every response")
    preset: Literal["paper", "paper-code"] | None = option(None, "RPO as in the paper, or as in its published code")
    tau: float | None = option(None, "temperature, in standard deviations of the reward; default: 0.5 (presets: 1)")
    estimator: str | None = option(None, "of V(x); default: auto. See docs/partition.md")
    level: float | None = option(None, "how firmly V(x) is believed, 0 to inf; default: 1")
    length_normalize: bool | None = option(None, "token means instead of sums; default: no")
    on_policy: bool | None = option(None, "the responses were drawn from this model; default: no")

    def __post_init__(self) -> None:
        knobs = [name for name in ("tau", "estimator", "level", "length_normalize", "on_policy") if self.given(name)]
        if self.objective == "sft" and (knobs or self.preset):
            raise ConfigError(f"objective sft does not read {', '.join(knobs or ['preset'])}; leave it out.")
        fixed = [name for name in knobs if name != "tau"]
        if self.preset and fixed:
            raise ConfigError(
                f"preset {self.preset} fixes {', '.join(fixed)}; give the preset or the option, not both."
            )

    def given(self, name: str) -> bool:
        """Whether an option was set."""
        return getattr(self, name) is not None


@dataclass(frozen=True, kw_only=True)
class DecodingOptions(Options):
    """How responses are sampled."""

    max_new_tokens: int = option(256, "tokens per response, at most")
    temperature: float = option(0.7, "of sampling; 0 is greedy")
    top_k: int = option(50, "most likely tokens to sample from; 0 for all")
    top_p: float = option(0.95, "probability mass to sample from; 1 for all")
    generation_batch_size: int = option(32, "responses sampled at a time")


@dataclass(frozen=True, kw_only=True)
class RewardOptions(Options):
    """How responses are rewarded."""

    reward_function: str | None = option(None, "module:function of prompts and responses, or a reward model's name")
    samples_per_prompt: int = option(1, "responses per prompt and model")


@dataclass(frozen=True, kw_only=True)
class InspectConfig(DataOptions, ModelOptions, LengthOptions, ScoreOptions, ObjectiveOptions):
    """Of ``valuefree inspect``."""

    about: ClassVar[str] = "What this data and these settings will do, before anything is trained."


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(DataOptions, ModelOptions, LengthOptions, ScoreOptions):
    """Of ``valuefree score``."""

    about: ClassVar[str] = "Log-probability of every response under the reference, into the cache and a Parquet file."
    out: str = option("scores.parquet", "Parquet file to write: prompt_id, logp (nats), tokens")
    dry_run: bool = option(False, "read and check the data, print the settings, and stop")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(
    DataOptions, ModelOptions, LengthOptions, ScoreOptions, ObjectiveOptions, DecodingOptions, RewardOptions
):
    """Of ``valuefree train``."""

    about: ClassVar[str] = "Fine-tune a policy on scalar feedback, and report what it gained on held-out prompts."
    out: str = option("outputs/train", "folder of the run")
    test_prompts: int = option(48, "prompts held out, for the loss and the comparison with the reference; 0 for none")
    seed: int = option(0, "of split, order, adapter and sampling")
    epochs: float = option(1.0, "passes over the training rows")
    max_steps: int = option(-1, "optimiser steps, instead of epochs; -1 for none")
    lr: float = option(5e-4, "peak learning rate; for full fine-tuning (lora_rank 0) rather 1e-5 to 1e-4")
    warmup_steps: int = option(10, "steps of linear warm-up")
    batch_size: int = option(8, "responses per micro-batch")
    batch_tokens: int | None = option(None, "positions per micro-batch, padding included; default: no limit of its own")
    accumulation: int = option(1, "micro-batches per optimiser step")
    lora_rank: int = option(16, "rank of the adapter; 0 trains all weights")
    gradient_checkpointing: bool = option(False, "recompute activations in the backward pass, to save memory")
    eval_steps: int = option(0, "steps between losses on held-out rows; 0 for none")
    patience: int = option(0, "stop after this many evaluations without a better loss; 0 for never")
    save_steps: int = option(0, "steps between checkpoints; 0 for the end and on a signal only")
    logging_steps: int = option(10, "steps between log lines")
    report_to: str = option("none", "tensorboard, wandb, trackio or none")
    resume: bool = option(False, "go on from the last checkpoint in the folder of the run")
    kl_prompts: int = option(32, "held-out prompts that estimate the KL to the reference; 0 for none")
    dry_run: bool = option(False, "read and check the data, print the settings, and stop")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patience and not (self.eval_steps and self.test_prompts):
            raise ConfigError(f"patience={self.patience} needs eval_steps and test_prompts above 0, to have a loss.")
        if self.reward_function and not self.test_prompts:
            raise ConfigError("reward_function needs test_prompts above 0: it rewards responses to held-out prompts.")


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(ModelOptions, DecodingOptions):
    """Of ``valuefree generate``."""

    about: ClassVar[str] = "Sample one response per prompt into a JSONL file."
    prompts: str = required("JSONL, CSV or Parquet file, or text file with one prompt a line")
    prompt: str = option("prompt", "column of the prompt")
    out: str = option("responses.jsonl", "JSONL file to write: prompt, response")
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
        changed = [item.name for item in fields(self) if getattr(self, item.name) != item.default]
        if self.server is not None and (idle := [name for name in local if name in changed]):
            raise ConfigError(f"server loads the model itself, so it does not read {', '.join(idle)}; leave it out.")
        if self.server is None and (idle := [name for name in remote if name in changed]):
            raise ConfigError(f"{', '.join(idle)} needs server: without it the model runs in this process.")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(ModelOptions, DecodingOptions, RewardOptions):
    """Of ``valuefree evaluate``."""

    about: ClassVar[str] = "Reward a policy against its reference on the same prompts."
    prompts: str = required("JSONL, CSV or Parquet file, or text file with one prompt a line")
    prompt: str = option("prompt", "column of the prompt")
    reference: str | None = option(None, "model to compare with; default: the adapter's base model")
    kl_prompts: int = option(64, "prompts that estimate the KL to the reference; 0 for none")
    out: str = option("outputs/evaluate", "folder for metrics.json and report.html")
    seed: int = option(0, "of sampling")
    dry_run: bool = option(False, "count the prompts, print the settings, and stop")

    def __post_init__(self) -> None:
        if self.reward_function is None:
            raise ConfigError("evaluate needs --reward-function: module:function, or a reward model's name.")


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
    tau: float | None = option(None, "temperature, in standard deviations of the reward; default: of RPO()")
    out: str = option("outputs/demo", "folder for report.html, metrics.json and the rest")
    cache_dir: str | None = option(None, "folder of reference scores; default: valuefree/scores in the user cache")
    dry_run: bool = option(False, "print the settings and stop")


@dataclass(frozen=True, kw_only=True)
class StudySmallConfig(Options):
    """Of ``valuefree study small``."""

    about: ClassVar[str] = "Every objective on tiny language models whose reward is a program: reward at equal KL."
    models: str = option("t5,decoder", "kinds of model, by comma")
    regimes: str = option("on,off", "where the training responses come from: the reference (on) or others (off)")
    methods: str = option("all", "names of the methods table, by comma; an unknown name lists the nearest")
    seeds: int | None = option(None, "reported seeds; default: 5, with quick 2")
    tuning_seeds: int | None = option(None, "seeds that settings are chosen on, not reported; default: 1")
    control: Literal["shuffle", "none"] = option("shuffle", "run every method on rewards permuted within prompts too")
    control_seeds: int | None = option(None, "seeds of the control; default: 3, with quick 2")
    workers: int | None = option(None, "processes, of one thread each; default: one a core")
    out: str = option("outputs/study-small", "folder of cells, rows, tables, figures; run again to go on")
    page: str | None = option(None, "file of the page; default: small.md in the folder out")
    quick: bool = option(False, "fewer seeds, settings and steps, all methods")
    dry_run: bool = option(False, "count the cells, estimate the time, and stop")

    def __post_init__(self) -> None:
        for name in ("seeds", "tuning_seeds", "control_seeds", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; expected at least 1.")
        if self.control == "none" and self.control_seeds is not None:
            raise ConfigError("control none does not read control_seeds; leave it out, or pass control shuffle.")


VERBS: dict[str, type[Options]] = {
    "inspect": InspectConfig,
    "score": ScoreConfig,
    "train": TrainConfig,
    "generate": GenerateConfig,
    "evaluate": EvaluateConfig,
    "demo": DemoConfig,
    "study small": StudySmallConfig,
}
