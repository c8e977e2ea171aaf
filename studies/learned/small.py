"""The small world: tiny language models whose reward is a program, measured at checkpoints and at strengths."""

import copy
import random
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch

from studies.harness.training import MeasureAt, objective_of, permuted_rows
from studies.learned.cells import Cell, Measured, Truth
from studies.learned.points import SCALES
from studies.small.grammar import reward
from studies.small.scale import NEW_TOKENS, QUICK, Scale
from studies.small.world import SAMPLING_BATCH, as_rows, prompts_of, reference, rows_of, sample, trainer_of
from valuefree.evaluation.generation import Decoding
from valuefree.evaluation.held_out.logged_responses import LoggedResponses, sample_prompts
from valuefree.models.strength import strength_of

REPORT_SEED = 30_000  # apart from the seeds of the training rows and of the truth


@dataclass(frozen=True)
class SmallScale:
    """Sizes. world: of the small study. report_prompts × responses: held-out rows. samples: of the truth per prompt."""

    world: Scale = field(default_factory=Scale)
    report_prompts: int = 128
    samples: int = 4
    training_prompts: int = 30
    steps: tuple[int, ...] = (8, 24, 64)
    lrs: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    strengths: tuple[float, ...] = SCALES


QUICK_SCALE = SmallScale(QUICK, report_prompts=64, steps=(8, 20), lrs=(3e-4, 1e-3), strengths=(0.5, 1.0, 2.0))


def report_prompts(scale: SmallScale, seed: int) -> list[str]:
    """The held-out prompts of a seed, drawn from the test prompts of the small study."""
    return random.Random(REPORT_SEED + seed).sample(prompts_of(scale.world)["test"], scale.report_prompts)


@lru_cache(maxsize=4)
def _held_out(
    folder: Path, kind: str, seed: int, scale: SmallScale
) -> tuple[datasets.Dataset, datasets.Dataset, Truth, np.ndarray]:
    """What the runs of a seed share: training rows, report rows, the truth, and the reference's mean rewards (P,)."""
    base, tokenizer = reference(folder, kind)
    prompts = report_prompts(scale, seed)
    texts = sample(base, tokenizer, prompts, scale.world.responses, seed=REPORT_SEED + seed)[2]
    report = as_rows([prompt for prompt in prompts for _ in range(scale.world.responses)], texts)
    decoding = Decoding(max_new_tokens=NEW_TOKENS, batch_size=SAMPLING_BATCH)
    truth = Truth(tokenizer, prompts, reward, decoding, scale.samples, scored=1)
    return rows_of(folder, kind, "on", seed, scale.world), report, truth, truth.of_reference(base, base, seed)


def measure_cell(cell: Cell, folder: Path, scale: SmallScale) -> list[dict[str, Any]]:
    """Train, and measure at each step of `scale.steps`, at the last one at each strength."""
    kind = cell.world.split("-")[1]
    base, tokenizer = reference(folder, kind)
    train, held_out, truth, base_P = _held_out(folder, kind, cell.seed, scale)
    if cell.shuffled:
        train = permuted_rows(train, "within", seed=cell.seed)
    policy, curve = copy.deepcopy(base), []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)
        trainer = trainer_of(
            policy,
            tokenizer,
            objective_of(cell.label),
            train,
            str(folder),
            max_steps=scale.steps[-1],
            learning_rate=cell.lr,
            warmup_steps=scale.world.warmup_steps,
            per_device_train_batch_size=scale.world.batch,
            seed=cell.seed,
        )
        few = sample_prompts(train, scale.training_prompts, seed=cell.seed)
        report, training = (LoggedResponses.prepare(rows, trainer.scorer) for rows in (held_out, few))

        def known() -> dict[str, Any]:
            found = truth.measure(policy, base, trainer.scorer.collator, base_P, cell.seed)
            return {name: np.round(values, 5).tolist() for name, values in found.items()}

        measured = Measured(policy, report, training, known)
        trainer.add_callback(MeasureAt(scale.steps[:-1], lambda step: curve.append({"step": step, **measured.point()})))
        trainer.train()
    ends = measured.at_strengths(strength_of(policy, base).at, scale.strengths)
    curve += [{"step": scale.steps[-1], **point} for point in ends]
    curve[0] |= {"objective": trainer.objective.to_dict(), "tau": trainer.temperature}
    return curve
