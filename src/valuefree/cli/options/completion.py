"""Options of ``valuefree completion``; no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import Options, required


@dataclass(frozen=True, kw_only=True)
class CompletionConfig(Options):
    """Of ``valuefree completion``."""

    about: ClassVar[str] = VERBS["completion"]
    group: ClassVar[str] = "output"
    shell: Literal["bash", "zsh", "fish"] = required(
        'bash, zsh or fish. Put eval "$(valuefree completion bash)" into ~/.bashrc, the same with zsh into ~/.zshrc, '
        "or valuefree completion fish | source into ~/.config/fish/config.fish"
    )
