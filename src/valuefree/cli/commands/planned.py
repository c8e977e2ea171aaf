"""``valuefree train --dry-run``: the rows, the objective and the optimizer steps of a run, without the run."""

import math
from typing import Any

import datasets

from valuefree.cli.commands.from_options import objective_of, reference_samples_of
from valuefree.cli.commands.rendered import read
from valuefree.cli.commands.runs import check_tracker, split, warmup_steps
from valuefree.cli.options.objective import REWARD_MODEL
from valuefree.cli.options.train import TrainConfig
from valuefree.data.rewards import RewardScaler
from valuefree.errors import number_of
from valuefree.evaluation.reward_functions import load_reward
from valuefree.runs.manifest import launched
from valuefree.training.preparation import partition_settings
from valuefree.training.reward_model_trainer import RewardPairs
from valuefree.training.training_rows import training_rows


def planned(options: TrainConfig) -> list[str]:
    """What a run would do, in words, after the same reading, splitting and choice of rows.

    Raises:
        DataError, ConfigError: as the run itself would, of data, splits, the objective and the reward function.
    """
    check_tracker(options.report_to)
    rows, _ = read(options)
    train, validation, held_out = split(options, rows)
    samples = reference_samples_of(options)
    if options.reward_function:
        load_reward(options.reward_function)
    objective, trained = _objective(options, train, samples)
    parts = {"to train on": train, "to validate on": validation, "held out": held_out}
    said = [
        f"{len(part)} responses to {number_of(len(part.unique('prompt_id')), 'prompt')} {use}"
        for use, part in parts.items()
        if part is not None
    ]
    lines = [f"objective: {objective}", f"rows: {', '.join(said)}"]
    if samples is not None:
        lines.append(f"{len(samples)} reference samples of {len(samples.unique('prompt_id'))} prompts")
    return [*lines, _steps(options, trained)]


def _objective(options: TrainConfig, train: datasets.Dataset, samples: datasets.Dataset | None) -> tuple[str, int]:
    """The objective with what the data decide, and the number of responses (of a reward model: pairs) it trains on."""
    if options.objective == REWARD_MODEL:
        knobs: dict[str, Any] = options.knobs()
        return REWARD_MODEL, len(RewardPairs.of(train, knobs.get("pairs", "best_worst")))
    objective = objective_of(options)
    rows = training_rows(train, objective, RewardScaler.fit(train["reward"]), samples)
    resolved = objective.resolve(rows)
    partition_settings(resolved, rows)
    kept, before = resolved.select(rows), objective.to_dict()
    after = {name: value for name, value in resolved.to_dict().items() if value is not None}.items()
    decided = [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in after if v != before[k]]
    by_data = f"; by the data: {', '.join(decided)}" if decided else ""
    return f"{options.objective}{by_data}", len(train) if kept is None else int(kept.sum())


def _steps(options: TrainConfig, trained: int) -> str:
    """The number of optimizer steps; a least number where micro-batches may hold fewer rows than the batch size."""
    processes = launched()[1]
    size = options.batch_size * options.accumulation * processes
    steps = options.max_steps if options.max_steps > 0 else math.ceil(options.epochs * -(-trained // size))
    least = "at least " if options.max_steps <= 0 and (options.batch_tokens or processes > 1) else ""
    unit = "pairs" if options.objective == REWARD_MODEL else "responses"
    warmup = min(warmup_steps(options, steps), steps)
    return f"steps: {least}{steps} of {size} {unit} ({trained} in all), of which {warmup} are warm-up"
