"""Options of ``valuefree prepare``; no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import Options, option, required


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(Options):
    """Of ``valuefree prepare``."""

    about: ClassVar[str] = VERBS["prepare"]
    group: ClassVar[str] = "data"
    shown_first: ClassVar[tuple[str, ...]] = ("source", "validation_prompts", "out")
    source: str = required("hub name, such as openbmb/UltraFeedback, or a file or folder in the same layout")
    schema: Literal[
        "auto", "ultrafeedback", "ultrafeedback-binarized", "argilla-binarized", "rpo-split", "helpsteer2", "helpsteer3"
    ] = option("auto", "layout of the rows; auto recognises it by the columns")
    split: str | None = option(None, "split of a hub data set", otherwise="train, or train_prefs of the H4 set")
    reward_field: Literal["overall", "fine_grained", "preference"] = option(
        "overall", "overall score, mean of the fine-grained ratings, or half a preference with either sign (HelpSteer3)"
    )
    score10: Literal["keep", "drop", "fix"] = option(
        "drop",
        "overall scores of 10 that the ratings contradict: keep (as published), drop, or fix the certain ones to 1 and "
        "drop the doubtful",
    )
    system_prompt: Literal["leave", "front"] = option(
        "leave", "UltraFeedback's own system prompt of each response: leave it out, or put it in front of the prompt"
    )
    on_bad: Literal["raise", "drop"] = option("raise", "rows of an unexpected form: raise an error, or drop and count")
    validation_prompts: int = option(
        1000, "prompts held out, among those whose best response has the top score; 0 for none", minimum=0
    )
    top_score: float | None = option(
        None,
        "least reward of that best response",
        otherwise="the highest reward of the scale",
        minimum=-1e30,
        maximum=1e30,
    )
    seed: int = option(0, "random seed of the draw of validation prompts", minimum=0)
    out: str = option(
        "outputs/prepare",
        "folder for train, validation, report.json and manifest.json",
        group="output",
        output="folder",
    )
    overwrite: bool = option(False, "replace the earlier output of prepare in the folder out", group="output")
    format: Literal["jsonl", "parquet"] = option(
        "jsonl", "file format of the rows: prompt, response, reward", group="output"
    )
    dry_run: bool = option(False, "read the data, print the settings and the counts, and write nothing", group="output")

    def __post_init__(self) -> None:
        if not self.validation_prompts:
            self.check_unread(("top_score", "seed"), "with --validation-prompts 0 no prompt is held out")
