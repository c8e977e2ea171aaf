"""Make faults on purpose, store how each ended, and write the page: ``python -m faults --only kills --seed 1``."""

import argparse
import importlib
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faults.outcome import Outcome
from faults.page import page_of
from faults.storage import FOLDER, Origin, read_stored, store
from valuefree.runs.files import write_text
from valuefree.runs.manifest import git_commit, machine

# Modules of this package, each with KIND, TRIES (default number of tries) and
# tries(folder, number, seed) -> Iterator[Outcome]. Longest first: two kinds run at a time.
KINDS = ("kills", "inputs", "verbs", "disks", "checkpoints", "divergence", "folders")
AT_A_TIME = 2
BAD = 3  # exit code; 1 is that of an exception of the harness itself


def run_kind(kind: str, number: int | None, seed: int) -> list[Outcome]:
    """Make the faults of one kind in this process, and store the outcomes."""
    module = importlib.import_module(f"faults.{kind}")
    start, outcomes = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        for outcome in module.tries(Path(folder), module.TRIES if number is None else number, seed):
            outcomes.append(outcome)
            said = (outcome.kind, outcome.fault, outcome.ended, outcome.words)
            print(" | ".join(said), file=sys.stderr, flush=True)
    command = f"python -m faults --only {kind} --seed {seed}" + (f" --tries {number}" if number is not None else "")
    minutes = (time.perf_counter() - start) / 60
    store(FOLDER, Origin(kind, command, seed, minutes, git_commit(), machine()), outcomes)
    return outcomes


def run_all(number: int | None, seed: int) -> None:
    """Each kind in a process of its own, `AT_A_TIME` at once."""
    more = [f"--seed={seed}", *([f"--tries={number}"] if number is not None else [])]
    commands = [[sys.executable, "-m", "faults", "--only", kind, *more] for kind in KINDS]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for kind, code in zip(KINDS, pool.map(subprocess.call, commands), strict=True):
            if code not in (0, BAD):
                raise RuntimeError(f"the harness itself failed at {kind}, exit code {code}")


def main() -> None:
    """Parse, try, store, write. Exit code `BAD` if a try was bad."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=KINDS, help="kind of faults (default: all)")
    parser.add_argument("--tries", type=int, help="tries of each kind (default: of the kind)")
    parser.add_argument("--seed", type=int, default=0, help="seed of moments and damages (default 0)")
    parser.add_argument("--page", type=Path, help="Markdown file to write from all stored outcomes")
    options = parser.parse_args()
    if options.only:
        bad = not all(outcome.good for outcome in run_kind(options.only, options.tries, options.seed))
    else:
        run_all(options.tries, options.seed)
        bad = not all(outcome.good for kind in read_stored(FOLDER, KINDS) for outcome in kind.outcomes)
    if options.page:
        write_text(options.page, page_of(read_stored(FOLDER, KINDS)))
    sys.exit(BAD if bad else 0)


if __name__ == "__main__":
    main()
