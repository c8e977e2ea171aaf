"""The completion script of bash in a real bash; those of zsh and fish name every verb and flag."""

import subprocess

import pytest

from valuefree.cli import main as cli
from valuefree.cli.commands.completion import SCRIPTS, bash, fish, flags_of, zsh
from valuefree.cli.options import VERBS
from valuefree.errors import ConfigError

ASK = """{script}
COMP_WORDS=({words}); COMP_CWORD={place}
_valuefree
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p valuefree
"""


def completed(*words: str) -> list[str]:
    """What bash offers for the last word."""
    quoted = " ".join(f"'{word}'" for word in ("valuefree", *words))
    script = ASK.format(script=bash(), words=quoted, place=len(words))
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    *offered, registered = done.stdout.splitlines()
    assert registered == "complete -o default -F _valuefree valuefree"
    assert not done.stderr
    return [word for word in offered if word]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("",), [*VERBS, "--help", "--version"]),
        (("tr",), ["train"]),
        (("train", "--obj"), ["--objective"]),
        (("train", "x.jsonl", "--objective", "sl"), ["slic"]),
        (("train", "x.jsonl", "--dtype", ""), ["float32", "bfloat16", "float16"]),
        (("train", "--resu"), ["--resume"]),
        (("train", "--no-resu"), ["--no-resume"]),
        (("score", "--obj"), []),
        (("train", "--out", ""), []),  # then bash offers files
        (("train", "rows"), []),
        (("completion", ""), ["bash", "zsh", "fish", "--help", "--config"]),
    ],
)
def test_bash_completes_verbs_flags_and_choices(words, offered):
    assert completed(*words) == offered


def test_every_flag_of_every_verb_is_completed_once():
    for verb in VERBS:
        names = [flag.name for flag in flags_of(verb)]
        assert len(set(names)) == len(names)
        assert {"help", "config"} <= set(names)
        assert completed(verb, "--") == [f"--{name}" for name in names]


def test_zsh_runs_the_script_of_bash():
    assert zsh().endswith(bash())
    assert "bashcompinit" in zsh()


def test_fish_describes_every_verb_and_flag():
    lines = fish().splitlines()
    for verb in VERBS:
        assert any(f"__fish_use_subcommand -a {verb} -d '" in line for line in lines)
        for flag in flags_of(verb):
            assert any(f"__fish_seen_subcommand_from {verb}' -l {flag.name} " in line for line in lines)
    choices = next(line for line in lines if "from train' -l dtype " in line)
    assert "-xa 'float32 bfloat16 float16'" in choices
    assert "systems\\' answers" in fish()


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_command_prints_the_script(shell, capsys):
    cli.run(["completion", shell])
    assert capsys.readouterr().out == SCRIPTS[shell]()


def test_another_shell_is_an_error():
    with pytest.raises(ConfigError, match="choose from bash, zsh, fish"):
        cli.run(["completion", "csh"])
