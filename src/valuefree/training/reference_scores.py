"""Reference scores: log π_ref of every response, computed once and cached by content."""

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from valuefree.batches.collate import Collator, scoring_batches
from valuefree.data.columns import lengths_of, list_numbers
from valuefree.data.storage import cache_root
from valuefree.errors import ConfigError, ScoringError
from valuefree.models.adapters import reference_context
from valuefree.models.fingerprints import model_fingerprint
from valuefree.models.logprobs import ResponseLogps, response_logps
from valuefree.models.modules import evaluating
from valuefree.models.packed_attention import attention_name
from valuefree.models.sampler import PLAIN, Sampler
from valuefree.models.token_columns import LAYOUT, TokenStatistics
from valuefree.training.distributed import all_gather, broadcast, rank_and_size
from valuefree.training.score_cache import Score, ScoreCache, Scores, score_key

logger = logging.getLogger(__name__)

SHARD_ROWS = 2048  # scores written at a time; an interruption loses at most these


@dataclass(frozen=True)
class ReferenceScores:
    """One score per row, in the order of the data.

    logps: log π_ref of the response in nats, float64 (R,). tokens: response tokens, (R,). scored: number of scores that
    were computed; cached: of rows whose score was read from the cache; the other rows equal an earlier one. statistics:
    of the tokens' distributions, R rows; None for a sampler that truncates.
    """

    logps: np.ndarray
    tokens: np.ndarray
    scored: int
    statistics: TokenStatistics | None = None
    cached: int = 0

    def told(self, what: str) -> str:
        """Where the scores come from. what: what the rows are."""
        said = f"reference scores: {len(self.logps)} {what}, {self.scored} computed"
        said += f", {self.cached} from the cache" if self.cached else ""
        equal = len(self.logps) - self.scored - self.cached
        return said + (f", {equal} equal to another" if equal else "")

    def __str__(self) -> str:
        return self.told("rows")


def default_cache_dir() -> Path:
    """Folder of the reference scores: ``scores`` in `cache_root`."""
    return cache_root() / "scores"


def scoring_context(model: nn.Module, autocast: torch.dtype | None, sampler: Sampler = PLAIN) -> str:
    """Hash of everything but the tokens that the last digits of a score depend on, and of the layout of statistics."""
    dtype = next(model.parameters()).dtype
    parts = {
        "model": model_fingerprint(model, adapter=False),
        "dtype": str(dtype),
        "autocast": str(autocast),
        "attention": attention_name(model),
        "device": next(model.parameters()).device.type,
        "sampler": sampler._asdict(),
        "statistics": LAYOUT,
    }
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def score_reference(
    model: nn.Module,
    table: Any,
    collator: Collator,
    *,
    cache_dir: str | os.PathLike | None = None,
    autocast: torch.dtype | None = None,
    batch_tokens: int = 8192,
    progress: bool = True,
    sampler: Sampler = PLAIN,
    what: str = "rows",
) -> ReferenceScores:
    """Log-probability of every response under the reference, each computed once.

    The same pass keeps statistics of the tokens' distributions, from which `valuefree.models.authorship` tells whether
    the reference wrote the responses.

    Each of several processes scores its share of the batches, and returns all scores. The cache of the first process
    decides which scores are known, and holds all of them in the end. The other processes write their scores to their
    own cache folder, which may be the same one.

    Args:
        model: the reference, or a peft model, whose adapter is then switched off.
        table: the output of `valuefree.batches.rendering.tokenize`.
        collator: makes batches of rows; the same one as in training.
        cache_dir: folder of the cache; None for no cache.
        autocast: compute type under autocast, as in training.
        batch_tokens: largest number of positions per batch, padding included.
        progress: show a progress bar.
        sampler: score the reference as it is sampled so. With truncation, a response that the sampler never draws has
            score −inf, and there are no statistics.
        what: what the rows are, for the log.

    Raises:
        ScoringError: some rows have no finite score, which truncation does not explain; the message names them.
        ConfigError: a sampler outside its range; the cache folder cannot be written; processes hold different weights.
    """
    prompts, responses = table["prompt_ids"], table["response_ids"]
    keys = [score_key(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
    cache = ScoreCache(cache_dir, _agreed_context(model, autocast, sampler.check())) if cache_dir is not None else None
    rank, size = rank_and_size()
    known = cache.read() if cache and rank == 0 else {}
    if not sampler.truncates:
        known = {key: score for key, score in known.items() if score.statistics is not None}
    unknown = list({key: row for row, key in enumerate(keys) if key not in known}.values())
    missing, cached = broadcast((unknown, sum(key in known for key in keys)))
    keep = cache.write if cache else _forget
    fresh = _score(model, table, missing, keys, collator, autocast, batch_tokens, keep, progress, sampler)
    for part in all_gather(fresh) if size > 1 else [fresh]:
        known |= part
    if cache and rank == 0 and size > 1:
        there = cache.read()
        cache.write({key: score for key, score in known.items() if key not in there})
    logps, tokens, statistics = broadcast(_columns(keys, known))
    found = None if statistics is None else TokenStatistics(statistics)
    result = ReferenceScores(logps, tokens, len(missing), found, cached)
    _prove_coverage(result, sampler)
    logger.log(logging.INFO if missing else logging.DEBUG, "%s", result.told(what))
    return result


def _agreed_context(model: nn.Module, autocast: torch.dtype | None, sampler: Sampler) -> str:
    contexts = all_gather(scoring_context(model, autocast, sampler))
    if len(set(contexts)) > 1:
        raise ConfigError(
            f"{len(contexts)} processes hold {len(set(contexts))} different reference models, so their scores "
            "cannot be combined. With FSDP, set fsdp_cpu_ram_efficient_loading: false, so that all load the weights."
        )
    return contexts[0]


def _forget(scores: Scores) -> None:
    """Stand-in for `ScoreCache.write` without a cache."""


def _columns(keys: list[str], scores: Scores) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Scores in the order of the rows; NaN where there is none."""
    none = Score(math.nan, 0)
    found = [scores.get(key, none) for key in keys]
    logps = np.array([score.logp for score in found], dtype=np.float64)
    tokens = np.array([score.tokens for score in found], dtype=np.int64)
    statistics = [score.statistics for score in found if score.statistics is not None]
    return logps, tokens, np.stack(statistics) if found and len(statistics) == len(found) else None


def _prove_coverage(scores: ReferenceScores, sampler: Sampler) -> None:
    known = np.isfinite(scores.logps) | (sampler.truncates & np.isneginf(scores.logps))
    lost = np.flatnonzero(~known).tolist()
    if lost:
        raise ScoringError(
            f"{len(lost)} of {len(scores.logps)} rows have no finite reference score (first: {lost[:10]}). The "
            "reference gives these responses probability zero or NaN: look at these rows, or score in float32."
        )


def _scores(result: ResponseLogps) -> list[Score]:
    statistics = [None] * len(result.tokens) if result.statistics is None else result.statistics.float().cpu().numpy()
    return list(map(Score, result.total.double().tolist(), result.tokens.tolist(), statistics))


def _score(
    model: nn.Module,
    table: Any,
    rows: list[int],
    keys: list[str],
    collator: Collator,
    autocast: torch.dtype | None,
    batch_tokens: int,
    keep: Callable[[Scores], None],
    progress: bool,
    sampler: Sampler,
) -> Scores:
    """This process's share of `rows`, batches dealt out by rank."""
    if not rows:
        return {}
    rank, size = rank_and_size()
    lengths = (lengths_of(table, "prompt_ids")[rows], lengths_of(table, "response_ids")[rows])
    prompts = list_numbers(table, "prompt_ids")[rows]
    batches = scoring_batches(collator, lengths, prompts, batch_tokens)[rank::size]
    device = next(model.parameters()).device
    casting = torch.autocast(device.type, dtype=autocast) if autocast else nullcontext()
    scores: Scores = {}
    fresh: Scores = {}
    with (
        evaluating(model),
        reference_context(model),
        casting,
        tqdm(
            total=sum(map(len, batches)),
            desc="score reference",
            unit="row",
            disable=not progress or rank > 0,
            leave=False,
        ) as bar,
    ):
        for places in batches:
            chosen = [rows[place] for place in places]
            batch = {name: tensor.to(device) for name, tensor in collator.batch(table, chosen).items()}
            result = response_logps(model, batch, **sampler._asdict(), statistics=not sampler.truncates)
            fresh |= {keys[row]: score for row, score in zip(chosen, _scores(result), strict=True)}
            bar.update(len(chosen))
            if len(fresh) >= SHARD_ROWS:
                keep(fresh)
                scores, fresh = scores | fresh, {}
    keep(fresh)
    return scores | fresh
