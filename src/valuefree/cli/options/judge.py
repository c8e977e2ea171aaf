"""The options of ``valuefree judge``; no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from valuefree.cli.options.groups import Options, flags, option, required
from valuefree.cli.options.metrics import MetricOptions
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.registry import METRICS, kind_of

SERVER = ("api_key_env", "concurrency", "timeout_seconds", "max_retries", "served_name")
LOCAL = ("dtype", "attn_implementation", "trust_remote_code", "judge_batch_size")
PROMPTED = ("judge_prompt", "labels", "orders", "read", "max_new_tokens", "temperature", "max_characters", "cache")
PRICES = ("input_price", "output_price", "max_cost")


@dataclass(frozen=True, kw_only=True)
class JudgeOptions(Options):
    """Systems, judge, and how it is asked."""

    systems: tuple[str, ...] = required(
        "outputs of two systems or more: NAME=FILE or FILE, JSONL, CSV, Parquet or alpaca_eval's outputs.json; several "
        "files with commas between them are runs (seeds) of one system. The first is compared with each other one"
    )
    judge: str | None = option(
        None,
        "mistral-7b-instruct-v0.3, llama-3-8b-instruct, hub name, folder or .gguf file of a model, or module:function "
        "from question to answer; default: none, one of judge and reward-function must be given",
    )
    reward_function: str | None = option(
        None, "module:function, or a reward model's name, as judge: the larger reward wins; default: none"
    )
    server: str | None = option(None, "ask this OpenAI-compatible server, http://host:port/v1; default: none")
    served_name: str | None = option(None, "name of the model on the server; default: that of the judge")
    revision: str | None = option(
        None,
        "of the judge, for cache and signature; default: unknown for a server, which does not tell, a hash of the "
        "module's source for module:function, a hash of the weights for a model in this process",
    )
    api_key_env: str = option("OPENAI_API_KEY", "environment variable with the server's key, if it wants one")
    concurrency: int = option(16, "requests under way at a time")
    timeout_seconds: float = option(120.0, "of silence in one try of a request")
    max_retries: int = option(5, "further tries of a request that failed")
    judge_prompt: str | None = option(
        None, "guarded, paper (open to injection) or a text file; default: paper for the two presets, else guarded"
    )
    labels: str = option("A,B,Neutral", "what a prompt file calls the first answer, the second, and neither")
    orders: int = option(2, "2: each pair in both orders; 1: one, drawn at random, and labelled so")
    read: Literal["auto", "probabilities", "text"] = option(
        "auto", "verdict from the label tokens' probabilities, the text, or the first where it can be had"
    )
    max_new_tokens: int = option(16, "tokens of an answer, at most; a judge that reasons first needs more")
    temperature: float = option(0.0, "of the judge; 0 is greedy")
    max_characters: int | None = option(None, "of each text shown to the judge; default: no limit")
    input_price: float = option(0.0, "per million input tokens, in any currency")
    output_price: float = option(0.0, "per million output tokens")
    max_cost: float | None = option(None, "send nothing that could cost more in all; default: no limit")
    arena: bool = option(False, "compare all pairs of systems, and rank them (Bradley–Terry)")
    common: bool = option(False, "leave out prompts that some system did not answer, and count them")
    agreement: tuple[str, ...] = option(
        (), "folders of other judges' results, or files of human verdicts, to agree with (Cohen's κ); default: none"
    )
    references: str | None = option(None, "file of prompts and reference texts, for --metrics; default: none")
    reference_column: str = option("reference", "column of the reference text")
    prompt: str = option("prompt", "column of the prompt")
    response: str = option("response", "column of the response")
    dtype: Literal["float32", "bfloat16", "float16"] = option(
        "float32", "type of the weights of a judge in this process"
    )
    attn_implementation: str | None = option(None, "eager, sdpa or flash_attention_2; default: transformers' choice")
    trust_remote_code: bool = option(False, "run model code from the hub")
    judge_batch_size: int = option(8, "questions at a time for a judge in this process")
    cache: str | None = option(None, "file of answers, to be shared between runs; default: judgements.jsonl in out")
    out: str = option(
        "outputs/judge",
        "folder for judge.json, verdicts.jsonl, completions.jsonl, judge.md; those of an earlier run are replaced, its "
        "cache is kept",
    )
    seed: int = option(0, "of bootstrap, of a single order's placement, and of a judge that samples")
    dry_run: bool = option(False, "say how many calls, tokens and how much money it would take, and stop")


@dataclass(frozen=True, kw_only=True)
class JudgeConfig(MetricOptions, JudgeOptions):
    """Of ``valuefree judge``."""

    metrics: str | None = option(
        None,
        f"of each system, by comma: {', '.join(name for name in METRICS if name != 'kl')} (reward with "
        "--reward-function alone); or the sets paper (the six) and lexical; default: none",
    )

    about: ClassVar[str] = "Which of two systems' answers a judge prefers: both orders, intervals, what is missing."

    @property
    def judge_is_function(self) -> bool:
        """Whether `judge` reads as module:function; a model on a server may be called so as well."""
        return self.judge is not None and ":" in self.judge and not Path(self.judge).exists()

    def __post_init__(self) -> None:
        if len(self.systems) < 2:
            raise ConfigError(f"{len(self.systems)} system; give the outputs of at least two: NAME=FILE NAME=FILE.")
        if (self.judge is None) == (self.reward_function is None):
            raise ConfigError("give one of the two: --judge or --reward-function.")
        self._check_read()
        self._check_measured()
        if self.orders not in (1, 2):
            raise ConfigError(f"--orders is {self.orders}; expected 2, or 1 for a single, random placement.")
        if self.max_cost is not None and not (self.input_price or self.output_price):
            raise ConfigError("--max-cost needs --input-price or --output-price, to know what is spent.")

    def _check_read(self) -> None:
        """Raise ConfigError for options that this judge does not read."""
        changed = self.changed()
        if self.reward_function is not None:
            unread = ("server", "revision", *SERVER, *LOCAL, *PROMPTED, *PRICES)
            if idle := [name for name in unread if name in changed]:
                raise ConfigError(f"a reward function is asked nothing, so nothing reads {flags(idle)}; leave it out.")
        if self.server is None and (idle := [name for name in SERVER if name in changed]):
            raise ConfigError(f"{flags(idle)} needs --server: without it the judge runs in this process.")
        if self.server is None and self.revision is not None and not self.judge_is_function:
            raise ConfigError(
                "--revision goes with --server or module:function; the weights of a model in this process are hashed."
            )
        if self.server is not None and (idle := [name for name in LOCAL if name in changed]):
            raise ConfigError(f"the server loads the model itself, so nothing reads {flags(idle)}; leave it out.")

    def _check_measured(self) -> None:
        names = self.metric_list()
        if "kl" in names:
            raise ConfigError(
                "metric kl is of models, not of outputs: `valuefree evaluate DATA --model M --metrics kl`."
            )
        if "reward" in names and self.reward_function is None:
            raise ConfigError(
                "metric reward needs --reward-function, which here is the judge in place of --judge; beside a --judge, "
                "measure it apart: `valuefree evaluate --predictions FILE --metrics reward --reward-function …`."
            )
        self.check_metrics(names)
        needing = [name for name in names if kind_of(name).needs == "reference"]
        if needing and self.references is None:
            raise ConfigError(
                f"of --metrics, {', '.join(needing)} compare with reference texts; give them by --references FILE."
            )
        idle = [name for name in ("references", "reference_column") if name in self.changed()]
        if idle and not needing:
            said = f"{', '.join(names)} compare with no texts" if names else "there are no --metrics"
            raise ConfigError(f"nothing reads {flags(idle)}: {said}; leave it out.")
