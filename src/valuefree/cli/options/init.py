"""Options of ``valuefree init``; no torch."""

from dataclasses import dataclass
from typing import ClassVar

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import ExportOptions, option, required


@dataclass(frozen=True, kw_only=True)
class InitConfig(ExportOptions):
    """Of ``valuefree init``."""

    about: ClassVar[str] = VERBS["init"]
    group: ClassVar[str] = "data"
    shown_first: ClassVar[tuple[str, ...]] = ("data", "model", "out")
    data: str = required("JSONL, CSV or Parquet file, folder, or hub name: a row per response, or an export")
    prompt: str | None = option(None, "column of the prompt", otherwise="prompt, else a guess by names and contents")
    response: str | None = option(None, "column of the response", otherwise="response, else a guess")
    reward: str | None = option(None, "column of the reward", otherwise="reward, else a guess")
    split: str | None = option(None, "split of a hub data set", otherwise="the only split of the set")
    model: str | None = option(
        None,
        "hub name, folder or .gguf file to train, best the model that wrote the responses",
        otherwise="the largest of four that this machine trains in two hours",
        group="model",
    )
    out: str = option("recipe.yaml", "file of the recipe", group="output", output="file")
    overwrite: bool = option(False, "replace an earlier file", group="output")
