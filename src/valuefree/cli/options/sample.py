"""Options of ``valuefree sample``; no torch."""

from dataclasses import dataclass
from typing import ClassVar

from valuefree.cli.options.groups import (
    DecodingOptions,
    ModelOptions,
    option,
    positional,
)
from valuefree.errors import ConfigError

EXACT = "Partition estimates take samples for the model's own; with another value than {} they describe another policy"


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
