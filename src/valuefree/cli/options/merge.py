"""Options of ``valuefree merge``; no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import Options, option, required


@dataclass(frozen=True, kw_only=True)
class MergeConfig(Options):
    """Of ``valuefree merge``."""

    about: ClassVar[str] = VERBS["merge"]
    group: ClassVar[str] = "output"
    shown_first: ClassVar[tuple[str, ...]] = ("run", "out", "dtype")
    run: str = required("folder of a run, of its model, of an adapter or of full weights")
    out: str = required("new folder of the merged model", output="folder")
    dtype: Literal["float32", "bfloat16", "float16"] = option("float32", "type of the merged weights")
    overwrite: bool = option(False, "replace the merged model in the folder out")
    push_to_hub: str | None = option(
        None,
        "also upload the folder to this repository of the Hugging Face hub; a new one is private",
        otherwise="none",
    )
    trust_remote_code: bool = option(False, "run model code from the hub", group="model", guarded=bool)
