"""Options of ``valuefree schema``; no torch."""

from dataclasses import dataclass
from typing import ClassVar

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import Options, positional
from valuefree.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SchemaConfig(Options):
    """Of ``valuefree schema``."""

    about: ClassVar[str] = VERBS["schema"]
    group: ClassVar[str] = "output"
    verb: str | None = positional("the verb whose recipes to describe; without one, a recipe of any verb is valid")

    def __post_init__(self) -> None:
        if self.verb is not None and self.verb not in VERBS:
            raise ConfigError(f"no verb {self.verb!r}; choose from {', '.join(VERBS)}.")
