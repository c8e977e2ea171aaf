"""Which metrics there are, as data; no torch."""

import difflib
from collections.abc import Iterable
from typing import Literal, NamedTuple

from valuefree.errors import ConfigError

Need = Literal["reference", "reward", "kl"]


class Kind(NamedTuple):
    """Of a metric: what it is, which values are better (None: neither), what it needs beside the responses."""

    about: str
    better: Literal["higher", "lower"] | None
    needs: Need | None = "reference"


METRICS: dict[str, Kind] = {
    "bleu": Kind("corpus BLEU without smoothing, 0 to 1", "higher"),
    "sacrebleu": Kind("corpus BLEU of sacreBLEU, 0 to 100", "higher"),
    "rouge1": Kind("ROUGE-1, mean F", "higher"),
    "rouge2": Kind("ROUGE-2, mean F", "higher"),
    "rougeL": Kind("ROUGE-L, mean F", "higher"),
    "rougeLsum": Kind("ROUGE-L by lines, mean F", "higher"),
    "meteor": Kind("METEOR, mean", "higher"),
    "bertscore": Kind("BERTScore, mean F1", "higher"),
    "toxicity": Kind("probability of the toxic label, mean", "lower", None),
    "length": Kind("tokens per response, mean", None, None),
    "length_ratio": Kind("tokens of the responses per token of the references", None),
    "distinct1": Kind("distinct words per word", "higher", None),
    "distinct2": Kind("distinct pairs of words per pair", "higher", None),
    "self_repetition": Kind("share of 4-grams that a response repeats, mean", "lower", None),
    "reward": Kind("reward, mean", "higher", "reward"),
    "kl": Kind("KL to the reference model, nats per response", "lower", "kl"),
}
DERIVED: dict[str, Kind] = {
    "toxicity_ratio": Kind("share of responses with a toxicity of at least 0.5", "lower", None),
    **{
        f"{name}_mid": Kind(f"median of 1,000 bootstrap means of {name}", "higher")
        for name in ("rouge1", "rouge2", "rougeL", "rougeLsum")
    },
}
PAPER = ("bleu", "sacrebleu", "rougeL", "meteor", "bertscore", "toxicity")
LEXICAL = (
    *("bleu", "sacrebleu", "rouge1", "rouge2", "rougeL", "meteor"),
    *("length", "length_ratio", "distinct1", "distinct2", "self_repetition"),
)
SETS = {"paper": PAPER, "lexical": LEXICAL}
DEFAULT = ("bleu", "sacrebleu", "rougeL")
OWNED = {  # options that only these metrics read
    "bertscore_model": ("bertscore",),
    "bertscore_layer": ("bertscore",),
    "bertscore_rescaled": ("bertscore",),
    "toxicity_model": ("toxicity",),
    "toxicity_label": ("toxicity",),
    "nltk_data": ("meteor",),
    "tokenizer": ("length", "length_ratio"),
    "rouge_mid_seed": ("rouge1", "rouge2", "rougeL", "rougeLsum"),
}


def kind_of(name: str) -> Kind:
    """What is known of a metric, derived ones included."""
    return METRICS[name] if name in METRICS else DERIVED[name]


def metric_names(asked: str | Iterable[str]) -> tuple[str, ...]:
    """Names of metrics, in order and each once, from names and sets (``paper``, ``lexical``), or a comma list of them.

    Raises:
        ConfigError: a name that is not known (names the nearest), or no name.
    """
    parts = asked.split(",") if isinstance(asked, str) else list(asked)
    names: list[str] = []
    for part in (part.strip() for part in parts):
        if part in SETS:
            names += SETS[part]
        elif part in METRICS:
            names.append(part)
        elif part:
            near = difflib.get_close_matches(part, [*METRICS, *SETS], n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join([*METRICS, *SETS])}."
            raise ConfigError(f"unknown metric {part!r}; {advice}")
    if not names:
        raise ConfigError(f"metrics is {asked!r}; expected names of {', '.join([*METRICS, *SETS])}.")
    return tuple(dict.fromkeys(names))
