"""One cell: train by the method, measure at the checkpoints, keep the row."""

import copy
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from valuefree.demo.data import shuffle_rewards
from valuefree.study.small.cells import Cell, Row
from valuefree.study.small.measure import measure
from valuefree.study.small.methods import METHODS
from valuefree.study.small.scale import Scale
from valuefree.study.small.world import prompts_of, reference, rows_of, trainer_of

SAMPLING_SEED = 10_000  # apart from the seeds that rows are drawn with


class MeasureAt(TrainerCallback):
    """Calls `take` after the steps of `steps`."""

    def __init__(self, steps: tuple[int, ...], take: Any):
        self.steps, self.take = steps, take

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure, if it is time."""
        if state.global_step in self.steps:
            self.take(state.global_step)


def train_and_measure(cell: Cell, folder: Path, scale: Scale) -> list[dict[str, Any]]:
    """The curve of a cell; the same cell gives the same numbers."""
    base, tokenizer = reference(folder, cell.kind)
    rows = rows_of(folder, cell.kind, cell.regime, cell.seed, scale)
    if cell.stage == "control":
        rows = shuffle_rewards(rows, seed=cell.seed)
    tuning = cell.stage == "tune"
    prompts = prompts_of(scale)["validation" if tuning else "test"]
    samples = scale.validation_samples if tuning else scale.samples
    policy = copy.deepcopy(base)
    curve: list[dict[str, Any]] = []

    def take(step: int) -> None:
        found = measure(policy, base, tokenizer, prompts, samples=samples, seed=SAMPLING_SEED + cell.seed)
        curve.append({"step": step, **found.to_dict()})

    take(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)  # of a value network's weights
        trainer = trainer_of(
            policy,
            tokenizer,
            METHODS[cell.method].objective(cell.strength),
            rows,
            str(folder),
            max_steps=scale.checkpoints[-1],
            learning_rate=cell.lr,
            warmup_steps=scale.warmup_steps,
            per_device_train_batch_size=scale.batch,
            seed=cell.seed,
        )
        trainer.add_callback(MeasureAt(scale.checkpoints, take))
        trainer.train()
    return curve


def run_cell(cell: Cell, folder: Path, scale: Scale, commit: str | None) -> Row:
    """Run a cell and write its row; a cell that raises is a row with its error."""
    start, cpu_start = time.perf_counter(), time.process_time()
    curve, error = None, None
    try:
        curve = train_and_measure(cell, folder, scale)
    except Exception as fault:  # it is kept, counted and listed
        error = "".join(traceback.format_exception_only(fault)).strip()
    row = Row(cell, curve, error, time.perf_counter() - start, time.process_time() - cpu_start, commit)
    row.write(folder)
    return row
