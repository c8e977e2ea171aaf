"""The README's Python example runs as it stands, on a tiny model in place of the hub's."""

import json
import re
from pathlib import Path

from conftest import make_t5
from valuefree.demo.data import feedback

README = Path(__file__).parents[2] / "README.md"


def test_the_python_example(tmp_path, tokenizer, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(code.splitlines()) <= 16
    make_t5(tokenizer).save_pretrained(tmp_path / "google" / "flan-t5-small")
    tokenizer.save_pretrained(tmp_path / "google" / "flan-t5-small")
    rows = feedback().select(range(240))
    columns = ("prompt", "response", "reward")
    text = "\n".join(json.dumps({name: row[name] for name in columns}) for row in rows)
    (tmp_path / "feedback.jsonl").write_text(text)
    monkeypatch.chdir(tmp_path)
    code = code.replace("result = evaluate(", "from valuefree import Decoding\nresult = evaluate(")
    code = code.replace(", reward)", ", reward, decoding=Decoding(max_new_tokens=4))")
    exec(compile(code, "README.md", "exec"), {})
    assert "Targets: 90 %" in capsys.readouterr().out
