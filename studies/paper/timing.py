"""Figure 1: seconds of training by method and size, on the same rows in the same batches, one process alone."""

import tempfile
import time
from typing import Any

import torch
from transformers import PrinterCallback

from studies.paper.methods import METHODS
from studies.paper.scales import MAIN_TAU, Scale
from studies.paper.training import training_arguments
from studies.paper.world import Setup, load_reference, train_rows
from valuefree.demo.tiny import tiny_t5
from valuefree.training.trainer import PolicyTrainer

WIDTHS = {"width 64": 64, "width 128": 128, "width 256": 256}  # where the paper has Small, Large and XL
TIMED = ("SFT-all", "KTO", "DRO", "DRO-V", "RPO", "RPO() auto")
STEPS = 20


def timed_runs(setup: Setup, scale: Scale, repeat: int) -> list[dict[str, Any]]:
    """One repetition: every method at every size once, in an order that rotates with the repetition.

    Returns:
        Rows of size, parameters (of the policy), method, repeat, prepare_seconds, train_seconds and
        cpu_seconds of `STEPS` steps.
    """
    rows = []
    for size, width in WIDTHS.items():
        shift = repeat % len(TIMED)
        rows += [_timed(setup, scale, size, width, method, repeat) for method in (*TIMED[shift:], *TIMED[:shift])]
    return rows


def _timed(setup: Setup, scale: Scale, size: str, width: int, method: str, repeat: int) -> dict[str, Any]:
    _, tokenizer = load_reference(setup, scale)
    model = tiny_t5(tokenizer, width=width)
    parameters = sum(p.numel() for p in model.parameters())  # of the policy, before a value network hangs on it
    rows = train_rows(setup, scale, 0, shuffled=False)
    make = METHODS[method].make
    if make is None:
        raise ValueError(f"{method} is not trained")
    arguments = training_arguments(setup, scale, seed=repeat, rows=len(rows), max_steps=STEPS)
    torch.manual_seed(repeat)
    with tempfile.TemporaryDirectory() as scores:  # scoring the reference is part of what is timed
        arguments.score_cache_dir = scores
        start = time.perf_counter()
        trainer = PolicyTrainer(model, make(MAIN_TAU), arguments, rows, processing_class=tokenizer)
        trainer.remove_callback(PrinterCallback)
        prepared, cpu = time.perf_counter(), time.process_time()
        trainer.train()
    return {
        "size": size,
        "parameters": parameters,
        "method": method,
        "repeat": repeat,
        "prepare_seconds": prepared - start,
        "train_seconds": time.perf_counter() - prepared,
        "cpu_seconds": time.process_time() - cpu,
        "steps": trainer.state.global_step,
        "rows": len(rows),
    }
