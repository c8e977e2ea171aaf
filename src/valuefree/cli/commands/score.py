"""``valuefree score``: log-probabilities of the responses under the reference."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from valuefree.cli import show
from valuefree.cli.commands.from_options import limits_of, load_on_device
from valuefree.cli.commands.rendered import read
from valuefree.cli.options.score import ScoreConfig
from valuefree.cli.output import bars
from valuefree.data.columns import to_numpy
from valuefree.runs.files import atomic_write
from valuefree.training.distributed import rank_and_size
from valuefree.training.preparation import Scorer
from valuefree.training.reference_scores import ReferenceScores
from valuefree.training.scored_dataset import collator_for


def scorer_of(options: Any) -> Scorer:
    """The reference model of the options, and how it scores."""
    model, tokenizer = load_on_device(options)
    return Scorer(
        model,
        tokenizer,
        collator_for(model, tokenizer),
        device=next(model.parameters()).device,
        limits=limits_of(options),
        cache_dir=options.cache_dir,
        progress=bars(),
        batch_tokens=options.score_batch_tokens,
        autocast=torch.bfloat16 if options.bf16 else None,
    )


def score(options: ScoreConfig) -> tuple[Path, ReferenceScores]:
    """Score every row; write prompt_id, logp and tokens in the order of the rows kept."""
    rows, _ = read(options)
    scorer = scorer_of(options)
    table, _ = scorer.tokenize(rows)
    scores = scorer.score(table)
    file = Path(options.out)
    columns = {"prompt_id": to_numpy(table["prompt_id"], np.int64), "logp": scores.logps, "tokens": scores.tokens}
    if rank_and_size()[0] == 0:
        with atomic_write(file) as stream:
            pq.write_table(pa.table(columns), stream)
    return file, scores


def command(options: ScoreConfig) -> None:
    """Score every row and say where the scores are."""
    if options.dry_run:
        show.settings(options, f"{len(read(options)[0])} responses to score")
        return
    file, scores = score(options)
    print(f"{scores}\nwritten: {file}")
