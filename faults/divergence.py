"""Learning rates at which training diverges: no weights that are not finite may be saved, and the run must say so."""

import random
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file

from faults.outcome import OTHER, REFUSED, SILENT, TRACEBACK, Outcome
from faults.training import subjects
from valuefree.cli.main import run as command
from valuefree.errors import DivergenceError

KIND = "divergence"
TRIES = 10


def tries(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Rates between 1e3 and 1e30."""
    draw = random.Random(seed)
    every = subjects(folder)
    for attempt in range(number):
        subject = every[attempt % len(every)]
        out = folder / f"diverged-{attempt}"
        rate = 10.0 ** draw.uniform(3, 30)
        fault = f"{subject.name}: learning rate from 1e3 to 1e30"
        try:
            command(subject.command(out, "--lr", f"{rate:.3g}", "--warmup-steps", "0"))
        except DivergenceError as error:
            ended, words = (REFUSED if "prompt" in str(error) else SILENT), f"{rate:.1e}: {str(error).split('.')[0]}"
        except Exception as error:  # whatever it is, a user would see its traceback
            ended, words = TRACEBACK, f"{rate:.1e}: {type(error).__name__}: {error}"
        else:
            ended, words = SILENT, f"{rate:.1e}: exit 0"
        files = out.rglob("*.safetensors")
        if any(not torch.isfinite(tensor).all() for file in files for tensor in load_file(file).values()):
            ended, words = OTHER, f"{words}; weights that are not finite were saved"
        yield Outcome(KIND, fault, ended, words)
