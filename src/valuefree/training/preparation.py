"""Before training: from a data set to what the objective asks for, row by row."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from valuefree.batches.collate import Collator
from valuefree.batches.rendering import tokenize
from valuefree.batches.turns import stop_ids
from valuefree.data.columns import batches, column_hashes, factorize, to_numpy
from valuefree.data.rewards import RewardScaler
from valuefree.data.validation import prompt_key
from valuefree.errors import ConfigError, DataError
from valuefree.models.load import on_device, unwrap_model
from valuefree.models.prompt_features import prompt_features
from valuefree.objectives.base import Objective, TrainingRows
from valuefree.partition import PartitionSettings, fit_partition
from valuefree.training.arguments import PolicyTrainingArguments
from valuefree.training.mismatched_pairs import MismatchedPairs, draw_partners, paired, prompt_classes
from valuefree.training.reference_scores import ReferenceScores, default_cache_dir, score_reference
from valuefree.training.scored_dataset import ScoredDataset, response_numbers

logger = logging.getLogger(__name__)

STRANGE_MEAN = 3.0  # standard deviations of the rows' rewards

COLUMNS = ("prompt", "response", "reward", "prompt_id")


def check_columns(dataset: datasets.Dataset, names: tuple[str, ...] = COLUMNS) -> None:
    """Raise DataError unless the data set has these columns."""
    missing = [name for name in names if name not in dataset.column_names]
    if missing:
        raise DataError(f"the data set lacks {missing} (has {dataset.column_names}); make it with read_triplets.")


# -------------------------------------------------------------------------------- rows as an objective looks at them


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


def partition_settings(objective: Objective, rows: TrainingRows) -> PartitionSettings | None:
    """Settings of the partition that a resolved objective asks for.

    Raises:
        ConfigError: unknown settings; reference samples that nothing reads.
    """
    wanted = objective.partition()
    settings = PartitionSettings(**wanted) if wanted is not None else None
    if rows.reference_rewards is None:
        return settings
    name = type(objective).__name__
    if settings is None:
        raise ConfigError(f"reference_samples are read by a partition, and {name} has none. Leave them out.")
    settings.check_reference_samples()
    return settings


# ------------------------------------------------------------------------------------------------------- preparation


@dataclass(frozen=True)
class Preparation:
    """What makes a data set ready, the same for training and evaluation.

    objective: resolved. scorer: the reference.
    """

    objective: Objective
    settings: PartitionSettings | None
    args: PolicyTrainingArguments
    tokenizer: PreTrainedTokenizerBase
    collator: Collator
    scorer: nn.Module
    autocast: torch.dtype | None

    def __call__(self, dataset: datasets.Dataset, rows: TrainingRows) -> ScoredDataset:
        """Select, tokenise, score, estimate; `rows` are those of the data set."""
        kept = self.objective.select(rows)
        if kept is not None:
            logger.info("%s trains on %d of %d rows", type(self.objective).__name__, int(kept.sum()), len(kept))
            rows = rows_at(rows, kept)
            dataset = dataset.select(kept.nonzero().flatten().tolist())
        table, cut = tokenize(
            dataset, self.tokenizer, limits=self.args.limits(), encoder_decoder=self.collator.encoder_decoder
        )
        prompt_of = rows.prompt_of.numpy()
        if kept is not None:
            table = table.remove_columns("prompt_id").add_column("prompt_id", prompt_of)  # type: ignore[call-arg, arg-type]
        group_size = np.bincount(prompt_of)[prompt_of]
        prepared = ScoredDataset(
            table, cut, prompt_of, group_size, rows.rewards.numpy(), self.objective.precompute(rows)
        )
        if "reference_logps" in self.objective.requires:
            with on_device(self.scorer, self.args.device):
                prepared.reference = self.score(table)
        if self.settings is not None:
            self._partition(prepared, rows, self.settings)
        return prepared

    def score(self, table: datasets.Dataset) -> ReferenceScores:
        """Reference scores of a tokenised table."""
        return score_reference(
            self.scorer,
            table,
            self.collator,
            cache_dir=self.args.score_cache_dir or default_cache_dir(),
            autocast=self.autocast,
            batch_tokens=self.args.score_batch_tokens,
            progress=not self.args.disable_tqdm,
        )

    def mismatch(self, prepared: ScoredDataset, *, epochs: int, seed: int) -> None:
        """Draw and score mismatched pairs for each epoch; now, as the reference may be the policy itself."""
        drawn = MismatchedPairs(None if self.collator.encoder_decoder else self.args.max_length)
        class_of = prompt_classes(prepared.prompt_of, first_prompts(prepared.table, prepared.prompt_of))
        every = np.arange(len(prepared))
        with on_device(self.scorer, self.args.device):
            for epoch in range(epochs):
                partners = draw_partners(class_of, seed=seed, epoch=epoch)
                pairs = datasets.Dataset.from_dict(paired(prepared.table, every, partners, drawn.limit))
                drawn.partners.append(partners)
                drawn.reference_logps.append(self.score(pairs).logps)
        prepared.mismatched = drawn

    def _partition(self, prepared: ScoredDataset, rows: TrainingRows, settings: PartitionSettings) -> None:
        """V̂ for every row, and the report."""
        scores = prepared.reference
        if scores is None:
            raise ConfigError(f"{type(self.objective).__name__} asks for a partition without reference scores.")
        given = partition_inputs(prepared.table, rows, scores, settings)
        if settings.needs_features:
            with on_device(self.scorer, self.args.device):
                given["features"] = prompt_features(
                    self.scorer,
                    first_prompts(prepared.table, prepared.prompt_of),
                    pad_token_id=self.collator.pad_token_id,
                    batch_tokens=self.args.score_batch_tokens,
                    autocast=self.autocast,
                )
        partition = fit_partition(settings=settings, **given)
        prepared.report = partition.report
        prepared.rewards = partition.rewards_R.numpy()
        prepared.values = partition.values_P.numpy()[prepared.prompt_of]


def align_stop_ids(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Put the tokens with which training ends responses into the model's generation_config, which is saved with it."""
    config: Any = unwrap_model(model).generation_config
    config.eos_token_id = stop_ids(tokenizer, config)


def first_prompts(table: datasets.Dataset, prompt_of: np.ndarray) -> Sequence[list[int]]:
    """Tokens of prompt 0 … P−1, a column of a data set."""
    return table.select(np.unique(prompt_of, return_index=True)[1])["prompt_ids"]


def partition_inputs(
    table: datasets.Dataset, rows: TrainingRows, scores: ReferenceScores, settings: PartitionSettings
) -> dict[str, Any]:
    """Keywords of `fit_partition`, without settings and features."""
    return {
        "rewards": rows.rewards,
        "reference_logps": scores.logps / scores.tokens if settings.length_normalize else scores.logps,
        "prompt_of": rows.prompt_of,
        "response_of": response_numbers(table["response"]),
        "reference_rewards": rows.reference_rewards,
        "reference_prompt_of": rows.reference_prompt_of,
    }
