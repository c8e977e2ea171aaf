"""An output that cannot be written is one message before the work, for every verb; the check leaves nothing behind."""

import errno
import os
import tempfile
from dataclasses import fields

import pytest

from valuefree.cli import main as cli
from valuefree.cli.options import VERBS, options_of
from valuefree.cli.options.evaluate import EvaluateConfig
from valuefree.cli.options.generate import GenerateConfig
from valuefree.cli.options.report import ReportConfig
from valuefree.cli.options.strength import StrengthConfig
from valuefree.errors import ConfigError
from valuefree.runs.outputs import check_output

# What each verb needs to be parsed; none of these files and models is there.
ARGUMENTS = {
    "init": ["rows.jsonl"],
    "prepare": ["set"],
    "import": ["export.json"],
    "score": ["rows.jsonl"],
    "train": ["rows.jsonl"],
    "sample": ["prompts.txt"],
    "generate": ["prompts.txt"],
    "evaluate": ["--predictions", "predictions.jsonl"],
    "merge": ["run"],
    "export": ["run"],
    "judge": ["a.jsonl", "b.jsonl", "--judge", "judge"],
    "report": ["run"],
    "demo": [],
}
NAMED = {"export": "gguf"}


@pytest.mark.parametrize("verb", ARGUMENTS)
def test_each_verb_checks_its_output_before_its_input(verb, tmp_path, monkeypatch):
    """The input is missing too; the message is about the output, and nothing is left."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("mine")
    option = NAMED.get(verb, "out")
    with pytest.raises(
        ConfigError, match=rf"^--{option} is 'taken/out.gguf': .*taken is a file, where a folder is need"
    ):
        cli.run([verb, *ARGUMENTS[verb], f"--{option}", "taken/out.gguf"])
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert (tmp_path / "taken").read_text() == "mine"


def test_every_verb_with_an_option_out_is_checked():
    having = {verb for verb in VERBS if {"out", "gguf"} & {item.name for item in fields(options_of(verb))}}
    assert having == set(ARGUMENTS)


@pytest.mark.parametrize(
    ("options", "written"),
    [
        (GenerateConfig(prompts="p"), {"--out": ("responses.jsonl", "file")}),
        (GenerateConfig(prompts="p", dry_run=True), {}),
        (EvaluateConfig(predictions="p"), {"--out": ("outputs", "folder")}),
        (EvaluateConfig(predictions="p", dry_run=True), {}),
        (ReportConfig(runs=("no-such-run",)), {}),
        (ReportConfig(runs=(".",)), {"runs": (".", "folder")}),
        (StrengthConfig(run="."), {"run": (".", "folder")}),
        (StrengthConfig(run=".", apply=False), {}),
        (StrengthConfig(run="no-such-run"), {}),
    ],
)
def test_what_is_checked(options, written):
    assert options.outputs() == written


@pytest.mark.parametrize("verb", ["init", "import", "score", "sample", "generate"])
def test_a_file_is_replaced_only_if_asked_to(verb, tmp_path, monkeypatch):
    """The message comes before the input, which is missing, is read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("mine")
    with pytest.raises(ConfigError, match=r"^there exists\. Name another file by --out, or pass --overwrite"):
        cli.run([verb, *ARGUMENTS[verb], "--out", "there"])
    assert (tmp_path / "there").read_text() == "mine"


def test_what_can_be_written_passes_and_leaves_nothing(tmp_path):
    check_output(str(tmp_path / "a" / "b" / "rows.jsonl"), "file", name="--out")
    check_output(str(tmp_path / "a" / "b"), "folder", name="--out")
    check_output(str(tmp_path), "folder", name="--out")
    assert not list(tmp_path.iterdir())


def test_what_is_there_already_must_be_of_the_same_kind(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="there is a file of that name, where a folder is needed"):
        check_output(str(tmp_path / "file"), "folder", name="--out")
    with pytest.raises(ConfigError, match="there is a folder of that name, where a file is needed"):
        check_output(str(tmp_path), "file", name="--out")
    with pytest.raises(ConfigError, match="there is a device of that name"):
        check_output(os.devnull, "file", name="--out")
    check_output(str(tmp_path / "file"), "file", name="--out")


@pytest.mark.parametrize(
    ("path", "said"),
    [("", "a file has no such name"), ("a\0b", "a file has no such name"), ("n" * 300, "name too long")],
)
def test_names_that_no_file_can_have(path, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"(?i){said}"):
        check_output(path, "file", name="--out")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_read_only_disk_is_said_by_its_own_words(tmp_path, monkeypatch, code):
    def refuse(**_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(ConfigError, match=os.strerror(code)):
        check_output(str(tmp_path / "out"), "folder", name="--out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="Permission denied"):
        check_output(str(tmp_path / "out"), "folder", name="--out")
    tmp_path.chmod(0o700)
