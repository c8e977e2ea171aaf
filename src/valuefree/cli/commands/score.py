"""``valuefree score``: log-probabilities of the responses under the reference."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from valuefree.batches.rendering import tokenize
from valuefree.cli import show
from valuefree.cli.commands.from_options import limits_of, load_on_device, read
from valuefree.cli.options.score import ScoreConfig
from valuefree.data.columns import to_numpy
from valuefree.models.load import is_encoder_decoder
from valuefree.models.prompt_features import prompt_features
from valuefree.training.distributed import rank_and_size
from valuefree.training.preparation import first_prompts
from valuefree.training.reference_scores import ReferenceScores, default_cache_dir, score_reference
from valuefree.training.scored_dataset import collator_for


def score_rows(
    rows: datasets.Dataset, options: Any, *, features: bool = False
) -> tuple[datasets.Dataset, ReferenceScores, np.ndarray | None]:
    """Tokenised rows, their reference scores and, with `features`, features of their prompts."""
    model, tokenizer = load_on_device(options)
    encoder_decoder = is_encoder_decoder(model)
    table, _ = tokenize(rows, tokenizer, limits=limits_of(options), encoder_decoder=encoder_decoder)
    collator = collator_for(model, tokenizer)
    limits: dict[str, Any] = {"autocast": torch.bfloat16 if options.bf16 else None}
    limits |= {"batch_tokens": options.score_batch_tokens}
    cache_dir = options.cache_dir or default_cache_dir()
    scores = score_reference(model, table, collator, cache_dir=cache_dir, progress=True, **limits)
    if not features:
        return table, scores, None
    prompts = first_prompts(table, to_numpy(table["prompt_id"], np.int64))
    return table, scores, prompt_features(model, prompts, pad_token_id=collator.pad_token_id, **limits)


def score(options: ScoreConfig) -> tuple[Path, ReferenceScores]:
    """Score every row; write prompt_id, logp and tokens in the order of the rows kept."""
    rows, _ = read(options)
    table, scores, _ = score_rows(rows, options)
    file = Path(options.out)
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = {"prompt_id": to_numpy(table["prompt_id"], np.int64), "logp": scores.logps, "tokens": scores.tokens}
    if rank_and_size()[0] == 0:
        pq.write_table(pa.table(columns), file)
    return file, scores


def command(options: ScoreConfig) -> None:
    """Score every row and say where the scores are."""
    if options.dry_run:
        show.settings(options)
        print(read(options)[1])
        return
    file, scores = score(options)
    print(f"{scores}\nwritten: {file}")
