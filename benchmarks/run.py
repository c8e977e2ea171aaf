"""Run comparisons, each side in a process of its own, and write benchmarks/results/<name>.json.

python -m benchmarks.run [NAME …] [--pairs N] [--rows N] [--smoke] [--out FOLDER]

A NAME stands for all comparisons that begin with it; none stands for all.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.comparisons import MICRO_BATCH, SCALE_ROWS, SMOKE_ROWS, Comparison, Setting, named
from benchmarks.summary import details, table_rows
from valuefree.runs.files import write_json
from valuefree.runs.manifest import git_commit, machine

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "transformers", "trl")
Execute = Callable[[Setting], dict[str, Any]]


def in_own_process(setting: Setting) -> dict[str, Any]:
    """Run one side by `benchmarks.side` in a fresh process, so that its memory is its own.

    Raises:
        RuntimeError: the side failed; its output was shown.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "measured.json"
        command = [sys.executable, "-m", "benchmarks.side", setting.name, "--side", setting.side]
        command += ["--rows", str(setting.rows), "--size", setting.size, "--seed", str(setting.seed), "--out", str(out)]
        caches = {"HF_DATASETS_CACHE": folder, "VALUEFREE_CACHE": folder}
        environment = {**os.environ, **caches, **setting.environment}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[1:6])} ended with {done.returncode}; its message stands above.")
        return json.loads(out.read_text(encoding="utf-8"))


def compare(
    comparison: Comparison,
    *,
    pairs: int,
    rows: int,
    size: str = "full",
    scale_rows: int = SCALE_ROWS,
    execute: Execute = in_own_process,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The sides in turn, `pairs` times, on the same rows; then the batches of a larger set, counted on a toy model.

    Returns:
        ``name``, ``rows`` of the table, ``details`` with all raw numbers.
    """
    sides: dict[str, list[dict[str, Any]]] = {side: [] for side in comparison.sides}
    for pair in range(pairs):
        for side, runs in sides.items():
            runs.append(execute(Setting(comparison.name, side, rows, size)))
            speed, peak = runs[-1]["responses_per_second"], runs[-1]["peak_mb"]
            say(f"{comparison.name} {pair + 1}/{pairs} {side}: {speed:.3f} responses/s, peak {peak:.0f} MB")
    large = None
    if comparison.at_scale:
        large = {side: execute(Setting(comparison.name, side, scale_rows, "toy")) for side in ("ours", "theirs")}
    setting = {"rows": rows, "pairs": pairs, "micro_batch": MICRO_BATCH, "size": size, "seed": 0}
    setting["versions"] = {name: version(name) for name in PACKAGES}
    found = {"setting": setting, **details(comparison, sides, large)}
    return {"name": comparison.name, "rows": table_rows(comparison, sides), "details": found}


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="comparisons, or what their names begin with")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each side (default 3)")
    parser.add_argument("--rows", type=int, help="responses a side trains on; default: of each comparison")
    parser.add_argument("--smoke", action="store_true", help="tiny models and short rows: shows that it runs")
    parser.add_argument(
        "--out", type=Path, help="folder (default benchmarks/results, or outputs/benchmarks if --smoke)"
    )
    given = parser.parse_args()
    folder = given.out or (ROOT / "outputs" / "benchmarks" if given.smoke else RESULTS)
    origin = {"commit": git_commit(), "machine": machine()}
    for comparison in named(given.names):
        result = compare(
            comparison,
            pairs=given.pairs,
            rows=given.rows or (SMOKE_ROWS if given.smoke else comparison.rows),
            size="smoke" if given.smoke else "full",
            scale_rows=8 * SMOKE_ROWS if given.smoke else SCALE_ROWS,
            say=lambda line: print(line, flush=True),
        )
        for row in result["rows"]:
            print(f"  {row['comparison'].split(':')[0]}: {row['measured']}, expected {row['expected']}", flush=True)
        date = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(folder / f"{comparison.name}.json", {**result, **origin, "date": date})


if __name__ == "__main__":
    main()
