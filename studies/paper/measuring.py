"""Text metrics of the cells' responses, kept per cell and settings, so that another choice costs no training."""

import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from studies.options import StudyPaperConfig
from studies.paper.cells import Cell, responses_of
from studies.paper.scales import Scale
from studies.paper.world import Setup, held_out_of
from studies.small.files import write_text
from valuefree.cli.commands.measure import text_metrics_of
from valuefree.evaluation.metrics.measure import TextMetrics
from valuefree.evaluation.metrics.registry import DEFAULT, OWNED
from valuefree.runs.manifest import fingerprint


def settings_key(options: StudyPaperConfig) -> str:
    """Of the options that metrics depend on."""
    chosen = {name: [getattr(options, name)] for name in (*OWNED, "metrics")}
    return fingerprint(chosen)[:8]


def metrics_file(cell: Cell, folder: Path, options: StudyPaperConfig) -> Path:
    """Where a cell's metrics are kept."""
    return cell.file(folder, "metrics", f"{settings_key(options)}.json")


@lru_cache(maxsize=1)
def _texts(options: StudyPaperConfig) -> TextMetrics:
    found = text_metrics_of(options, options.metric_list() or DEFAULT)
    if found is None:
        raise ValueError("no metric of texts is asked for")
    return found


def measure_cell(cell: Cell, setup: Setup, scale: Scale, options: StudyPaperConfig) -> None:
    """Write a cell's metrics against the best known answers."""
    held_out = held_out_of(setup, scale)
    answers = [row["response"] for row in responses_of(cell, setup.folder)]
    found = _texts(options)(answers, held_out.references, prompts=held_out.prompts)
    content = {name: asdict(metric) for name, metric in found.items()}
    write_text(metrics_file(cell, setup.folder, options), json.dumps(content, indent=1))
