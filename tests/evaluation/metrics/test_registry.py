"""A metric is registered once: a toy metric needs an entry and a function, and the docs list what the registry has."""

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from valuefree.cli import main as cli
from valuefree.errors import ConfigError
from valuefree.evaluation import text_metrics
from valuefree.evaluation.metrics.base import of_mean
from valuefree.evaluation.metrics.registry import METRICS, MetricEntry, kind_of, metric_names

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")


def load_exclamations(names, settings):
    """From names and settings to a function of texts, as every entry names one."""

    def measure(texts):
        counts = [float(text.count("!")) for text in texts.predictions]
        return {"exclamations": of_mean("exclamations", counts, texts.prompts, unscored=texts.unscored)}

    return measure


@pytest.fixture
def toy(monkeypatch):
    """One entry and the function above, and nothing else."""
    monkeypatch.setitem(sys.modules, "toy_metrics", sys.modules[__name__])
    entry = MetricEntry(
        "exclamation marks, mean", "lower", "toy_metrics:load_exclamations", needs=None, sets=("lexical",)
    )
    monkeypatch.setitem(METRICS, "exclamations", entry)


@pytest.mark.usefixtures("toy")
def test_a_toy_metric_is_measured_by_text_metrics():
    found = text_metrics(["a!", "b!!", None], metrics="exclamations,length")
    assert list(found) == ["exclamations", "length"]
    assert (found["exclamations"].value, found["exclamations"].n, found["exclamations"].unscored) == (1.5, 2, 1)
    assert metric_names("lexical")[-1] == "exclamations"
    with pytest.raises(ConfigError, match="did you mean 'exclamations'"):
        text_metrics(["a"], metrics="exclamation")


@pytest.mark.usefixtures("toy")
def test_a_toy_metric_is_measured_by_the_command(tmp_path, capsys):
    """No references in the file: the entry says that the metric needs none."""
    file = tmp_path / "predictions.jsonl"
    file.write_text(json.dumps({"prediction": "well!"}) + "\n" + json.dumps({"prediction": "no"}) + "\n")
    cli.run(["evaluate", "--predictions", str(file), "--metrics", "exclamations", "--out", str(tmp_path / "out")])
    assert "exclamations" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["metrics"]["exclamations"]["value"] == 0.5
    assert "| exclamations | 0.5 |" in (tmp_path / "out" / "metrics.md").read_text()
    assert (tmp_path / "out" / "metrics.csv").read_text().splitlines()[1].split(",")[7] == "lower"


def documented() -> dict[str, list[str]]:
    """Cells of the table of definitions by name of the metric."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {re.findall(r"`(\w+)`", row[0])[0]: row for row in rows}


def test_the_docs_list_every_metric_with_its_entry():
    rows = documented()
    assert list(rows) == [name for key, entry in METRICS.items() for name in (key, *entry.adds)]
    for name, (heading, sets, about, better) in rows.items():
        entry = kind_of(name)
        assert heading == f"`{name}`"
        assert about.startswith(entry.about if name in METRICS else entry.adds[name]), name
        assert better == (entry.better or "–"), name
        assert sets == (", ".join(entry.sets) if name in METRICS and entry.sets else "–"), name


def test_every_entry_names_a_function():
    for entry in METRICS.values():
        module, _, function = entry.function.partition(":")
        assert callable(getattr(import_module(module), function)), entry.function


@pytest.mark.parametrize("module", ["valuefree.cli.options", "valuefree.cli.main", "valuefree.evaluation"])
def test_the_options_need_no_numerical_library(module):
    code = f"import sys, {module}; assert not {{'torch', 'numpy', 'scipy'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
