"""Options of ``valuefree evaluate``; no torch."""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import (
    DecodingOptions,
    ExportOptions,
    ModelOptions,
    ResultOptions,
    RewardOptions,
    option,
    positional,
)
from valuefree.cli.options.metrics import MetricOptions, metrics_option
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.registry import DEFAULT, OWNED, kind_of
from valuefree.runs.outputs import OutputKind

OF_BEST = ("response", "reward", "thumbs", "on_bad")  # options that --references best reads
OF_ROWS = {  # options that --rows reads
    *(
        "rows",
        "model",
        "dtype",
        "attn_implementation",
        "quantize",
        "trust_remote_code",
        "reference",
        "prompt",
        "response",
        "reward",
    ),
    *(
        "from_",
        "score_name",
        "categories",
        "thumbs",
        "on_bad",
        "max_length",
        "max_response_length",
        "cache_dir",
        "out",
        "overwrite",
        "seed",
        "dry_run",
        "quiet",
        "json",
    ),
}
OF_FILES = {  # options that --predictions reads
    *("predictions", "prediction", "prompt", "reference_column", "reward_function", "metrics", "out", "overwrite"),
    *("dry_run", "quiet", "json", *OWNED),
}


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(ExportOptions, ModelOptions, DecodingOptions, RewardOptions, MetricOptions, ResultOptions):
    """Of ``valuefree evaluate``."""

    about: ClassVar[str] = VERBS["evaluate"]
    group: ClassVar[str] = "data"
    shown_first: ClassVar[tuple[str, ...]] = (
        "prompts",
        "rows",
        "model",
        "predictions",
        "metrics",
        "reward_function",
        "out",
    )
    prompts: str | None = positional(
        "JSONL, CSV or Parquet file of prompts (with --metrics also of references), or text file with one prompt a line"
    )
    rows: str | None = option(
        None,
        "file of logged rows with rewards: what they say of the model, without sampling and without a reward function",
        otherwise="none",
    )
    model: tuple[str, ...] = option(  # type: ignore[assignment]  # several models with --rows
        ("google/flan-t5-small",),
        "hub name, folder (of a model, an adapter or a run), or .gguf file; several, to compare them, with --rows",
        group="model",
    )
    prompt: str = option("prompt", "column of the prompt")
    predictions: str | None = option(None, "file of responses to measure, instead of sampling", otherwise="none")
    metrics: str | None = metrics_option(otherwise=f"{', '.join(DEFAULT)} with --predictions, else none")
    prediction: str = option(
        "prediction", "column of the response in the file of --predictions; without one of this name, response"
    )
    reference_column: str = option("reference", "column of the reference text, for --metrics")
    references: Literal["column", "best"] = option(
        "column",
        "reference of a prompt: its reference column, or its response with the highest reward in rows of feedback",
        advice=" References are no file of their own here: they are a column, named by --reference-column, of the file "
        "of predictions or prompts. Add it there, or use `valuefree judge --references FILE --metrics NAMES`.",
    )
    response: str = option("response", "column of the response, for --rows and references best")
    reward: str = option("reward", "column of the reward, for --rows and references best")
    thumbs: bool = option(False, "--rows, references best: take true/false and up/down as rewards +1/-1")
    on_bad: Literal["raise", "drop"] = option(
        "raise", "--rows, references best: bad rows raise an error that lists them, or are dropped and counted"
    )
    reference: str | None = option(
        None, "model to compare with", otherwise="the base model of the adapter, or that of the run", group="model"
    )
    max_length: int = option(
        1024, "--rows: tokens of prompt and response together (encoder-decoder: of each)", minimum=1
    )
    max_response_length: int | None = option(
        None,
        "--rows: tokens of the response; the limit at which logged responses were cut",
        otherwise="no limit",
        minimum=1,
    )
    cache_dir: str | None = option(
        None,
        "--rows: folder of reference scores",
        otherwise="valuefree/scores in the user's cache folder",
        group="model",
        output="folder",
    )
    kl_prompts: int = option(
        64, "prompts used to estimate the KL to the reference; 0 for none", group="evaluation", minimum=0
    )
    out: str | None = option(
        None,
        "folder for metrics.json and the rest",
        otherwise="outputs/evaluate, or outputs/evaluate-2 and so on where there are earlier results",
        group="output",
        output="folder",
    )
    overwrite: bool = option(
        False, "replace the run in the folder out: remove what it wrote, and nothing else", group="output"
    )
    seed: int = option(0, "random seed of sampling", group="sampling", minimum=0)
    dry_run: bool = option(False, "count the prompts or rows, print the settings, and stop", group="output")

    def __post_init__(self) -> None:
        if sum(source is not None for source in (self.prompts, self.predictions, self.rows)) != 1:
            raise ConfigError(
                "give one of the three: prompts, to sample responses to; --predictions FILE to measure; --rows FILE of "
                "logged responses with rewards."
            )
        if self.rows is not None:
            self.check_unread({item.name for item in fields(self)} - OF_ROWS, "with --rows nothing is sampled")
            return
        of_rows = ("max_length", "max_response_length", "cache_dir", "from_", "score_name", "categories")
        self.check_unread(of_rows, "there is no --rows")
        if len(self.model) > 1:
            raise ConfigError(f"{len(self.model)} models were given; only --rows compares several.")
        if self.predictions is not None:
            self._check_file()
        elif self.metrics is not None:
            self._check_generated()
        else:
            self._check_comparison()

    def outputs(self) -> dict[str, tuple[str, OutputKind]]:
        """Without --out, a new folder in ``outputs``."""
        written = super().outputs()
        if self.out is None and not self.dry_run:
            written["--out"] = ("outputs", "folder")
        return written

    def measured(self) -> tuple[str, ...]:
        """Metrics of the responses; a reward function brings the reward."""
        asked = self.metric_list() or (DEFAULT if self.predictions is not None else ())
        return (*asked, "reward") if asked and self.reward_function and "reward" not in asked else asked

    def needs_references(self) -> bool:
        """Whether one of the metrics compares with reference texts."""
        return any(kind_of(name).needs == "reference" for name in self.measured())

    def _check_file(self) -> None:
        self.check_unread({item.name for item in fields(self)} - OF_FILES, "with --predictions nothing is sampled")
        if "kl" in self.measured():
            raise ConfigError("metric kl is of a model; give prompts and --model in place of --predictions.")
        self._check_measured()

    def _check_generated(self) -> None:
        self.check_unread(("prediction",), "it is a column of the file of --predictions")
        if self.references == "best":
            self.check_unread(("reference_column",), "with --references best there is no such column")
        else:
            self.check_unread(OF_BEST, "only --references best takes references from rewarded responses")
        if "kl" not in self.measured():
            self.check_unread(("reference", "kl_prompts"), "metric kl is not among --metrics")
        elif self.kl_prompts < 1:
            raise ConfigError(f"kl_prompts is {self.kl_prompts}; metric kl needs at least 1.")
        if not self.needs_references():
            self.check_unread(("references", "reference_column"), "no metric of --metrics compares with references")
        self._check_measured()

    def _check_measured(self) -> None:
        if "reward" in self.measured() and self.reward_function is None:
            raise ConfigError("metric reward needs --reward-function: module:function, or a reward model's name.")
        self.check_metrics(self.measured())

    def _check_comparison(self) -> None:
        columns = ("prediction", "reference_column", "references", *OF_BEST)
        self.check_unread((*columns, *OWNED), "there is neither --metrics nor --predictions")
        if self.reward_function is None:
            raise ConfigError(
                "evaluate needs --reward-function (module:function, or a reward model's name) to compare with the "
                "reference model, or --metrics to measure against reference texts."
            )
