"""Run comparisons, each side in a separate process, and write benchmarks/results/<name>.json.

python -m benchmarks.run [NAME …] [--pairs N] [--rows N] [--smoke] [--out FOLDER]

A NAME selects all comparisons that begin with it; without a NAME, all comparisons run.
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
    """Run one side by `benchmarks.side` in a new process, so that its memory is measured alone.

    Raises:
        RuntimeError: the side failed; the process has printed its error.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "measured.json"
        command = [sys.executable, "-m", "benchmarks.side", setting.name, "--side", setting.side]
        command += ["--rows", str(setting.rows), "--size", setting.size, "--seed", str(setting.seed), "--out", str(out)]
        caches = {"HF_DATASETS_CACHE": folder, "VALUEFREE_CACHE": folder}
        environment = {**os.environ, **caches, **setting.environment}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(command[1:6])} failed with exit code {done.returncode}; see the error above."
            )
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
    """Run the sides in turn, `pairs` times, on the same rows; then count a larger set's batches with a toy model.

    Returns:
        ``name``, ``rows`` of the table, and ``details`` with all raw numbers.
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
    raw = {"setting": setting, **details(comparison, sides, large)}
    return {"name": comparison.name, "rows": table_rows(comparison, sides), "details": raw}


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="comparisons, or prefixes of their names")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each side (default 3)")
    parser.add_argument("--rows", type=int, help="responses that a side trains on; default: set by each comparison")
    parser.add_argument("--smoke", action="store_true", help="test run with tiny models and short rows")
    parser.add_argument(
        "--out", type=Path, help="folder (default benchmarks/results, or outputs/benchmarks if --smoke)"
    )
    options = parser.parse_args()
    folder = options.out or (ROOT / "outputs" / "benchmarks" if options.smoke else RESULTS)
    origin = {"commit": git_commit(), "machine": machine()}
    for comparison in named(options.names):
        result = compare(
            comparison,
            pairs=options.pairs,
            rows=options.rows or (SMOKE_ROWS if options.smoke else comparison.rows),
            size="smoke" if options.smoke else "full",
            scale_rows=8 * SMOKE_ROWS if options.smoke else SCALE_ROWS,
            say=lambda line: print(line, flush=True),
        )
        for row in result["rows"]:
            print(f"  {row['comparison'].split(':')[0]}: {row['measured']}, expected {row['expected']}", flush=True)
        date = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(folder / f"{comparison.name}.json", {**result, **origin, "date": date})


if __name__ == "__main__":
    main()
