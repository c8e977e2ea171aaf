"""Measure texts by the metrics of the registry."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from valuefree.data.validation import prompt_key
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.metrics.base import LoadedSettings, Measure, Metric, Texts
from valuefree.evaluation.metrics.registry import DEFAULT, METRICS, Need, metric_names


class TextMetrics:
    """Metrics with their libraries, models and data loaded; can be called on any number of texts.

    Args: as of `text_metrics`.

    Raises:
        ConfigError: an unknown metric, or one whose library, model or data is missing.
    """

    def __init__(self, metrics: str | Iterable[str] = DEFAULT, **settings: Any):
        self.names = metric_names(metrics)
        of_models = [name for name in self.names if METRICS[name].needs == "models"]
        if of_models:
            names = ", ".join(of_models)
            raise ConfigError(
                f"{names} is of models, not of texts: `valuefree evaluate DATA --model M --metrics {names}`."
            )
        self._settings = LoadedSettings(**settings)
        self._measures: dict[tuple[str, Need | None], Measure] = {}
        self._load(self.names)

    def _load(self, names: Sequence[str]) -> None:
        """Call the functions of the metrics `names`, once for all that share one and score the same responses."""
        groups: list[tuple[str, Need | None]] = [(METRICS[name].function, METRICS[name].needs) for name in names]
        for group in dict.fromkeys(groups):
            module, _, function = group[0].partition(":")
            together = [name for name in self.names if (METRICS[name].function, METRICS[name].needs) == group]
            self._measures[group] = getattr(import_module(module), function)(together, self._settings)

    def count_tokens_of(self, tokenizer: Any) -> None:
        """Let the metrics that count tokens use this tokenizer of transformers."""
        self._settings = replace(self._settings, tokenizer=tokenizer)
        self._load([name for name in self.names if "tokenizer" in METRICS[name].options])

    def __call__(
        self,
        predictions: Sequence[str | None],
        references: Sequence[str | None] | None = None,
        *,
        prompts: Sequence[Any] | None = None,
    ) -> dict[str, Metric]:
        """The metrics, in the order asked for.

        Raises:
            DataError: no predictions, columns of unequal length, or references or prompts that a metric needs.
        """
        self._check(predictions, references, prompts)
        keys = range(len(predictions)) if prompts is None else [prompt_key(prompt) for prompt in prompts]
        found: dict[str, Metric] = {}
        for (_, needs), measure in self._measures.items():
            given = references if references is not None and needs == "reference" else predictions
            rows = [i for i, text in enumerate(predictions) if text is not None and given[i] is not None]
            texts = Texts(
                predictions=[str(predictions[i]) for i in rows],
                references=[str(given[i]) for i in rows] if needs == "reference" else [],
                asked=[prompts[i] for i in rows] if prompts is not None else [],
                prompts=[keys[i] for i in rows],
                unscored=len(predictions) - len(rows),
            )
            found |= measure(texts)
        order = [key for name in self.names for key in (name, *METRICS[name].adds)]
        return {name: found[name] for name in dict.fromkeys(order) if name in found}

    def _check(
        self,
        predictions: Sequence[str | None],
        references: Sequence[str | None] | None,
        prompts: Sequence[Any] | None,
    ) -> None:
        if not len(predictions):
            raise DataError("there are no predictions to measure.")
        for name, column, need in (("references", references, "reference"), ("prompts", prompts, "reward")):
            if column is not None and len(column) != len(predictions):
                raise DataError(f"{len(predictions)} predictions, but {len(column)} {name}; expected one each.")
            lacking = [metric for metric in self.names if METRICS[metric].needs == need]
            if column is None and lacking:
                raise DataError(f"{', '.join(lacking)} need {name}, one per prediction; there are none.")
        for name, column in (("predictions", predictions), ("references", references or ())):
            wrong = [i for i, text in enumerate(column) if text is not None and not isinstance(text, str)]
            if wrong:
                raise DataError(f"{name} {wrong[:5]} are no texts: {type(column[wrong[0]]).__name__}.")


def text_metrics(
    predictions: Sequence[str | None],
    references: Sequence[str | None] | None = None,
    *,
    prompts: Sequence[Any] | None = None,
    metrics: str | Iterable[str] = DEFAULT,
    **settings: Any,
) -> dict[str, Metric]:
    """Metrics of responses against references, one reference each.

    Args:
        predictions: responses, shape (R,); None for a missing response, which is unscored. An empty text is a response
            like any other.
        references: shape (R,); None for a missing one.
        prompts: shape (R,); intervals resample them with all their responses. Default: a prompt for each response.
        metrics: names of `registry.METRICS`, or the sets ``paper`` and ``lexical``; also a comma list.
        settings: fields of `registry.MetricSettings`, such as bertscore_model or rouge_mid_seed (adds rougeL_mid and so
            on); tokenizer (of transformers or its name, for the lengths; default: words as sacreBLEU splits them);
            reward_function (for reward); processes (for ROUGE and METEOR).

    Returns:
        By name; toxicity is accompanied by toxicity_ratio.

    Raises:
        ConfigError: before any work, an unknown metric or one whose library, model or data is missing.
        DataError: no predictions, or columns that do not fit.
    """
    return TextMetrics(metrics, **settings)(predictions, references, prompts=prompts)
