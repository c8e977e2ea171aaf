"""`valuefree export`: the three files, what is printed, and a README that is kept."""

import re
import sys

import pytest

from chat_templates import CHATML, byte_tokenizer
from conftest import make_llama
from valuefree.cli import main as cli
from valuefree.errors import ConfigError


def test_a_file_a_modelfile_and_a_card(tmp_path, capsys):
    tokenizer = byte_tokenizer(CHATML, special=("<|im_start|>", "<|im_end|>"))
    make_llama(tokenizer).save_pretrained(tmp_path / "weights")
    tokenizer.save_pretrained(tmp_path / "weights")
    command = ["export", str(tmp_path / "weights"), "--gguf", str(tmp_path / "out" / "policy.gguf")]
    cli.run(command)
    said = capsys.readouterr().out
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["Modelfile", "README.md", "policy.gguf"]
    assert "ollama create policy -f Modelfile" in said
    assert "kept" not in said
    card = (tmp_path / "out" / "README.md").read_text()
    assert "library_name: gguf" in card
    assert "llama-server -m policy.gguf" in card
    (tmp_path / "out" / "README.md").write_text("# Mine\n")
    cli.run([*command, "--overwrite", "--quantize", "bf16"])
    assert re.search(r"README\.md was there already and is kept", capsys.readouterr().out)
    assert (tmp_path / "out" / "README.md").read_text() == "# Mine\n"


def test_without_the_package_gguf_the_error_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if "gguf" in name or name == "valuefree.cli.commands.export"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ConfigError, match=r"pip install 'valuefree\[export\]'"):
        cli.run(["export", "run", "--gguf", "policy.gguf"])
