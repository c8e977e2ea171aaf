"""Options of ``valuefree export``; no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import Options, option, required


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Options):
    """Of ``valuefree export``."""

    about: ClassVar[str] = VERBS["export"]
    group: ClassVar[str] = "output"
    shown_first: ClassVar[tuple[str, ...]] = ("run", "gguf", "quantize")
    run: str = required("folder of a run, of its model, of an adapter or of full weights")
    gguf: str = required("file to write, NAME.gguf; a Modelfile for Ollama is written beside it", output="file")
    quantize: Literal["f16", "bf16", "f32", "q8_0"] = option("f16", "type of the matrices; vectors are float32")
    overwrite: bool = option(False, "replace the file and the Modelfile")
    trust_remote_code: bool = option(False, "run model code from the hub", group="model", guarded=bool)
