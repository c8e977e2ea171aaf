"""Options of ``valuefree sample``; no torch."""

from dataclasses import dataclass, fields
from typing import ClassVar

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import DecodingOptions, ModelOptions, names_function, option, positional
from valuefree.errors import ConfigError

EXACT = (
    "Partition estimates assume samples of the model itself; with another value than {} they describe another policy"
)


@dataclass(frozen=True, kw_only=True)
class SampleConfig(ModelOptions, DecodingOptions):
    """Of ``valuefree sample``."""

    about: ClassVar[str] = VERBS["sample"]
    group: ClassVar[str] = "sampling"
    instead_of_overwrite: ClassVar[str] = "; with --resume a run that was stopped goes on with its file"
    shown_first: ClassVar[tuple[str, ...]] = ("prompts", "model", "samples", "score", "responses", "out")
    prompts: str | None = positional(
        "JSONL, CSV or Parquet file (also of training rows: each prompt once), or text file with one prompt a line"
    )
    prompt: str = option("prompt", "column of the prompt", group="data")
    responses: str | None = option(
        None, "file of rows prompt, response to reward, instead of sampling", otherwise="none", group="data"
    )
    response: str = option("response", "column of the response in the file of --responses", group="data")
    samples: int = option(4, "responses per prompt", minimum=1)
    score: str | None = option(
        None,
        "module:function of prompts and responses, or name or folder of a reward model, to reward the responses",
        otherwise="no rewards",
        group="evaluation",
        guarded=names_function,
    )
    temperature: float = option(1.0, f"sampling temperature; 0 is greedy. {EXACT.format('1')}", minimum=0)
    top_k: int = option(0, f"most likely tokens to sample from; 0 for all. {EXACT.format('0')}", minimum=0)
    top_p: float = option(1.0, f"probability mass to sample from; 1 for all. {EXACT.format('1')}", above=0, maximum=1)
    out: str = option(
        "samples.jsonl",
        "JSONL file to write: prompt, response, and reward if scored",
        group="output",
        output="file",
    )
    seed: int = option(0, "random seed of sampling", minimum=0)
    resume: bool = option(
        False,
        "go on with the file out of a run that was stopped, or reward it where only that was left",
        group="output",
    )
    overwrite: bool = option(False, "replace the file out", group="output")
    dry_run: bool = option(False, "count the prompts, print the settings, and stop", group="output")

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise ConfigError("resume adds to the file out, overwrite replaces it; give one of the two.")
        if (self.prompts is None) == (self.responses is None):
            raise ConfigError("give one of the two: prompts to sample from, or --responses FILE to reward.")
        if self.responses is None:
            self.check_unread(("response",), "it is a column of the file of --responses")
            return
        if self.score is None:
            raise ConfigError("--responses needs --score: module:function, or a reward model's name or folder.")
        read = {"responses", "response", "prompt", "score", "out", "overwrite", "dry_run"}
        self.check_unread({item.name for item in fields(self)} - read, "with --responses nothing is sampled")
