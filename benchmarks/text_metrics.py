"""Seconds of `valuefree evaluate --metrics lexical` on 1,000 predictions of 200 words, including start and output.

Run as ``python -m benchmarks.text_metrics``, with ``--quick`` for 100 predictions, printed instead of written. Needs
nltk's data (`make nltk-data`). Writes results/text_metrics.json beside this file.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from valuefree.demo.data import feedback
from valuefree.runs.manifest import git_commit, machine

RESULT = Path(__file__).parent / "results" / "text_metrics.json"
PREDICTIONS, WORDS, SECONDS = 1000, 200, 20
REPEATS = 3


def write_pairs(file: Path, count: int) -> None:
    """Write predictions and references from the demo's answers; half of each prediction equals its reference."""
    words = " ".join(feedback()["response"]).split()
    draw = random.Random(0)

    def stretch(length: int) -> list[str]:
        start = draw.randrange(len(words) - length)
        return words[start : start + length]

    with file.open("w", encoding="utf-8") as stream:
        for _ in range(count):
            reference = stretch(WORDS)
            prediction = reference[: WORDS // 2] + stretch(WORDS // 2)
            row = {"prediction": " ".join(prediction), "reference": " ".join(reference)}
            stream.write(json.dumps(row) + "\n")


def measure(count: int) -> dict:
    """Wall-clock seconds of the whole command and CPU seconds of all its processes, for each repeat."""
    runs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder / "pairs.jsonl", count)
        command = [sys.executable, "-m", "valuefree", "evaluate", "--predictions", str(folder / "pairs.jsonl")]
        command += ["--metrics", "lexical", "--out", str(folder / "out")]
        for _ in range(REPEATS):
            before, start = os.times(), time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = os.times()
            used = after.children_user + after.children_system - before.children_user - before.children_system
            runs.append({"seconds": time.perf_counter() - start, "processor_seconds": used})
    seconds = sorted(run["seconds"] for run in runs)
    middle = seconds[REPEATS // 2]
    row = {"comparison": f"{count:,} predictions of {WORDS} words, all but the neural metrics"}
    row |= {"expected": f"≤ {SECONDS} s", "measured": f"{middle:.1f} s ({seconds[0]:.1f}–{seconds[-1]:.1f})"}
    return {
        "name": "text_metrics",
        "rows": [{**row, "bound": None, "share_of_bound": None, "met": middle <= SECONDS}],
        "details": {"runs": runs, "cores": os.cpu_count()},
        "commit": git_commit(),
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    """Measure, print, and write the result; with --quick, print only."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 predictions, printed only")
    quick = parser.parse_args().quick
    result = measure(100 if quick else PREDICTIONS)
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    print(text)
    if not quick:
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
