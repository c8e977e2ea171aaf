"""Options of ``valuefree doctor``; no torch."""

from dataclasses import dataclass
from typing import ClassVar

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import Options, option


@dataclass(frozen=True, kw_only=True)
class DoctorConfig(Options):
    """Of ``valuefree doctor``."""

    about: ClassVar[str] = VERBS["doctor"]
    shown_first: ClassVar[tuple[str, ...]] = ("model", "json")
    model: str | None = option(
        None, "hub name, folder or .gguf file: is it there, and does its training fit?", otherwise="none", group="model"
    )
    json: bool = option(False, "print JSON", group="output")
