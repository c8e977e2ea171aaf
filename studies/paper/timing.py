"""Figure 1: seconds of training by method and size, on the same rows in the same batches, in a single process."""

import tempfile
from functools import partial
from typing import Any

import torch

from studies.paper.cells import TimingCell
from studies.paper.scales import MAIN_TAU, Scale
from studies.paper.training import timed, trainer_of, training_arguments
from studies.paper.world import Setup, load_reference, train_rows
from valuefree.demo.tiny import tiny_t5

WIDTHS = {"width 64": 64, "width 128": 128, "width 256": 256}  # in place of the paper's Small, Large and XL
TIMED = ("SFT-all", "KTO", "DRO", "DRO-V", "RPO", "RPO() auto")
STEPS, REPEATS = 20, 3


def timed_runs(cell: TimingCell, setup: Setup, scale: Scale) -> list[dict[str, Any]]:
    """Every method at every size, `REPEATS` times, in an order that rotates with the repetition.

    Returns:
        Rows of size, parameters (of the policy), method, repeat, prepare_seconds, train_seconds and
        cpu_seconds of `STEPS` steps.
    """
    rows = []
    for repeat in range(REPEATS + 1):
        shift = repeat % len(TIMED)
        for size, width in WIDTHS.items():
            methods = (*TIMED[shift:], *TIMED[:shift])
            rows += [_timed(setup, scale, size, width, method, repeat) for method in methods]
    return [row for row in rows if row["repeat"]]


def _timed(setup: Setup, scale: Scale, size: str, width: int, method: str, repeat: int) -> dict[str, Any]:
    _, tokenizer = load_reference(setup, scale)
    model = tiny_t5(tokenizer, width=width)
    parameters = sum(p.numel() for p in model.parameters())  # of the policy, before a value network is added
    rows = train_rows(setup, scale, 0, shuffled=False)
    arguments = training_arguments(setup, scale, seed=repeat, rows=len(rows), max_steps=STEPS)
    torch.manual_seed(repeat)
    with tempfile.TemporaryDirectory() as scores:  # scoring the reference is part of what is timed
        arguments.score_cache_dir = scores
        make = partial(trainer_of, method, MAIN_TAU, model, arguments, rows, processing_class=tokenizer)
        trainer, seconds = timed(make)
    named = {"size": size, "parameters": parameters, "method": method, "repeat": repeat}
    return {**named, **seconds, "steps": trainer.state.global_step, "rows": len(rows)}
