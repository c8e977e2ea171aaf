"""Make faults on purpose, and write how each ended: ``python -m faults --only checkpoints --tries 30 --seed 0``."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

from faults import checkpoints, divergence, folders, inputs, kills
from faults.outcome import Outcome, table_of
from valuefree.report.markdown import escape, markdown_table
from valuefree.runs.files import write_text
from valuefree.runs.manifest import git_commit, machine

KINDS = {module.KIND: module.tries for module in (kills, checkpoints, divergence, folders, inputs)}


def page_of(outcomes: list[Outcome], origin: str) -> str:
    """The Markdown page: table, bad tries, origin."""
    bad = [
        f"- {escape(f'{item.kind}: {item.fault}: {item.ended}: {item.words}')}" for item in outcomes if not item.good
    ]
    parts = ["# Faults", markdown_table(table_of(outcomes)), *(["\n".join(bad)] if bad else []), escape(origin)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Parse, try, write. Exit code 1 if a try was bad."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=list(KINDS), action="append", help="kinds of faults (default: all)")
    parser.add_argument("--tries", type=int, default=10, help="tries of each kind (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="seed of moments and damages (default 0)")
    parser.add_argument("--page", type=Path, help="Markdown file to write (default: print it)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, outcomes = time.perf_counter(), []
    for kind in options.only or KINDS:
        with tempfile.TemporaryDirectory() as folder:
            for outcome in KINDS[kind](Path(folder), options.tries, options.seed):
                outcomes.append(outcome)
                print(
                    f"{outcome.kind} | {outcome.fault} | {outcome.ended} | {outcome.words}", file=sys.stderr, flush=True
                )
    command = f"python -m faults {' '.join(sys.argv[1:])}"
    minutes = (time.perf_counter() - start) / 60
    page = page_of(outcomes, f"Written by {command} in {minutes:.1f} min on {machine()}, commit {git_commit()}.")
    if options.page:
        write_text(options.page, page)
    else:
        print(page)
    sys.exit(int(not all(outcome.good for outcome in outcomes)))


if __name__ == "__main__":
    main()
