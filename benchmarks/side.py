"""Run one side of one comparison in this process and write its measurements.

python -m benchmarks.side NAME --side ours|theirs --rows N [--size full|smoke|toy] --out FILE
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")

import datasets

from benchmarks.bench import Bench
from benchmarks.comparisons import Setting
from benchmarks.sides import sides


def run_side(setting: Setting, profiler: Any = None) -> dict[str, Any]:
    """Run one side; returns its measurements, see `Meter.measured`."""
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(setting, Path(folder), profiler)
        return sides()[setting.name, setting.side](bench)


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--side", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--size", default="full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    measured = run_side(Setting(options.name, options.side, options.rows, options.size, options.seed))
    options.out.write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
