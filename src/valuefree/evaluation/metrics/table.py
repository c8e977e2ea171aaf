"""Metrics as JSON, CSV, Markdown and rows of a table. No torch."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valuefree.evaluation.markdown import markdown_table
from valuefree.evaluation.metrics.base import Metric
from valuefree.evaluation.metrics.registry import kind_of
from valuefree.runs.files import write_json, write_text

HEADER = ("metric", "value", "95 % interval", "n", "prompts", "unscored", "better")
FIELDS = ("metric", "value", "low", "high", "n", "prompts", "unscored", "better", "signature", "note")


def table_rows(metrics: Mapping[str, Metric]) -> list[tuple[str, ...]]:
    """One row per metric under `HEADER`."""
    return [
        (
            metric.name,
            "–" if metric.value is None else f"{metric.value:.4g}",
            f"[{metric.interval[0]:.4g}, {metric.interval[1]:.4g}]" if metric.interval else "–",
            str(metric.n),
            str(metric.prompts),
            str(metric.unscored),
            kind_of(metric.name).better or "–",
        )
        for metric in metrics.values()
    ]


def notes_of(metrics: Mapping[str, Metric]) -> list[str]:
    """The notes of all metrics, then their signatures."""
    notes = [f"{metric.name}: {metric.note}" for metric in metrics.values() if metric.note]
    return notes + [f"{metric.name}: {metric.signature}" for metric in metrics.values() if metric.signature]


def as_markdown(metrics: Mapping[str, Metric]) -> str:
    """A table, and the notes as a list."""
    notes = [f"- {note}" for note in notes_of(metrics)]
    return "\n".join([markdown_table(HEADER, table_rows(metrics)), *(["", *notes] if notes else [])]) + "\n"


def as_csv(metrics: Mapping[str, Metric]) -> str:
    """One row per metric, with unrounded numbers; missing values are empty fields."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(FIELDS)
    for metric in metrics.values():
        low, high = metric.interval or (None, None)
        better = kind_of(metric.name).better
        numbers = (metric.name, metric.value, low, high, metric.n, metric.prompts, metric.unscored)
        writer.writerow([*numbers, better, metric.signature, metric.note])
    return stream.getvalue()


def write_metrics(folder: Path, metrics: Mapping[str, Metric], **more: Any) -> None:
    """metrics.json (with `more`), metrics.csv and metrics.md in `folder`."""
    write_json(folder / "metrics.json", {**more, "metrics": {name: m.to_dict() for name, m in metrics.items()}})
    write_text(folder / "metrics.csv", as_csv(metrics))
    write_text(folder / "metrics.md", as_markdown(metrics))
