"""Measure texts: what is asked for is loaded first, so that a missing library, model or data set costs no work."""

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from valuefree.data.validation import prompt_key
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.metrics.base import Metric, of_mean
from valuefree.evaluation.metrics.bertscore import BertScore
from valuefree.evaluation.metrics.bleu import bleu_metrics
from valuefree.evaluation.metrics.diversity import TokenCounter, diversity_metrics
from valuefree.evaluation.metrics.extra import library
from valuefree.evaluation.metrics.nltk_data import use_nltk_data
from valuefree.evaluation.metrics.registry import DEFAULT, kind_of, metric_names
from valuefree.evaluation.metrics.rows import ROUGE, spread_over_processes
from valuefree.evaluation.metrics.toxicity import TOXIC_FROM, Toxicity

logger = logging.getLogger(__name__)

BLEU = ("bleu", "sacrebleu")
DIVERSITY = ("distinct1", "distinct2", "self_repetition")
MID_RESAMPLES = 1000


class TextMetrics:
    """Metrics with all they need, loaded; call it on texts as often as wanted.

    Args: as of `text_metrics`.

    Raises:
        ConfigError: an unknown metric, or one whose library, model or data is missing.
    """

    def __init__(
        self,
        metrics: str | Iterable[str] = DEFAULT,
        *,
        bertscore_model: str | None = None,
        bertscore_layer: int | None = None,
        bertscore_rescaled: bool = False,
        toxicity_model: str | None = None,
        toxicity_label: str = "hate",
        nltk_data: str | None = None,
        rouge_mid_seed: int | None = None,
        tokenizer: Any = None,
        reward_function: Callable[..., Sequence[float]] | None = None,
        processes: int | None = None,
    ):
        self.names = names = metric_names(metrics)
        if "kl" in names:
            raise ConfigError("kl is of models, not of texts: `valuefree evaluate DATA --model M --metrics kl`.")
        if "reward" in names and reward_function is None:
            raise ConfigError("metric reward needs reward_function.")
        if not set(names).isdisjoint((*BLEU, *DIVERSITY)) or (tokenizer is None and self._counts_tokens):
            library("sacrebleu")
        if not set(names).isdisjoint(ROUGE):
            library("rouge_score.rouge_scorer")
        if "meteor" in names:
            use_nltk_data(nltk_data)
        self._count = TokenCounter(tokenizer) if self._counts_tokens else None
        self._bertscore = self._toxicity = None
        if "bertscore" in names:
            self._bertscore = BertScore(bertscore_model, bertscore_layer, rescaled=bertscore_rescaled)
        if "toxicity" in names:
            self._toxicity = Toxicity(toxicity_model, toxicity_label)
        self._mid_seed, self._reward, self._processes = rouge_mid_seed, reward_function, processes

    @property
    def _counts_tokens(self) -> bool:
        return not {"length", "length_ratio"}.isdisjoint(self.names)

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
        keys = self._checked(predictions, references, prompts)
        given = [i for i, text in enumerate(predictions) if text is not None]
        alone = _Texts([predictions[i] for i in given], [keys[i] for i in given], len(predictions) - len(given))
        found = self._of_predictions(alone)
        if self._reward is not None and "reward" in self.names and prompts is not None:
            rewards_of = import_module("valuefree.evaluation.reward_functions").rewards_of
            rewards = rewards_of(self._reward, [prompts[i] for i in given], alone.texts).tolist() if given else []
            found["reward"] = of_mean("reward", rewards, alone.prompts, unscored=alone.unscored)
        if references is not None:
            both = [i for i in given if references[i] is not None]
            texts = _Texts([predictions[i] for i in both], [keys[i] for i in both], len(predictions) - len(both))
            found |= self._of_pairs(texts, [str(references[i]) for i in both])
        order = [key for name in self.names for key in (name, f"{name}_mid", f"{name}_ratio")]
        return {name: found[name] for name in dict.fromkeys(order) if name in found}

    def count_tokens_of(self, tokenizer: Any) -> None:
        """Let length and length_ratio count tokens of this tokenizer of transformers."""
        if self._counts_tokens:
            self._count = TokenCounter(tokenizer)

    def _checked(
        self,
        predictions: Sequence[str | None],
        references: Sequence[str | None] | None,
        prompts: Sequence[Any] | None,
    ) -> list[Hashable]:
        """One key per response, equal for the responses to one prompt."""
        if not len(predictions):
            raise DataError("there are no predictions to measure.")
        for name, column in (("references", references), ("prompts", prompts)):
            if column is not None and len(column) != len(predictions):
                raise DataError(f"{len(predictions)} predictions, but {len(column)} {name}; expected one each.")
        for name, column, need in (("references", references, "reference"), ("prompts", prompts, "reward")):
            lacking = [metric for metric in self.names if kind_of(metric).needs == need]
            if column is None and lacking:
                raise DataError(f"{', '.join(lacking)} need {name}, one per prediction; there are none.")
        for name, column in (("predictions", predictions), ("references", references or ())):
            wrong = [i for i, text in enumerate(column) if text is not None and not isinstance(text, str)]
            if wrong:
                raise DataError(f"{name} {wrong[:5]} are no texts: {type(column[wrong[0]]).__name__}.")
        return list(range(len(predictions))) if prompts is None else [prompt_key(prompt) for prompt in prompts]

    def _of_predictions(self, given: "_Texts") -> dict[str, Metric]:
        found: dict[str, Metric] = {}
        if "length" in self.names and self._count is not None:
            found["length"] = self._count.length(given.texts, given.prompts, given.unscored)
        if not set(DIVERSITY).isdisjoint(self.names):
            found |= diversity_metrics(self.names, given.texts, given.prompts, given.unscored)
        if self._toxicity is not None:
            scores = self._toxicity(given.texts)
            more: dict[str, Any] = {
                "bounds": (0.0, 1.0),
                "unscored": given.unscored,
                "signature": self._toxicity.signature,
            }
            found["toxicity"] = of_mean("toxicity", scores, given.prompts, **more)
            toxic = [float(score >= TOXIC_FROM) for score in scores]
            found["toxicity_ratio"] = of_mean("toxicity_ratio", toxic, given.prompts, **more)
        return found

    def _of_pairs(self, given: "_Texts", references: list[str]) -> dict[str, Metric]:
        found: dict[str, Metric] = {}
        common: dict[str, Any] = {"unscored": given.unscored}
        bleu = [name for name in BLEU if name in self.names]
        if bleu:
            found |= bleu_metrics(bleu, given.texts, references, given.prompts, given.unscored)
        rows = [name for name in (*ROUGE, "meteor") if name in self.names]
        if rows:
            scores = spread_over_processes(rows, given.texts, references, processes=self._processes)
            found |= {name: of_mean(name, scores[name], given.prompts, bounds=(0.0, 1.0), **common) for name in rows}
            if self._mid_seed is not None and given.texts:
                found |= rouge_mid({name: scores[name] for name in rows if name in ROUGE}, self._mid_seed, **common)
        if "length_ratio" in self.names and self._count is not None:
            found["length_ratio"] = self._count.ratio(given.texts, references, given.prompts, given.unscored)
        if self._bertscore is not None:
            empty = sum(
                not (text.strip() and other.strip()) for text, other in zip(given.texts, references, strict=True)
            )
            found["bertscore"] = of_mean(
                "bertscore",
                self._bertscore(given.texts, references),
                given.prompts,
                signature=self._bertscore.signature,
                note=f"{empty} pairs with an empty text count as 0" if empty else None,
                **common,
            )
        return found


class _Texts:
    """Responses that can be scored, the keys of their prompts, and how many responses cannot."""

    def __init__(self, texts: Sequence[str | None], prompts: list[Hashable], unscored: int):
        self.texts, self.prompts, self.unscored = [str(text) for text in texts], prompts, unscored


def rouge_mid(scores: dict[str, list[float]], seed: int, *, unscored: int = 0) -> dict[str, Metric]:
    """ROUGE as the `evaluate` library gives it: the median of 1,000 bootstrap means, and their 95 % range.

    The number depends on `seed`: evaluate draws from numpy's global generator, for its four types in turn, so types
    that are not in `scores` are drawn for as well. numpy's state is put back. The resamples are of responses.
    """
    rows = len(next(iter(scores.values())))
    scoring = library("rouge_score.scoring")
    aggregator = scoring.BootstrapAggregator(n_samples=MID_RESAMPLES)
    for index in range(rows):
        values = {name: scores[name][index] if name in scores else 0.0 for name in ROUGE}
        aggregator.add_scores({name: scoring.Score(0.0, 0.0, value) for name, value in values.items()})
    state = np.random.get_state()  # noqa: NPY002 - the library draws from the global generator
    try:
        np.random.seed(seed)  # noqa: NPY002
        found = aggregator.aggregate()
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return {
        f"{name}_mid": Metric(
            f"{name}_mid",
            float(found[name].mid.fmeasure),
            (float(found[name].low.fmeasure), float(found[name].high.fmeasure)) if rows > 1 else None,
            rows,
            unscored,
            rows,
            f"seed:{seed}",
        )
        for name in scores
    }


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
        predictions: responses, shape (R,); None for one that is missing, which is then unscored. An empty text is a
            response like any other.
        references: shape (R,); None for one that is missing.
        prompts: shape (R,); intervals resample them with all their responses. Default: a prompt for each response.
        metrics: names of `registry.METRICS`, or the sets ``paper`` and ``lexical``; also a comma list.
        settings: bertscore_model, bertscore_layer, bertscore_rescaled, toxicity_model, toxicity_label, nltk_data,
            rouge_mid_seed (adds rougeL_mid and so on), tokenizer (of transformers, for the lengths; default words as
            sacreBLEU cuts them), reward_function (for reward), processes (for ROUGE and METEOR).

    Returns:
        By name; toxicity brings toxicity_ratio.

    Raises:
        ConfigError: before any work, an unknown metric or one whose library, model or data is missing.
        DataError: no predictions, or columns that do not fit.
    """
    return TextMetrics(metrics, **settings)(predictions, references, prompts=prompts)
