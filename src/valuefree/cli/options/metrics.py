"""Options of the verbs that measure responses; no torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from valuefree.cli.options.groups import Options, flags, option
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.registry import METRICS, OWNED, metric_names


def metrics_option(names: Iterable[str] = METRICS, *, otherwise: str = "none") -> Any:
    """The field ``metrics`` of a verb that measures these metrics; otherwise: what it measures without."""
    return option(
        None,
        f"metrics to measure, by comma: {', '.join(names)}; or the sets paper (the six) and lexical",
        otherwise=otherwise,
        group="evaluation",
    )


@dataclass(frozen=True, kw_only=True)
class MetricOptions(Options):
    """What is measured on responses."""

    group: ClassVar[str] = "evaluation"
    metrics: str | None = metrics_option()
    bertscore_model: str | None = option(None, "BERTScore's encoder, hub name or folder", otherwise="roberta-large")
    bertscore_layer: int | None = option(
        None, "layer of the encoder; needed for a folder", otherwise="the layer that bert-score has for the name"
    )
    bertscore_rescaled: bool = option(False, "rescale BERTScore by the English baseline of its encoder")
    toxicity_model: str | None = option(
        None, "text classifier, hub name or folder", otherwise="facebook/roberta-hate-speech-dynabench-r4-target"
    )
    toxicity_label: str = option("hate", "label of that classifier whose probability is the toxicity")
    nltk_data: str | None = option(
        None, "folder of nltk data for METEOR", otherwise="the folders that nltk and Debian use"
    )
    tokenizer: str | None = option(
        None,
        "hub name or folder of the tokenizer that length and length_ratio count with",
        otherwise="the model's, else words (13a)",
    )
    rouge_mid_seed: int | None = option(
        None,
        "also report ROUGE as the `evaluate` library does, with this seed: median of bootstrap means",
        otherwise="not reported",
    )

    def metric_list(self) -> tuple[str, ...]:
        """The metrics asked for; empty where none are."""
        return metric_names(self.metrics) if self.metrics is not None else ()

    def check_metrics(self, measured: tuple[str, ...]) -> None:
        """Raise ConfigError for options of metrics that are not measured."""
        changed = self.changed()
        for name, owners in OWNED.items():
            if name in changed and not set(owners) & set(measured):
                raise ConfigError(f"{flags([name])} is read by {' and '.join(owners)}, which --metrics does not name.")
        if self.bertscore_layer is not None and self.bertscore_layer < 1:
            raise ConfigError(f"--bertscore-layer is {self.bertscore_layer}; expected at least 1.")
