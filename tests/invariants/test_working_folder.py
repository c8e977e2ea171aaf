"""Modules in the working folder are never imported: not by the command, not by the processes that it starts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Written by whatever process imports the module, with the arguments of that process.
PAYLOAD = "import pathlib, sys\npathlib.Path(__file__).with_suffix('.marker').write_text(repr(sys.orig_argv))\n"
MODULES = ("re", "random", "rouge_score", "polars", "torch", "transformers", "datasets", "yaml", "tqdm")
COMMAND = "import sys; from valuefree.cli.main import main; sys.argv[0] = 'valuefree'; main()"
POOL = """
from studies.harness.pool import Workers
if __name__ == "__main__":
    with Workers(1, begin=int) as workers:
        print([result for _, result in workers.run([(abs, (-1,))])])
"""


@pytest.fixture
def folder(tmp_path):
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(PAYLOAD)
    return tmp_path


def run(folder, *arguments):
    """Output of a Python process in the folder, and the markers that were written there."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    environment.pop("PYTHONSAFEPATH", None)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, {marker.name: marker.read_text() for marker in folder.glob("*.marker")}


def predictions(folder, rows):
    """Arguments that measure so many rows of 4,004 characters; 250 are enough text for two processes."""
    row = json.dumps({"prediction": f"{'a' * 1000} {'b' * 1000}", "reference": f"{'a' * 1000} {'c' * 1000}"})
    (folder / "rows.jsonl").write_text("\n".join([row] * rows))
    return ["evaluate", "--predictions", "rows.jsonl", "--metrics", "rougeL", "--out", "out", "--quiet"]


def test_measuring_in_several_processes_imports_nothing_from_the_working_folder(folder):
    _, markers = run(folder, "-P", "-c", COMMAND, *predictions(folder, 250))
    assert markers == {}
    assert json.loads((folder / "out" / "metrics.json").read_text())["metrics"]["rougeL"]["n"] == 250


def test_python_m_valuefree_imports_nothing_from_the_working_folder_once_it_runs(folder):
    """Python itself imports a few modules before any line of the package runs; ``-P`` covers these too."""
    (folder / "re.py").unlink()
    _, markers = run(folder, "-m", "valuefree", *predictions(folder, 1))
    assert markers == {}


def test_workers_of_studies_import_nothing_from_the_working_folder(folder, tmp_path_factory):
    script = tmp_path_factory.mktemp("script") / "pool.py"
    script.write_text(POOL)
    said, markers = run(folder, str(script))
    assert (said, markers) == ("[1]\n", {})


def test_python_m_studies_looks_into_the_working_folder_last(folder):
    (folder / "re.py").unlink()
    said, markers = run(folder, "-m", "studies", "exact", "--dry-run", "--out", "out")
    assert markers == {}
    assert "cells" in said
