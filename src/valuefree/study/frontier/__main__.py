"""Run what is missing, then write the page: python -m valuefree.study.frontier --help."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from valuefree.runs.manifest import manifest
from valuefree.study.frontier.cells import Cell, objective_of, read_rows, reference_file, run_cell, run_reference
from valuefree.study.frontier.page import Runs, write_page
from valuefree.study.pool import WorkerDied, Workers

LABELS = ("RPO()", "RPO(target_std=24)", "KTO()", "KTO(beta=0.3)", "DPO()", "DPO(beta=0.3)")


def say(line: str) -> None:
    """One line of progress."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Cells that are on disk are not run again."""
    parser = argparse.ArgumentParser(
        prog="python -m valuefree.study.frontier", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("--objectives", nargs="+", default=LABELS, help="as written in Python (default: %(default)s)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument(
        "--shuffled", nargs="*", default=["RPO()"], help="objectives also trained on shuffled rewards (default: RPO())"
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/study-frontier"), help="folder of the rows")
    parser.add_argument("--page", type=Path, help="page to write (default: frontier.md in the folder)")
    parser.add_argument("--readme", type=Path, help="file with markers to write the table of ends between")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    options = parser.parse_args(arguments)
    for label in (*options.objectives, *options.shuffled):
        objective_of(label)
    record = manifest("study frontier", {name: str(value) for name, value in vars(options).items()})
    cells = [Cell(label, seed) for seed in options.seeds for label in options.objectives]
    cells += [Cell(label, seed, shuffled=True) for seed in options.seeds for label in options.shuffled]
    todo = [(run_reference, (s, options.out)) for s in options.seeds if not reference_file(options.out, s).exists()]
    todo += [(run_cell, (cell, options.out)) for cell in cells if not cell.file(options.out).exists()]
    say(f"{len(todo)} of {len(cells) + len(options.seeds)} runs to do")
    with Workers(options.workers) as processes:
        for done, (number, result) in enumerate(processes.run(todo), start=1):
            if isinstance(result, WorkerDied):
                raise SystemExit(f"{todo[number][1]}: {result}")
            say(f"{done} of {len(todo)} done")
    names = {cell.file(options.out).name for cell in cells}
    rows = [
        row
        for row in read_rows(options.out)
        if Cell(row["label"], row["seed"], row["shuffled"]).file(options.out).name in names
    ]
    references = {s: json.loads(reference_file(options.out, s).read_text(encoding="utf-8")) for s in options.seeds}
    page = options.page or options.out / "frontier.md"
    write_page(page, Runs(rows, references), options.objectives[0], record, options.readme)
    say(f"page: {page}")


if __name__ == "__main__":
    main()
