"""Options of ``valuefree generate``; no torch."""

from dataclasses import dataclass
from typing import ClassVar

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import TOP_K, DecodingOptions, ModelOptions, option, required
from valuefree.errors import ConfigError
from valuefree.evaluation.server_address import check_address

LOCAL = ("dtype", "attn_implementation", "quantize", "trust_remote_code", "generation_batch_size")
REMOTE = ("api_key_env", "key_over_http", "concurrency", "timeout_seconds", "max_retries")


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(ModelOptions, DecodingOptions):
    """Of ``valuefree generate``."""

    about: ClassVar[str] = VERBS["generate"]
    group: ClassVar[str] = "server"
    instead_of_overwrite: ClassVar[str] = "; with --resume a run that was stopped goes on with its file"
    shown_first: ClassVar[tuple[str, ...]] = ("prompts", "model", "out", "max_new_tokens", "temperature", "server")
    prompts: str = required("JSONL, CSV or Parquet file, or text file with one prompt a line")
    prompt: str = option("prompt", "column of the prompt", group="data")
    out: str = option(
        "responses.jsonl",
        "JSONL file to write: prompt, response; or outputs.json, in the form of alpaca_eval",
        group="output",
        output="file",
    )
    top_k: int | None = option(  # type: ignore[assignment]  # None, not given: a server then applies its own default
        None,
        "most likely tokens to sample from; 0 for all",
        otherwise=f"{TOP_K}; on a server its own",
        minimum=0,
        group="sampling",
    )
    seed: int = option(0, "random seed of sampling", group="sampling", minimum=0)
    server: str | None = option(
        None,
        "ask this OpenAI-compatible server, http://host:port/v1, for the model of that name",
        otherwise="none, the model runs in this process",
    )
    api_key_env: str | None = option(
        None,
        "environment variable with the server's key",
        otherwise="OPENAI_API_KEY for api.openai.com, no key for other servers",
        guarded=bool,
    )
    key_over_http: bool = option(False, "send the key to another machine over http, unencrypted", guarded=bool)
    concurrency: int = option(16, "concurrent requests", minimum=1, maximum=1024)
    timeout_seconds: float = option(
        120.0,
        "time limit of one try of a request, until the answer begins, and again until it ends",
        above=0,
        maximum=86400,
    )
    max_retries: int = option(5, "further tries of a request that failed", minimum=0)
    resume: bool = option(
        False,
        "go on with the file out of a run that was stopped; with --server ask for the prompts that it lacks",
        group="output",
    )
    overwrite: bool = option(False, "replace the file out", group="output")
    dry_run: bool = option(False, "count the prompts, print the settings, and stop", group="output")

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise ConfigError("resume adds to the file out, overwrite replaces it; give one of the two.")
        if self.resume and self.out.endswith(".json"):
            raise ConfigError(f"with resume, out is {self.out}: only JSON Lines can be added to; name a .jsonl file.")
        if self.server is None:
            self.check_unread(REMOTE, "without --server the model runs in this process")
            return
        check_address(self.server)
        self.check_unread(LOCAL, "with --server the server loads the model itself")
        if self.out.endswith(".json"):
            raise ConfigError(f"with server, out is {self.out}: answers are written as they come; name a .jsonl file.")
