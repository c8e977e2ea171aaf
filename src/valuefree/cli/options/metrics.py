"""Options of the verbs that measure responses; no torch."""

from dataclasses import dataclass

from valuefree.cli.options.groups import Options, flags, option
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.registry import DEFAULT, METRICS, OWNED, MetricSettings, metric_names


@dataclass(frozen=True, kw_only=True)
class _MetricNames(Options):
    metrics: str | None = option(
        None,
        f"by comma: {', '.join(METRICS)}; or the sets paper (the six) and lexical. Default: {', '.join(DEFAULT)} "
        "for evaluate --predictions, else none",
    )


@dataclass(frozen=True, kw_only=True)
class MetricOptions(MetricSettings, _MetricNames):
    """Which metrics are measured on responses, and the options that they read."""

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
