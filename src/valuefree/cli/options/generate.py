"""Options of ``valuefree generate``; no torch."""

from dataclasses import dataclass
from typing import ClassVar

from valuefree.cli.options.groups import (
    TOP_K,
    DecodingOptions,
    ModelOptions,
    option,
    required,
)
from valuefree.errors import ConfigError


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
