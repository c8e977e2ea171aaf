"""Options of the verbs that measure responses; no torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from valuefree.cli.options.groups import Options, flags, option
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.registry import METRICS, OWNED, MetricSettings, metric_names


def metrics_option(names: Iterable[str] = METRICS, *, otherwise: str = "none") -> Any:
    """The field ``metrics`` of a verb that measures these metrics; otherwise: what it measures without."""
    return option(
        None,
        f"metrics to measure, by comma: {', '.join(names)}; or the sets paper (the six) and lexical",
        otherwise=otherwise,
        group="evaluation",
    )


@dataclass(frozen=True, kw_only=True)
class _MetricNames(Options):
    group: ClassVar[str] = "evaluation"
    metrics: str | None = metrics_option()


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
