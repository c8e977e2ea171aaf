"""docs/serving.md: its commands are commands, and its table names what the export writes."""

import re
import shlex
from pathlib import Path

from valuefree.cli.parse import parse
from valuefree.models.gguf_export import FAMILIES, QUANTIZATIONS
from valuefree.models.gguf_vocabulary import SPLITS

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def test_every_command_of_this_package_is_one():
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("valuefree ")]
    assert [shlex.split(command)[1] for command in commands] == ["merge", "export", "generate", "train"]
    for command in commands:
        verb, *rest = shlex.split(command)[1:]
        parse(verb, rest)


def test_the_table_of_the_export_is_complete():
    rows = dict(re.findall(r"^\| (.*?) \| (.*?) \|$", PAGE, flags=re.MULTILINE))
    assert set(FAMILIES) <= set(re.findall(r"`(\w+)`", rows["types of model"]))
    assert {"gpt-2", "smollm", *SPLITS.values()} == set(re.findall(r"`([\w-]+)`", rows["tokenizers"]))
    assert set(QUANTIZATIONS) == set(re.findall(r"`(\w+)`", rows["`--quantize`"]))
