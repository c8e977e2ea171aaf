"""Seconds and peak memory from a Parquet file of ten million rows to the partition report, one process per size.

Run as ``python benchmarks/data_rows.py`` (a few minutes, 3 GB of disk below $TMPDIR); ``--quick`` takes fewer rows.
Writes results/data_rows.json beside this file.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from valuefree.data import RewardScaler, read_with_summary
from valuefree.data.columns import to_numpy
from valuefree.partition import PartitionSettings, fit_partition
from valuefree.runs.manifest import git_commit, machine
from valuefree.training.scored_dataset import response_numbers

RESULT = Path(__file__).parent / "results" / "data_rows.json"
SEED = 0
CHUNK = 250_000  # rows generated at a time
BYTES_PER_ROW = 600  # disk space: Parquet file, spilled rows, and a margin
SECONDS, GIBIBYTES, RATIO = 300, 4.0, 11.0
WORDS = [
    "the",
    "sea",
    "is",
    "wide",
    "and",
    "blue",
    "bread",
    "needs",
    "dough",
    "rests",
    "for",
    "an",
    "hour",
    "cats",
    "purr",
]


def texts(generator: np.random.Generator, numbers: np.ndarray, lowest: int, highest: int) -> pa.Array:
    """An ASCII text of `lowest` to `highest` characters for each number; distinct numbers give distinct texts."""
    long = np.frombuffer(" ".join(generator.choice(WORDS, 200_000)).encode(), dtype=np.uint8)
    lengths = generator.integers(lowest, highest + 1, len(numbers))
    ends = np.cumsum(lengths)
    starts = ends - lengths
    shifts = generator.integers(0, len(long) - highest, len(numbers)) - starts
    content = long[np.arange(ends[-1]) + np.repeat(shifts, lengths)]
    for place in range(10):  # each text begins with the digits of its number
        content[starts + place] = 48 + numbers // 10 ** (9 - place) % 10
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(numbers), [None, pa.py_buffer(offsets), pa.py_buffer(content)])


def write_rows(file: Path, rows: int) -> int:
    """Write a Parquet file of `rows` rows; returns its number of characters.

    Groups have 1 to 7 responses, 4 on average. Prompts take 40 to 120 characters, responses 20 to 180. One row in 50
    repeats the response of the row before.
    """
    generator = np.random.default_rng(SEED)
    characters = prompts = written = 0
    schema = pa.schema({"prompt": pa.string(), "response": pa.string(), "reward": pa.float64()})
    with pq.ParquetWriter(file, schema) as writer:
        while written < rows:
            count = min(CHUNK, rows - written)
            sizes = generator.integers(1, 8, count)
            sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), count)) + 1]
            distinct = texts(generator, prompts + np.arange(len(sizes)), 40, 120)
            group = np.repeat(np.arange(len(sizes)), sizes)[:count]
            source = np.arange(count)
            again = np.flatnonzero(generator.random(count) < 0.02)
            again = again[(again > 0) & (group[again] == group[again - 1])]
            source[again] -= 1
            response = texts(generator, written + np.arange(count), 20, 180).take(pa.array(source))
            reward = generator.normal(size=count) + generator.normal(size=len(sizes))[group]
            prompt = distinct.take(pa.array(group))
            characters += sum(int(pl.Series(part).str.len_chars().sum()) for part in (prompt, response))
            writer.write_table(pa.table([prompt, response, pa.array(reward)], schema=schema), row_group_size=CHUNK)
            written += count
            prompts += len(sizes)
    return characters


def measure(file: Path) -> dict:
    """Seconds per stage and peak memory of this process, from the file to the report."""
    seconds: dict[str, float] = {}
    peaks: dict[str, float] = {}

    def stage(name: str, since: float) -> float:
        seconds[name] = time.perf_counter() - since
        peaks[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return time.perf_counter()

    clock = stage("import", time.perf_counter())
    rows, summary = read_with_summary(file)
    clock = stage("read, validate, group", clock)
    response_of = response_numbers(rows["response"])
    clock = stage("number the responses", clock)
    rewards = RewardScaler.fit(rows["reward"]).transform(rows["reward"])
    prompt_of = to_numpy(rows["prompt_id"], np.int64)
    clock = stage("standardise rewards", clock)
    logps = np.random.default_rng(SEED).normal(-60, 15, len(rows))
    clock = stage("make reference scores", clock)
    settings = PartitionSettings(tau=1.0, estimator="coverage")
    partition = fit_partition(rewards, logps, prompt_of, settings, response_of=response_of)
    clock = stage("partition", clock)
    report = partition.report
    stage("report", clock)
    del seconds["import"]
    return {
        "rows": len(rows),
        "summary": summary.to_dict(),
        "report": {name: value for name, value in report.to_dict().items() if name != "warnings"},
        "seconds": seconds,
        "seconds_in_all": sum(seconds.values()),
        "peak_gib_after": peaks,
        "peak_gib": peaks["report"],
    }


def run(sizes: tuple[int, int]) -> dict:
    """Write the files, measure each in a separate process, and compare with the limits."""
    measured = []
    with tempfile.TemporaryDirectory(prefix="data_rows-") as name:
        folder = Path(name)
        free, needed = shutil.disk_usage(folder).free, sizes[1] * BYTES_PER_ROW
        if free < needed:
            raise SystemExit(f"{folder} has {free / 2**30:.1f} GiB free; {needed / 2**30:.1f} GiB are needed.")
        for rows in sizes:
            file = folder / f"{rows}.parquet"
            # On Linux a child inherits the peak memory of its parent, so a separate child writes the rows.
            characters = _in_child("--make", file, "--rows", rows)
            measured.append(_in_child("--measure", file) | {"mean_characters": characters / rows})
            file.unlink()
            print(f"{rows} rows: {measured[-1]['seconds_in_all']:.1f} s, {measured[-1]['peak_gib']:.2f} GiB")
    small, large = measured
    ratio = large["seconds_in_all"] / small["seconds_in_all"]
    seconds, peak, count = large["seconds_in_all"], large["peak_gib"], f"{sizes[1]:,}"
    return {
        "name": "data_rows",
        "rows": [
            _row(f"{count} rows, Parquet to report", f"≤ {SECONDS} s", f"{seconds:.0f} s", seconds <= SECONDS),
            _row(f"{count} rows, peak memory", f"≤ {GIBIBYTES:g} GiB", f"{peak:.2f} GiB", peak <= GIBIBYTES),
            _row(f"time, {count} ÷ {sizes[0]:,} rows", f"≤ {RATIO:g}", f"{ratio:.2f}", ratio <= RATIO),
        ],
        "details": {"seed": SEED, "ratio": ratio, "runs": measured},
        "commit": git_commit(),
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _in_child(*arguments: object) -> Any:
    command = [sys.executable, __file__, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _row(comparison: str, expected: str, measured: str, met: bool) -> dict:
    row = {"comparison": comparison, "expected": expected, "measured": measured}
    return row | {"bound": None, "share_of_bound": None, "met": met}


def main() -> None:
    """Measure, print, and write the results; with --quick, print only."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 and 200,000 rows, printed instead of written")
    parser.add_argument("--out", type=Path, help=f"where to write the results (default {RESULT})")
    for name, kind in (("--measure", Path), ("--make", Path), ("--rows", int)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        print(write_rows(options.make, options.rows))
        return
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    result = run((20_000, 200_000) if options.quick else (1_000_000, 10_000_000))
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    if options.quick and not options.out:
        print(text)
        return
    file = options.out or RESULT
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
