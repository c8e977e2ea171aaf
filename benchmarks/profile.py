"""Profile one side: the operators that take the most time in one training run on few rows.

python -m benchmarks.profile NAME [--side ours] [--rows 16] [--smoke] [--out FOLDER]
"""

import argparse
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from benchmarks.comparisons import SMOKE_ROWS, Setting
from benchmarks.run import RESULTS
from benchmarks.side import run_side

TOP = 15


def profiled(setting: Setting) -> str:
    """Table of the operators in the measured part, sorted by their own CPU time."""
    profiler = profile(activities=[ProfilerActivity.CPU])
    measured = run_side(setting, profiler)
    table = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=TOP, max_name_column_width=45)
    seconds, rate = measured["seconds"], measured["flops"] / measured["seconds"] / 1e9
    done = f"{measured['responses']} responses, {seconds:.1f} s, {rate:.0f} GFLOP/s"
    return f"{setting.name}, {setting.side}: {done}\n{table}\n"


def main() -> None:
    """Parse, run, write profile_<name>.txt."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--side", default="ours")
    parser.add_argument("--rows", type=int, default=SMOKE_ROWS)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    text = profiled(Setting(options.name, options.side, options.rows, "smoke" if options.smoke else "full"))
    suffix = "" if options.side == "ours" else f"_{options.side}"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"profile_{options.name}{suffix}.txt").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
