"""Options of ``valuefree judge``; no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import Options, names_function, names_kernel, option, required
from valuefree.cli.options.metrics import MetricOptions, metrics_option
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.registry import METRICS, kind_of
from valuefree.evaluation.server_address import check_address

SERVER = ("api_key_env", "key_over_http", "concurrency", "timeout_seconds", "max_retries", "served_name")
LOCAL = ("dtype", "attn_implementation", "trust_remote_code", "judge_batch_size")
PROMPTED = ("judge_prompt", "labels", "orders", "read", "max_new_tokens", "temperature", "max_characters", "cache")
PRICES = ("input_price", "output_price", "max_cost")


@dataclass(frozen=True, kw_only=True)
class JudgeOptions(Options):
    """Systems, judge, and how it is asked."""

    group: ClassVar[str] = "judge"
    systems: tuple[str, ...] = required(
        "outputs of two systems or more: NAME=FILE or FILE, JSONL, CSV, Parquet or alpaca_eval's outputs.json; several "
        "files with commas between them are runs (seeds) of one system. The first is compared with each other one",
        group="data",
    )
    judge: str | None = option(
        None,
        "mistral-7b-instruct-v0.3, llama-3-8b-instruct, hub name, folder or .gguf file of a model, or module:function "
        "from question to answer",
        otherwise="none; give judge or reward-function",
        guarded=names_function,
    )
    reward_function: str | None = option(
        None,
        "module:function, or a reward model's name, as judge: the larger reward wins",
        otherwise="none",
        guarded=names_function,
    )
    server: str | None = option(
        None, "ask this OpenAI-compatible server, http://host:port/v1", otherwise="none", group="server"
    )
    served_name: str | None = option(
        None, "name of the model on the server", otherwise="that of the judge", group="server"
    )
    revision: str | None = option(
        None,
        "revision of the judge, for cache and signature",
        otherwise="unknown for a server, a hash of the module's source for module:function, a hash of the weights "
        "for a model in this process",
    )
    api_key_env: str | None = option(
        None,
        "environment variable with the server's key",
        otherwise="OPENAI_API_KEY for api.openai.com, no key for other servers",
        group="server",
        guarded=bool,
    )
    key_over_http: bool = option(
        False, "send the key to another machine over http, unencrypted", group="server", guarded=bool
    )
    concurrency: int = option(16, "concurrent requests", group="server", minimum=1, maximum=1024)
    timeout_seconds: float = option(
        120.0,
        "time limit of one try of a request, until the answer begins, and again until it ends",
        group="server",
        above=0,
        maximum=86400,
    )
    max_retries: int = option(5, "further tries of a request that failed", group="server", minimum=0)
    judge_prompt: str | None = option(
        None,
        "guarded, paper (open to injection) or a text file",
        otherwise="paper for the two presets, else guarded",
    )
    labels: str = option("A,B,Neutral", "what a prompt file calls the first answer, the second, and neither")
    orders: int = option(
        2, "2: each pair in both orders; 1: one, drawn at random, and labelled so", minimum=1, maximum=2
    )
    read: Literal["auto", "probabilities", "text"] = option(
        "auto",
        "verdict from the probabilities of the label tokens, from the text, or from the probabilities where available",
    )
    max_new_tokens: int = option(16, "most tokens of an answer; a judge that reasons first needs more", minimum=1)
    temperature: float = option(0.0, "sampling temperature of the judge; 0 is greedy", minimum=0)
    max_characters: int | None = option(
        None, "most characters of each text shown to the judge", otherwise="no limit", minimum=1
    )
    input_price: float = option(0.0, "price per million input tokens, in any currency", minimum=0)
    output_price: float = option(0.0, "price per million output tokens", minimum=0)
    max_cost: float | None = option(
        None, "most that all calls may cost; a call that could exceed it is not sent", otherwise="no limit", above=0
    )
    arena: bool = option(False, "compare all pairs of systems, and rank them (Bradley–Terry)")
    common: bool = option(False, "leave out prompts that some system did not answer, and count them")
    agreement: tuple[str, ...] = option(
        (), "folders of other judges' results, or files of human verdicts, to measure agreement with (Cohen's κ)"
    )
    references: str | None = option(
        None, "file of prompts and reference texts, for --metrics", otherwise="none", group="data"
    )
    reference_column: str = option("reference", "column of the reference text", group="data")
    prompt: str = option("prompt", "column of the prompt", group="data")
    response: str = option("response", "column of the response", group="data")
    dtype: Literal["float32", "bfloat16", "float16"] = option(
        "float32", "type of the weights of a judge in this process", group="model"
    )
    attn_implementation: str | None = option(
        None,
        "eager, sdpa, flash_attention_2, or OWNER/KERNEL of the hub",
        otherwise="the choice of transformers",
        group="model",
        guarded=names_kernel,
    )
    trust_remote_code: bool = option(False, "run model code from the hub", group="model", guarded=bool)
    judge_batch_size: int = option(8, "questions at a time for a judge in this process", group="model", minimum=1)
    cache: str | None = option(
        None,
        "file of answers, which several runs may share",
        otherwise="judgements.jsonl in the folder out",
        output="file",
    )
    out: str = option(
        "outputs/judge",
        "folder for judge.json, verdicts.jsonl, completions.jsonl, judge.md; those of an earlier run are replaced, its "
        "cache is kept",
        group="output",
        output="folder",
    )
    seed: int = option(
        0, "random seed of the bootstrap, of the placement in a single order, and of a judge that samples", minimum=0
    )
    dry_run: bool = option(False, "estimate calls, tokens and costs, print them, and stop", group="output")


@dataclass(frozen=True, kw_only=True)
class JudgeConfig(MetricOptions, JudgeOptions):
    """Of ``valuefree judge``."""

    about: ClassVar[str] = VERBS["judge"]
    shown_first: ClassVar[tuple[str, ...]] = ("systems", "judge", "reward_function", "server", "metrics", "out")
    metrics: str | None = metrics_option(
        f"{name} (with --reward-function)" if name == "reward" else name for name in METRICS if name != "kl"
    )

    @property
    def judge_is_function(self) -> bool:
        """Whether `judge` reads as module:function; a model on a server may be called so as well."""
        return self.judge is not None and ":" in self.judge and not Path(self.judge).exists()

    def guarded(self) -> list[str]:
        """See `Options`; with a server, a judge such as ``llama3:latest`` is a model of that server."""
        return [name for name in super().guarded() if name != "judge" or self.server is None]

    def __post_init__(self) -> None:
        if len(self.systems) < 2:
            raise ConfigError(f"{len(self.systems)} system; give the outputs of at least two: NAME=FILE NAME=FILE.")
        if (self.judge is None) == (self.reward_function is None):
            raise ConfigError("give one of the two: --judge or --reward-function.")
        self._check_read()
        self._check_measured()
        if self.max_cost is not None and not (self.input_price or self.output_price):
            raise ConfigError("--max-cost needs --input-price or --output-price, to know what is spent.")

    def _check_read(self) -> None:
        """Raise ConfigError for options that this judge does not read."""
        if self.reward_function is not None:
            unread = ("server", "revision", *SERVER, *LOCAL, *PROMPTED, *PRICES)
            self.check_unread(unread, "a reward function takes the place of a judge, and there is nothing to ask")
        if self.server is not None:
            check_address(self.server)
            self.check_unread(LOCAL, "with --server the server loads the model itself")
            return
        self.check_unread(SERVER, "without --server the judge runs in this process")
        if self.revision is not None and not self.judge_is_function:
            raise ConfigError(
                "--revision goes with --server or module:function; the weights of a model in this process are hashed."
            )

    def _check_measured(self) -> None:
        names = self.metric_list()
        if "kl" in names:
            raise ConfigError(
                "metric kl compares models, not outputs: `valuefree evaluate DATA --model M --metrics kl`."
            )
        if "reward" in names and self.reward_function is None:
            raise ConfigError(
                "metric reward needs --reward-function, which replaces --judge here; to have both, measure the reward "
                "separately: `valuefree evaluate --predictions FILE --metrics reward --reward-function …`."
            )
        self.check_metrics(names)
        needing = [name for name in names if kind_of(name).needs == "reference"]
        if needing and self.references is None:
            raise ConfigError(
                f"of --metrics, {', '.join(needing)} compare with reference texts; give them by --references FILE."
            )
        if not needing:
            reason = f"{', '.join(names)} compare with no texts" if names else "there are no --metrics"
            self.check_unread(("references", "reference_column"), reason)
