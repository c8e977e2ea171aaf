"""The metrics: one entry each, and the options that they read. No torch and no numpy.

A new metric is an entry in `METRICS` and the function that it names; an option that no metric had is a field of
`MetricSettings`. The names, sets, flags, checks and tables of the command line follow from both.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from valuefree.errors import ConfigError

Need = Literal["reference", "reward", "models"]
SETS = ("paper", "lexical")  # the six of the paper; those that need neither a model nor a reward
DEFAULT = ("bleu", "sacrebleu", "rougeL")
PACKAGE = "valuefree.evaluation.metrics"
LARGEST = 2**31 - 1  # seed or layer


@dataclass(frozen=True)
class MetricEntry:
    """A metric.

    Attributes:
        about: what it is. better: which values are better; None for neither.
        function: ``module:function``, loaded on first use, from names of metrics and `measure.LoadedSettings` to a
            function from `base.Texts` to a `base.Metric` by name. It is called before any work, so a missing library,
            model or data set is an error there. Metrics with the same function are loaded and measured together.
        needs: what it compares the responses with: reference texts, a reward function (and prompts), or two models,
            which it samples from itself; None if it needs the responses alone.
        options: fields of `MetricSettings` that it reads. sets: names in `SETS` that include it.
        adds: further metrics that come with it, and what they are.
    """

    about: str
    better: Literal["higher", "lower"] | None
    function: str
    needs: Need | None = "reference"
    options: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    adds: Mapping[str, str] = field(default_factory=dict)


def _option(default: Any, text: str, *, otherwise: str | None = None, minimum: float | None = None) -> Any:
    """A field with its help text, what None stands for, and the least value of a number."""
    bounds = {} if minimum is None else {"minimum": minimum, "maximum": LARGEST}
    metadata = {"help": text, "otherwise": otherwise, "group": "evaluation", "bounds": bounds}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class MetricSettings:
    """Options that metrics read, with their help texts."""

    bertscore_model: str | None = _option(None, "BERTScore's encoder, hub name or folder", otherwise="roberta-large")
    bertscore_layer: int | None = _option(
        None,
        "layer of the encoder; needed for a folder",
        otherwise="the layer that bert-score has for the name",
        minimum=1,
    )
    bertscore_rescaled: bool = _option(False, "rescale BERTScore by the English baseline of its encoder")
    toxicity_model: str | None = _option(
        None,
        "text classifier, hub name or folder; profanity-check: word counts, by the package alt-profanity-check",
        otherwise="facebook/roberta-hate-speech-dynabench-r4-target",
    )
    toxicity_label: str = _option("hate", "label of that classifier whose probability is the toxicity")
    nltk_data: str | None = _option(
        None, "folder of nltk data for METEOR", otherwise="the folders that nltk and Debian use"
    )
    tokenizer: str | None = _option(
        None,
        "hub name or folder of the tokenizer that length and length_ratio count with",
        otherwise="the model's, else words (13a)",
    )
    rouge_mid_seed: int | None = _option(
        None,
        "also report ROUGE as the `evaluate` library does, with this seed: median of bootstrap means",
        otherwise="not reported",
        minimum=0,
    )


def _rouge(about: str, name: str, *sets: str) -> MetricEntry:
    mid = {f"{name}_mid": f"median of 1,000 bootstrap means of {name}"}
    options = ("rouge_mid_seed",)
    return MetricEntry(about, "higher", f"{PACKAGE}.rouge_meteor:load", options=options, sets=sets, adds=mid)


_LEXICAL = ("lexical",)
METRICS: dict[str, MetricEntry] = {
    "bleu": MetricEntry("corpus BLEU without smoothing, 0 to 1", "higher", f"{PACKAGE}.bleu:load", sets=SETS),
    "sacrebleu": MetricEntry("corpus BLEU of sacreBLEU, 0 to 100", "higher", f"{PACKAGE}.bleu:load", sets=SETS),
    "rouge1": _rouge("ROUGE-1, mean F", "rouge1", "lexical"),
    "rouge2": _rouge("ROUGE-2, mean F", "rouge2", "lexical"),
    "rougeL": _rouge("ROUGE-L, mean F", "rougeL", *SETS),
    "rougeLsum": _rouge("ROUGE-L by lines, mean F", "rougeLsum"),
    "meteor": MetricEntry("METEOR, mean", "higher", f"{PACKAGE}.rouge_meteor:load", options=("nltk_data",), sets=SETS),
    "bertscore": MetricEntry(
        "BERTScore, mean F1",
        "higher",
        f"{PACKAGE}.bertscore:load",
        options=("bertscore_model", "bertscore_layer", "bertscore_rescaled"),
        sets=("paper",),
    ),
    "toxicity": MetricEntry(
        "probability of the toxic label, mean",
        "lower",
        f"{PACKAGE}.toxicity:load",
        needs=None,
        options=("toxicity_model", "toxicity_label"),
        sets=("paper",),
        adds={"toxicity_ratio": "share of responses with a toxicity of at least 0.5"},
    ),
    "length": MetricEntry(
        "tokens per response, mean", None, f"{PACKAGE}.lengths:load", None, options=("tokenizer",), sets=_LEXICAL
    ),
    "length_ratio": MetricEntry(
        "tokens of all responses per token of all references",
        None,
        f"{PACKAGE}.lengths:load",
        options=("tokenizer",),
        sets=_LEXICAL,
    ),
    "distinct1": MetricEntry("distinct words per word", "higher", f"{PACKAGE}.diversity:load", None, sets=_LEXICAL),
    "distinct2": MetricEntry(
        "distinct pairs of words per pair", "higher", f"{PACKAGE}.diversity:load", None, sets=_LEXICAL
    ),
    "self_repetition": MetricEntry(
        "share of 4-grams that a response repeats, mean", "lower", f"{PACKAGE}.diversity:load", None, sets=_LEXICAL
    ),
    "reward": MetricEntry("reward, mean", "higher", f"{PACKAGE}.reward:load", "reward"),
    "kl": MetricEntry(
        "KL to the reference model, nats per response", "lower", "valuefree.evaluation.kl:kl_to_reference", "models"
    ),
}
# Measures of a policy on logged responses (`valuefree.evaluation.held_out`); of each, more is better.
HELD_OUT_MEASURES = ("reweighted_gain", "ranking_accuracy", "ranking_z", "explained_share")
HELD_OUT_DEFAULT = "reweighted_gain"  # what the learning rate and the checkpoint are chosen by
OWNED = {  # option → the metrics that read it
    option: tuple(name for name, entry in METRICS.items() if option in entry.options)
    for option in dict.fromkeys(option for entry in METRICS.values() for option in entry.options)
}


def kind_of(name: str) -> MetricEntry:
    """The entry of a metric; for one that comes with another, the entry of the other."""
    return METRICS[name] if name in METRICS else next(entry for entry in METRICS.values() if name in entry.adds)


def names_in(chosen: str) -> tuple[str, ...]:
    """The metrics of a set (``paper``, ``lexical``), in the order of `METRICS`."""
    return tuple(name for name, entry in METRICS.items() if chosen in entry.sets)


def metric_names(asked: str | Iterable[str]) -> tuple[str, ...]:
    """Names of metrics, in order and each once, from names and sets (``paper``, ``lexical``), or a comma list of them.

    Raises:
        ConfigError: an unknown name (the message names the nearest), or no name.
    """
    parts = asked.split(",") if isinstance(asked, str) else list(asked)
    names: list[str] = []
    for part in (part.strip() for part in parts):
        if part in SETS:
            names += names_in(part)
        elif part in METRICS:
            names.append(part)
        elif part:
            near = difflib.get_close_matches(part, [*METRICS, *SETS], n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join([*METRICS, *SETS])}."
            raise ConfigError(f"unknown metric {part!r}; {advice}")
    if not names:
        raise ConfigError(f"metrics is {asked!r}; expected names of {', '.join([*METRICS, *SETS])}.")
    return tuple(dict.fromkeys(names))
