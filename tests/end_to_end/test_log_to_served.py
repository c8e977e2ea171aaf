"""The example script: from an export of Open WebUI to an answer of a served model."""

import json
import os
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from chat_templates import CHATML, byte_tokenizer
from conftest import make_llama

ROOT = Path(__file__).parents[2]
SERVER = ("openai", "fastapi", "uvicorn")


@pytest.mark.slow
@pytest.mark.skipif(any(find_spec(name) is None for name in SERVER), reason="needs 'transformers[serving]'")
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_an_export_becomes_a_model_that_answers_a_chat(tmp_path):
    tokenizer = byte_tokenizer(CHATML, special=("<|im_start|>", "<|im_end|>"))
    make_llama(tokenizer, bos_token_id=2).save_pretrained(tmp_path / "tiny")
    tokenizer.save_pretrained(tmp_path / "tiny")
    (tmp_path / "bin").mkdir()
    for name, module in (("valuefree", "valuefree"), ("transformers", "transformers.cli.transformers")):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
        "MODEL": str(tmp_path / "tiny"),
        "OUT": str(tmp_path / "out"),
        "PORT": str(port),
    }
    done = subprocess.run(
        [str(ROOT / "examples" / "log_to_served.sh")], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "24 rows" in done.stdout
    assert f"transformers serve {tmp_path / 'out' / 'merged'}" in done.stdout
    cards = [(tmp_path / "out" / folder / "README.md").read_text() for folder in ("run/model", "merged")]
    assert ["library_name: peft" in card for card in cards] == [True, False]
    assert all("- Size: 24 rows, 12 prompts, held-out ones included." in card for card in cards)
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["usage"]["completion_tokens"] > 0
