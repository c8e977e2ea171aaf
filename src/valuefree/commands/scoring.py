"""``valuefree inspect`` and ``valuefree score``: reference scores, and what follows from them."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from valuefree.commands.objects import limits_of, load_there, objective_of, read
from valuefree.config import InspectConfig, ScoreConfig
from valuefree.data import DataSummary, RewardScaler
from valuefree.data.columns import array_of
from valuefree.data.rendering import tokenize
from valuefree.models import is_encoder_decoder
from valuefree.objectives import TrainingRows
from valuefree.partition import PartitionReport, PartitionSettings, partition_report
from valuefree.prepared import collator_for, response_numbers
from valuefree.processes import rank_and_size
from valuefree.reference import ReferenceScores, default_cache_dir, score_reference


def _scored(rows: datasets.Dataset, options: Any, progress: bool = True) -> tuple[datasets.Dataset, ReferenceScores]:
    model, tokenizer = load_there(options)
    encoder_decoder = is_encoder_decoder(model)
    table, _ = tokenize(rows, tokenizer, limits=limits_of(options), encoder_decoder=encoder_decoder)
    scores = score_reference(
        model,
        table,
        collator_for(model, tokenizer),
        cache_dir=options.cache_dir or default_cache_dir(),
        autocast=torch.bfloat16 if options.bf16 else None,
        batch_tokens=options.score_batch_tokens,
        progress=progress,
    )
    return table, scores


def inspect(options: InspectConfig) -> tuple[DataSummary, PartitionReport]:
    """Read, score and report; trains nothing."""
    rows, summary = read(options)
    table, scores = _scored(rows, options)
    prompt_of = array_of(table["prompt_id"], np.int64)
    raw = array_of(table["reward"], np.float64)
    rewards = RewardScaler.fit(table["reward"]).transform(table["reward"])
    columns = [torch.from_numpy(column) for column in (rewards, raw, prompt_of)]
    whole = TrainingRows(rewards=columns[0], raw_rewards=columns[1], prompt_of=columns[2])
    settings = PartitionSettings(**(objective_of(options).resolved(whole).partition() or {}))
    logps = scores.logps / scores.tokens if settings.length_normalize else scores.logps
    response_of = response_numbers(table["response"])
    report = partition_report(rewards, logps, prompt_of, response_of=response_of, **settings.knobs())
    return summary, report


def score(options: ScoreConfig) -> tuple[Path, ReferenceScores]:
    """Score every row; write prompt_id, logp and tokens in the order of the rows kept."""
    rows, _ = read(options)
    table, scores = _scored(rows, options)
    file = Path(options.out)
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = {"prompt_id": array_of(table["prompt_id"], np.int64), "logp": scores.logps, "tokens": scores.tokens}
    if rank_and_size()[0] == 0:
        pq.write_table(pa.table(columns), file)
    return file, scores
