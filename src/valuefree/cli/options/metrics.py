"""Options of the verbs that measure responses; no torch."""

from dataclasses import dataclass

from valuefree.cli.options.groups import Options, flags, option
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.registry import DEFAULT, METRICS, OWNED, metric_names


@dataclass(frozen=True, kw_only=True)
class MetricOptions(Options):
    """What is measured on responses."""

    metrics: str | None = option(
        None,
        f"by comma: {', '.join(METRICS)}; or the sets paper (the six) and lexical. Default: {', '.join(DEFAULT)} "
        "for evaluate --predictions, else none",
    )
    bertscore_model: str | None = option(None, "encoder, hub name or folder; default: roberta-large")
    bertscore_layer: int | None = option(
        None, "its layer, needed for a folder; default: as bert-score has for the name"
    )
    bertscore_rescaled: bool = option(False, "rescale BERTScore by the English baseline of its encoder")
    toxicity_model: str | None = option(
        None, "text classifier, hub name or folder; default: facebook/roberta-hate-speech-dynabench-r4-target"
    )
    toxicity_label: str = option("hate", "its label whose probability is the toxicity")
    nltk_data: str | None = option(None, "folder of nltk data for METEOR; default: where nltk and Debian have them")
    tokenizer: str | None = option(
        None, "hub name or folder: length and length_ratio count its tokens; default: the model's, else words (13a)"
    )
    rouge_mid_seed: int | None = option(
        None, "also ROUGE as the `evaluate` library has it, with this seed: median of bootstrap means; default: not"
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
