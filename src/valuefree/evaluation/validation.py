"""Metrics during training: the same prompts, seed and references at every evaluation."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import datasets
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from valuefree.data.columns import batches
from valuefree.data.prompts import Prompt, decoded
from valuefree.errors import ConfigError
from valuefree.evaluation.generation import Decoding, generate_ids, response_texts
from valuefree.evaluation.kl import kl_to_reference
from valuefree.evaluation.metrics.base import Metric
from valuefree.evaluation.metrics.measure import TextMetrics
from valuefree.evaluation.metrics.registry import HELD_OUT_MEASURES, kind_of

logger = logging.getLogger(__name__)


def best_responses(dataset: datasets.Dataset) -> tuple[list[Prompt], list[str]]:
    """The distinct prompts of a data set, by first appearance, and their best-rewarded responses (first of ties)."""
    best: dict[int, tuple[float, Prompt, str]] = {}
    for table in batches(dataset):
        for row in table.to_pylist():
            known = best.get(row["prompt_id"])
            if known is None or row["reward"] > known[0]:
                best[row["prompt_id"]] = (row["reward"], decoded(row["prompt"]), row["response"])
    found = list(best.values())
    return [prompt for _, prompt, _ in found], [response for _, _, response in found]


def measure_policy(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    references: Sequence[str] | None,
    decoding: Decoding,
    measure: TextMetrics,
    *,
    samples: int = 1,
    progress: bool = False,
) -> tuple[dict[str, Metric], list[dict[str, Any]]]:
    """Sample responses and measure them against one reference per prompt.

    Returns:
        The metrics, and rows of prompt, prediction and reference (if any), `samples` per prompt.
    """
    _, ids = generate_ids(model, tokenizer, prompts, decoding, samples=samples, progress=progress)
    texts = [text.strip() for text in response_texts(model, tokenizer, ids)]
    columns: dict[str, list[Any]] = {"prompt": [prompt for prompt in prompts for _ in range(samples)]}
    columns["prediction"] = texts
    if references is not None:
        columns["reference"] = [text for text in references for _ in range(samples)]
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return measure(texts, columns.get("reference"), prompts=columns["prompt"]), rows


class ValidationMetrics(TrainerCallback):
    """Samples responses to fixed prompts and measures them at every evaluation.

    The values are logged as ``eval_<metric>`` (metrics.jsonl, the tracker) and added to the result of
    `Trainer.evaluate`, by which transformers chooses the best checkpoint and stops early. So this callback must be
    placed before `EarlyStoppingCallback`. A metric without a value is not logged and is never the best.

    Args:
        measure: the loaded metrics; None for the KL alone.
        prompts, references: shape (P,) each; used neither for training nor for reported numbers.
        decoding: with a seed, the same at every evaluation.
        kl: also estimate KL(policy‖adapter off), nats per response.

    Attributes:
        trainer: does the logging; must be set before training.
    """

    def __init__(
        self,
        measure: TextMetrics | None,
        prompts: Sequence[Prompt],
        references: Sequence[str],
        decoding: Decoding,
        *,
        kl: bool = False,
    ):
        self.measure, self.prompts, self.references = measure, prompts, references
        self.decoding, self.kl = decoding, kl
        self.trainer: Trainer | None = None

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Measure, log, and add to `metrics`, the dict from which transformers then selects."""
        if self.trainer is None:
            raise ConfigError("ValidationMetrics has no trainer; set its attribute `trainer` before training.")
        if args.world_size > 1:
            raise ConfigError("ValidationMetrics samples in one process, and this run has several.")
        model, tokenizer = kwargs["model"], kwargs["processing_class"]
        found: dict[str, Metric] = {}
        if self.measure is not None:
            found, _ = measure_policy(model, tokenizer, self.prompts, self.references, self.decoding, self.measure)
        values = {name: metric.value for name, metric in found.items()}
        if self.kl:
            values["kl"] = kl_to_reference(model, tokenizer, self.prompts, None, self.decoding).value
        self.trainer.log({f"eval_{name}": value for name, value in values.items() if value is not None})
        missing = [name for name, value in values.items() if value is None]
        if missing:
            logger.warning("step %d: no value of %s on the validation prompts", state.global_step, ", ".join(missing))
        if metrics is not None:
            metrics |= {f"eval_{name}": math.nan if value is None else value for name, value in values.items()}


def selection(chosen: str | None) -> dict[str, Any]:
    """Fields of transformers' TrainingArguments that keep the best checkpoint by `chosen`; None keeps the last."""
    if chosen in HELD_OUT_MEASURES:
        better = "higher"
    else:
        better = "lower" if chosen in (None, "loss") else kind_of(chosen).better
    return {
        "load_best_model_at_end": chosen is not None,
        "metric_for_best_model": f"eval_{chosen}" if chosen else None,
        "greater_is_better": better == "higher" if chosen else None,
    }
