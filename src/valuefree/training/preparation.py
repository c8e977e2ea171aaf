"""From a data set to a `ScoredDataset`: select rows, tokenise, score the reference, estimate the partition."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import datasets
import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from valuefree.batches.collate import Collator
from valuefree.batches.rendering import Limits, Truncation, tokenize
from valuefree.batches.turns import stop_ids
from valuefree.data.columns import with_column
from valuefree.errors import ConfigError
from valuefree.models.authorship import Authorship, authorship
from valuefree.models.modules import on_device, unwrap_model
from valuefree.models.prompt_features import prompt_features
from valuefree.models.sampler import PLAIN, Sampler
from valuefree.objectives.base import Objective, TrainingRows
from valuefree.partition import PartitionSettings, fit_partition
from valuefree.training.mismatched_pairs import MismatchedPairs
from valuefree.training.reference_scores import ReferenceScores, default_cache_dir, score_reference
from valuefree.training.scored_dataset import ScoredDataset, response_numbers
from valuefree.training.step_inputs import StepInput
from valuefree.training.training_rows import rows_at

logger = logging.getLogger(__name__)

STEP_INPUTS: dict[str, type[StepInput]] = {"kl_estimate": MismatchedPairs}  # by the name in `Objective.requires`


@dataclass(frozen=True)
class Scorer:
    """The reference model, and how it scores; the same for training, evaluation and ``valuefree inspect``.

    Attributes:
        model: the reference, or a peft model whose adapter is then switched off.
        device: where it runs; it goes back to where it was.
        limits: longest sequences.
        cache_dir: folder of scores; default: `default_cache_dir`.
        batch_tokens: positions per batch, padding included.
        autocast: compute type, None for that of the weights.
        progress: show a bar.
        sampler: score the reference as it is sampled so.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    collator: Collator
    device: torch.device
    limits: Limits
    cache_dir: str | None = None
    batch_tokens: int = 8192
    autocast: torch.dtype | None = None
    progress: bool = True
    sampler: Sampler = PLAIN

    def tokenize(self, dataset: datasets.Dataset) -> tuple[datasets.Dataset, Truncation]:
        """The data set with ``prompt_ids`` and ``response_ids``, and what was cut."""
        return tokenize(dataset, self.tokenizer, limits=self.limits, encoder_decoder=self.collator.encoder_decoder)

    def score(self, table: datasets.Dataset, *, what: str = "rows") -> ReferenceScores:
        """Reference scores of a tokenised table. what: its rows are, for the log."""
        cache_dir = self.cache_dir or default_cache_dir()
        with on_device(self.model, self.device):
            return score_reference(
                self.model,
                table,
                self.collator,
                cache_dir=cache_dir,
                autocast=self.autocast,
                batch_tokens=self.batch_tokens,
                progress=self.progress,
                sampler=self.sampler,
                what=what,
            )

    def features(self, prompts: Sequence[list[int]]) -> np.ndarray:
        """A vector per tokenised prompt, (P, d); see `prompt_features`."""
        with on_device(self.model, self.device):
            return prompt_features(
                self.model,
                prompts,
                pad_token_id=self.collator.pad_token_id,
                batch_tokens=self.batch_tokens,
                autocast=self.autocast,
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


def prepare(dataset: datasets.Dataset, rows: TrainingRows, objective: Objective, scorer: Scorer) -> ScoredDataset:
    """Select rows, tokenise, score and estimate V̂, as far as the objective requires it.

    Args:
        dataset: as `valuefree.data.read_triplets` returns it. rows: what `training_rows` made of it.
        objective: resolved.
        scorer: the reference.

    Raises:
        DataError: responses that were truncated away. ScoringError: rows without a reference score.
        ConfigError: settings of the partition that contradict each other.
    """
    settings = partition_settings(objective, rows)
    kept = objective.select(rows)
    if kept is not None:
        logger.info("%s trains on %s", type(objective).__name__, objective.selection(rows, kept))
        rows = rows_at(rows, kept)
        dataset = dataset.select(kept.nonzero().flatten().tolist())
    table, truncation = scorer.tokenize(dataset)
    prompt_of = rows.prompt_of.numpy()
    if kept is not None:
        table = with_column(table, "prompt_id", prompt_of)
    group_size = np.bincount(prompt_of)[prompt_of]
    scored = ScoredDataset(table, truncation, prompt_of, group_size, rows.rewards.numpy(), objective.precompute(rows))
    if "reference_logps" in objective.requires:
        scored.reference = scorer.score(table)
        scored.authorship = _authorship(scored.reference, scorer)
    if settings is not None:
        _add_partition(scored, rows, settings, scorer)
    return scored


def _authorship(scores: ReferenceScores, scorer: Scorer) -> Authorship | None:
    """Who wrote the rows; None for a sampler that truncates."""
    if scores.statistics is None:
        return None
    found = authorship(scores.statistics, scores.logps, scores.tokens, temperature=scorer.sampler.temperature)
    logger.info("%s (`valuefree inspect` has the numbers)", found.short())
    return found


def _decide_on_policy(settings: PartitionSettings, found: Authorship | None) -> PartitionSettings:
    """The settings with `on_policy` as given, or else as the authorship test has it, and how it was decided."""
    if settings.on_policy is not None:
        return replace(settings, on_policy_reason="as given by on_policy")
    verdict = found.verdict if found is not None else "undecided"
    reason = f"by the authorship test, which says {verdict}"
    return replace(settings, on_policy=found is not None and found.on_policy, on_policy_reason=reason)


def _add_partition(scored: ScoredDataset, rows: TrainingRows, settings: PartitionSettings, scorer: Scorer) -> None:
    """V̂ of every row, and the report."""
    scores = scored.reference
    if scores is None:
        raise ConfigError("an objective with a partition must require reference_logps.")
    settings = _decide_on_policy(settings, scored.authorship)
    partition = fit_partition(
        rewards=rows.rewards,
        reference_logps=scores.logps / scores.tokens if settings.length_normalize else scores.logps,
        prompt_of=rows.prompt_of,
        settings=settings,
        response_of=response_numbers(scored.table["response"]),
        reference_rewards=rows.reference_rewards,
        reference_prompt_of=rows.reference_prompt_of,
        features=scorer.features(scored.prompt_tokens()) if settings.needs_features else None,
    )
    scored.report = partition.report
    scored.rewards, scored.values = partition.rewards_R.numpy(), partition.values_P.numpy()[scored.prompt_of]


def add_step_inputs(scored: ScoredDataset, requires: frozenset[str], scorer: Scorer, *, epochs: int, seed: int) -> None:
    """Prepare the required inputs that are computed once per optimizer step."""
    for name in sorted(requires & STEP_INPUTS.keys()):
        scored.step_inputs[name] = STEP_INPUTS[name].prepare(scored, scorer, epochs=epochs, seed=seed)


def align_stop_ids(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Store the tokens that end responses in training in the model's generation_config, which is saved with it."""
    config: Any = unwrap_model(model).generation_config
    config.eos_token_id = stop_ids(tokenizer, config)
