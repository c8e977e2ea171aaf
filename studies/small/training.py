"""One cell: train by the method and measure at the checkpoints."""

import copy
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from studies.harness.training import MeasureAt, permuted_rows
from studies.small.cells import Cell
from studies.small.measure import measure
from studies.small.methods import METHODS
from studies.small.scale import Scale
from studies.small.world import held_out_prompts, prompts_of, reference, rows_of, trainer_of

SAMPLING_SEED = 10_000  # apart from the seeds that rows are drawn with


def _measured(
    policy: PreTrainedModel,
    base: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    scale: Scale,
    *,
    tuning: bool,
) -> dict[str, Any]:
    prompts = prompts_of(scale)["validation"] if tuning else held_out_prompts(scale, seed)
    samples = scale.validation_samples if tuning else scale.samples
    return asdict(measure(policy, base, tokenizer, prompts, samples=samples, seed=SAMPLING_SEED + seed))


@lru_cache(maxsize=64)
def _start(folder: Path, kind: str, seed: int, scale: Scale, *, tuning: bool) -> dict[str, Any]:
    """The first point of every curve of a seed: the reference itself."""
    base, tokenizer = reference(folder, kind)
    return {"step": 0, **_measured(base, base, tokenizer, seed, scale, tuning=tuning)}


def measure_cell(cell: Cell, folder: Path, scale: Scale) -> list[dict[str, Any]]:
    """The curve of a cell; the same cell gives the same numbers. A control is measured at its end only."""
    base, tokenizer = reference(folder, cell.kind)
    rows = rows_of(folder, cell.kind, cell.regime, cell.seed, scale)
    steps = scale.checkpoints
    if cell.control is not None:
        rows, steps = permuted_rows(rows, cell.control, seed=cell.seed), steps[-1:]
    tuning = cell.stage == "tune"
    policy = copy.deepcopy(base)
    curve = [_start(folder, cell.kind, cell.seed, scale, tuning=tuning)]

    def take(step: int) -> None:
        curve.append({"step": step, **_measured(policy, base, tokenizer, cell.seed, scale, tuning=tuning)})

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
        trainer.add_callback(MeasureAt(steps, take))
        trainer.train()
    return curve
