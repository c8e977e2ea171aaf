"""The score cache: scores by content, in immutable files that several processes may share."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from valuefree.errors import ConfigError
from valuefree.runs.files import atomic_write

logger = logging.getLogger(__name__)


class Score(NamedTuple):
    """Score of one row: log π_ref in nats, response tokens, and its columns of `token_columns` (W,), float32.

    The columns are None for a sampler that truncates.
    """

    logp: float
    tokens: int
    statistics: np.ndarray | None = None


Scores = dict[str, Score]


def score_key(prompt_ids: Sequence[int], response_ids: Sequence[int]) -> str:
    """Key of one row: a hash of its tokens, which cover text, template, tokenizer and limits."""
    text = f"{','.join(map(str, prompt_ids))}|{','.join(map(str, response_ids))}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class ScoreCache:
    """A folder of immutable files, each named by the hash of its content and written by rename.

    Several processes may share the folder, because no process changes another's files. A file whose content does not
    match its name is damaged: it is removed, and its rows are scored again.
    """

    def __init__(self, folder: str | os.PathLike, context: str):
        self.folder = Path(folder) / context
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise ConfigError(
                f"the score cache {self.folder} cannot be written ({error}). Choose another with --cache-dir."
            ) from error

    def read(self) -> Scores:
        """All scores of this context by key."""
        scores: Scores = {}
        for file in sorted(self.folder.glob("*.parquet")):
            try:
                content = file.read_bytes()
            except FileNotFoundError:  # removed by another process that found it damaged
                continue
            if hashlib.blake2b(content, digest_size=16).hexdigest() != file.stem:
                logger.warning("damaged cache file %s removed; its rows are scored again", file)
                file.unlink(missing_ok=True)
                continue
            table = pq.read_table(pa.BufferReader(content))
            keys, logps, tokens = (table[name].to_pylist() for name in ("key", "logp", "tokens"))
            rows = map(Score, logps, tokens, _statistics(table))
            scores |= dict(zip(keys, rows, strict=True))
        return scores

    def write(self, scores: Scores) -> None:
        """Add scores, atomically."""
        if not scores:
            return
        logps, tokens, statistics = zip(*scores.values(), strict=True)
        columns = {"key": list(scores), "logp": list(logps), "tokens": list(tokens)}
        if statistics[0] is not None:
            values = np.stack(statistics)
            columns["statistics"] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        table = pa.table(columns)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        content = sink.getvalue().to_pybytes()
        name = hashlib.blake2b(content, digest_size=16).hexdigest()
        with atomic_write(self.folder / f"{name}.parquet") as stream:
            stream.write(content)


def _statistics(table: pa.Table) -> Sequence[np.ndarray | None]:
    """Statistics of each row of a file; None where the file has none."""
    if "statistics" not in table.column_names:
        return [None] * len(table)
    column = table["statistics"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(table), -1)
