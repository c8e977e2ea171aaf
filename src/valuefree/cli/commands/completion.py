"""``valuefree completion``: a script that completes verbs, flags and choices in a shell; no torch."""

from collections.abc import Callable
from dataclasses import fields
from typing import Literal, NamedTuple, get_args, get_origin, get_type_hints

from valuefree.cli.options import VERBS, options_of
from valuefree.cli.options.completion import CompletionConfig
from valuefree.cli.parse import kinds, make_parser, positional_of

BASH = """_valuefree() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{verbs} --help --version"
    else
        case "${{COMP_WORDS[1]}} ${{COMP_WORDS[COMP_CWORD-1]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _valuefree valuefree
"""
ZSH = """autoload -U +X compinit && compinit
autoload -U +X bashcompinit && bashcompinit
"""


class Flag(NamedTuple):
    """A flag of a verb, without its dashes. choices: of its value, empty where any is allowed."""

    name: str
    help: str
    choices: tuple[str, ...]
    takes_value: bool


def flags_of(verb: str) -> list[Flag]:
    """The flags of a verb, from its parser."""
    config = options_of(verb)
    texts = {item.name: item.metadata["help"] for item in fields(config)}
    return [
        Flag(name[2:], texts.get(action.dest) or str(action.help), tuple(action.choices or ()), action.nargs != 0)
        for action in make_parser("", config)._actions
        for name in action.option_strings
        if name.startswith("--")
    ]


def positional_choices(verb: str) -> tuple[str, ...]:
    """The values that the option without a flag may have; empty where any is allowed."""
    config = options_of(verb)
    item = positional_of(config)
    kind = kinds(get_type_hints(config)[item.name])[0] if item else None
    return get_args(kind) if get_origin(kind) is Literal else ()


def bash() -> str:
    """For bash: words to choose from by verb and previous word; none of them matches, then files."""
    cases = []
    for verb in VERBS:
        flags = flags_of(verb)
        with_choices = [flag for flag in flags if flag.choices]
        cases += [f'"{verb} --{flag.name}") words="{" ".join(flag.choices)}" ;;' for flag in with_choices]
        free = [f'"{verb} --{flag.name}"' for flag in flags if flag.takes_value and not flag.choices]
        cases.append(f"{'|'.join(free)}) ;;")
        words = (*positional_choices(verb), *(f"--{flag.name}" for flag in flags))
        cases.append(f'"{verb} "*) words="{" ".join(words)}" ;;')
    return BASH.format(verbs=" ".join(VERBS), cases="\n".join(f"            {case}" for case in cases))


def zsh() -> str:
    """For zsh, which runs the script of bash."""
    return ZSH + bash()


def fish() -> str:
    """For fish, with a description of each verb and flag."""
    lines = [f"complete -c valuefree -n __fish_use_subcommand -a {v} -d {_quoted(about)}" for v, about in VERBS.items()]
    for verb in VERBS:
        start = f"complete -c valuefree -n '__fish_seen_subcommand_from {verb}'"
        choices = positional_choices(verb)
        lines += [f"{start} -xa {_quoted(' '.join(choices))}"] if choices else []
        for flag in flags_of(verb):
            value = f" -xa {_quoted(' '.join(flag.choices))}" if flag.choices else " -r" if flag.takes_value else ""
            lines.append(f"{start} -l {flag.name}{value} -d {_quoted(flag.help)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A text in single quotes, as fish reads it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


SCRIPTS: dict[str, Callable[[], str]] = {"bash": bash, "zsh": zsh, "fish": fish}


def command(options: CompletionConfig) -> None:
    """Print the script of a shell."""
    print(SCRIPTS[options.shell](), end="")
