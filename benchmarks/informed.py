"""Seconds and added memory of the estimator `informed` on a million prompts, one process per feature width.

Run as ``python -m benchmarks.informed`` (a few minutes, 4 GB of memory), or with ``--quick`` on fewer prompts.
Writes results/informed.json beside this file. Features are random float32; there is one response per prompt; a tenth of
the variance of the rewards is linear in the features.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from valuefree.partition import partition_values
from valuefree.runs.manifest import git_commit, machine

RESULT = Path(__file__).parent / "results" / "informed.json"
SEED = 0
WIDTHS = (64, 256, 576)
SECONDS, GIBIBYTES = 600, 1.0  # limits for every width
CHUNK = 65536  # prompts generated at a time


def measure(prompts: int, width: int) -> dict[str, Any]:
    """Seconds of one call, memory before the call (with features and rewards in it), and peak memory."""
    generator = torch.Generator().manual_seed(SEED)
    features = torch.empty(prompts, width)
    for part in features.split(CHUNK):
        part.normal_(generator=generator)
    signal = features[:, :16].double().sum(1) / 4
    noise = torch.randn(prompts, generator=generator, dtype=torch.float64)
    rewards = 0.1**0.5 * signal + 0.9**0.5 * noise
    logps, prompt_of = torch.full((prompts,), -60.0, dtype=torch.float64), torch.arange(prompts)
    before, clock = _peak_gib(), time.perf_counter()
    values = partition_values(
        rewards, logps, prompt_of, tau=1.0, estimator="informed", on_policy=False, features=features
    )
    seconds = time.perf_counter() - clock
    error = (values - 0.1**0.5 * signal).square().mean() / 0.1
    return {
        "prompts": prompts,
        "width": width,
        "seconds": seconds,
        "features_gib": features.nbytes / 2**30,
        "before_gib": before,
        "peak_gib": _peak_gib(),
        "explained": 1 - error.item(),
        "threads": torch.get_num_threads(),
    }


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def run(prompts: int) -> dict[str, Any]:
    """Measure every width and compare with the limits."""
    measured = []
    for width in WIDTHS:
        command = [sys.executable, "-m", "benchmarks.informed", "--measure", str(prompts), str(width)]
        measured.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    rows = []
    for one in measured:
        what = f"V̂ of {one['prompts']:,} prompts by `informed`, width {one['width']}"
        added = one["peak_gib"] - one["before_gib"]
        rows.append(_row(what, f"≤ {SECONDS} s", f"{one['seconds']:.0f} s", one["seconds"] <= SECONDS))
        rows.append(_row(f"{what}: memory added", f"≤ {GIBIBYTES:g} GiB", f"{added:.2f} GiB", added <= GIBIBYTES))
    return {
        "name": "informed",
        "rows": rows,
        "details": {"seed": SEED, "runs": measured},
        "commit": git_commit(),
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _row(comparison: str, expected: str, measured: str, met: bool) -> dict[str, Any]:
    row = {"comparison": comparison, "expected": expected, "measured": measured}
    return row | {"bound": None, "share_of_bound": None, "met": met}


def main() -> None:
    """Measure, print, and write the results; with --quick, print only."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 prompts, printed instead of written")
    parser.add_argument("--out", type=Path, default=RESULT, help="where to write the results (default: %(default)s)")
    parser.add_argument("--measure", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    text = json.dumps(run(20_000 if options.quick else 1_000_000), indent=1, ensure_ascii=False) + "\n"
    print(text)
    if not options.quick:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
