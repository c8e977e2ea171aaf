"""The rows of a data set as an objective may look at them before training."""

import logging
from dataclasses import replace

import datasets
import numpy as np
import torch
from torch import Tensor

from valuefree.data.columns import batches, column_hashes, factorize, to_numpy
from valuefree.data.rewards import RewardScaler
from valuefree.data.validation import prompt_key
from valuefree.errors import DataError
from valuefree.objectives.base import Objective, TrainingRows
from valuefree.training.scored_dataset import response_numbers

logger = logging.getLogger(__name__)

STRANGE_MEAN = 3.0  # standard deviations of the rows' rewards

COLUMNS = ("prompt", "response", "reward", "prompt_id")


def check_columns(dataset: datasets.Dataset, names: tuple[str, ...] = COLUMNS) -> None:
    """Raise DataError unless the data set has these columns."""
    missing = [name for name in names if name not in dataset.column_names]
    if missing:
        raise DataError(f"the data set lacks {missing} (has {dataset.column_names}); make it with read_triplets.")


def training_rows(
    dataset: datasets.Dataset,
    objective: Objective,
    scaler: RewardScaler,
    reference_samples: datasets.Dataset | None = None,
) -> TrainingRows:
    """The data set as `objective` may look at it before training.

    reference_samples: prompt, response and reward of samples drawn from the reference; those of other prompts are left
    out.

    Raises:
        DataError: columns missing, or values missing in one of the objective's own.
    """
    check_columns(dataset)
    prompt_of = to_numpy(dataset["prompt_id"], np.int64)
    rows = TrainingRows(
        rewards=torch.from_numpy(scaler.transform(dataset["reward"])),
        raw_rewards=torch.from_numpy(to_numpy(dataset["reward"], np.float64).copy()),
        prompt_of=torch.from_numpy(prompt_of.copy()),
        columns={name: _own_column(dataset, name) for name in objective.columns if name in dataset.column_names},
    )
    if reference_samples is None:
        return rows
    check_columns(reference_samples, ("prompt", "response", "reward"))
    found, owners = _matched(dataset, prompt_of, reference_samples)
    rewards = torch.from_numpy(scaler.transform(reference_samples["reward"]))
    if len(found) and abs(float(rewards[found].mean())) > STRANGE_MEAN:
        logger.warning(
            "the reference samples' rewards lie %.1f standard deviations from those of the rows on average: V̂ is "
            "right only if both were given by the same reward function, in the same unit",
            float(rewards[found].mean()),
        )
    return replace(rows, reference_rewards=rewards[found], reference_prompt_of=torch.from_numpy(owners))


def _own_column(dataset: datasets.Dataset, name: str) -> Tensor:
    """Truth values and numbers as they are; texts as a number for each distinct one."""
    if name == "response":  # never missing, and read batch by batch
        return torch.from_numpy(response_numbers(dataset[name]))
    values = dataset[name][:]
    lost = [row for row, value in enumerate(values) if value is None]
    if lost:
        raise DataError(
            f"column {name!r} has no value in {len(lost)} of {len(values)} rows (first: {lost[:10]}). The objective "
            "reads it where it is there: fill it, drop these rows, or remove the column."
        )
    if values and isinstance(values[0], str):
        return torch.from_numpy(factorize(*column_hashes(values)))
    return torch.tensor(values)


def _matched(
    dataset: datasets.Dataset, prompt_of: np.ndarray, samples: datasets.Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """Samples whose prompt is in the data set, and its number."""
    number_of: dict[str, int] = {}  # of every row's prompt: rows of one prompt may differ in case
    start = 0
    for table in batches(dataset, ["prompt"]):
        keys = map(prompt_key, table.column(0).to_pylist())
        number_of |= dict(zip(keys, prompt_of[start : start + len(table)].tolist(), strict=True))
        start += len(table)
    owners = [number_of.get(prompt_key(prompt), -1) for prompt in samples["prompt"]]
    owners_S = np.array(owners, dtype=np.int64)
    found = np.flatnonzero(owners_S >= 0)
    if len(found) < len(owners):
        logger.info(
            "%d of %d reference samples belong to other prompts; left out", len(owners) - len(found), len(owners)
        )
    return found, owners_S[found]


def rows_at(rows: TrainingRows, kept: Tensor) -> TrainingRows:
    """The rows where `kept`, bool (R,), is true, prompts numbered 0 … P−1 again, without samples of other prompts."""
    numbers, prompt_of = torch.unique(rows.prompt_of[kept], return_inverse=True)
    again = torch.full((int(rows.prompt_of.max()) + 1,), -1, dtype=torch.int64)
    again[numbers] = torch.arange(len(numbers))
    samples: dict[str, Tensor] = {}
    if rows.reference_rewards is not None and rows.reference_prompt_of is not None:
        owners = again[rows.reference_prompt_of]
        samples = {"reference_rewards": rows.reference_rewards[owners >= 0], "reference_prompt_of": owners[owners >= 0]}
    return replace(
        rows,
        rewards=rows.rewards[kept],
        raw_rewards=rows.raw_rewards[kept],
        prompt_of=prompt_of,
        columns={name: column[kept] for name, column in rows.columns.items()},
        **samples,
    )
