"""The systems that ``valuefree judge`` compares: their outputs side by side, and metrics of each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from valuefree.cli.commands.measure import read_reference_texts, text_metrics_of
from valuefree.cli.options.judge import JudgeConfig
from valuefree.data.prompts import Prompt, as_text
from valuefree.data.validation import prompt_key
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.markdown import escape_marks
from valuefree.evaluation.metrics.base import Metric
from valuefree.evaluation.metrics.measure import TextMetrics
from valuefree.evaluation.metrics.registry import kind_of
from valuefree.evaluation.outputs import Aligned, align, read_outputs

Measured = dict[str, dict[str, Metric]]  # system → name of the metric → metric


def read_runs(options: JudgeConfig) -> list[Aligned]:
    """The systems' outputs side by side, once per run (seed).

    Raises:
        ConfigError: systems with different numbers of runs. DataError: see `valuefree.evaluation.outputs`.
    """
    columns = {"prompt": options.prompt, "response": options.response}
    systems = []
    for spec in options.systems:
        name, separator, files = spec.partition("=")
        if not separator or Path(spec).exists():
            name, files = "", spec
        systems.append([read_outputs(file, name=name or None, **columns) for file in files.split(",")])
    runs = max(len(system) for system in systems)
    uneven = [system[0].name for system in systems if len(system) not in (1, runs)]
    if uneven:
        raise ConfigError(f"{', '.join(uneven)}: expected one file or {runs}, as many as another system has runs.")
    if options.arena and runs > 1:
        raise ConfigError(f"--arena ranks single runs; got {runs} files for a system. Run it once per run.")
    return [
        align([system[run if len(system) > 1 else 0] for system in systems], common=options.common)
        for run in range(runs)
    ]


def metrics_of(options: JudgeConfig) -> TextMetrics | None:
    """The metrics of --metrics, loaded; None without that option."""
    names = options.metric_list()
    return text_metrics_of(options, names) if names else None


def measure_systems(options: JudgeConfig, texts: TextMetrics, run: Aligned) -> Measured:
    """The metrics of each system against the same references."""
    references = None
    if any(kind_of(name).needs == "reference" for name in options.metric_list()):
        references = references_of(options, run.prompts)
    return {name: texts(answers, references, prompts=run.prompts) for name, answers in run.responses.items()}


def references_of(options: JudgeConfig, prompts: Sequence[Prompt]) -> list[str]:
    """The reference text of each prompt, from the file of --references.

    Raises:
        DataError: prompts without a reference, or with two.
    """
    advice = "Name the column of the text by --reference-column, that of the prompt by --prompt, or fix the rows."
    found = read_reference_texts(
        str(options.references), options.prompt, options.reference_column, advice=advice, key=_key
    )
    lacking = [prompt for prompt in prompts if _key(prompt) not in found]
    if lacking:
        raise DataError(
            f"{len(lacking)} of the systems' prompts have no reference in {options.references}, such as "
            f"{as_text(lacking[0])[:60]!r}. {advice}"
        )
    return [found[_key(prompt)][1] for prompt in prompts]


def _key(prompt: Prompt) -> str:
    """The key of a prompt as text: one file may hold messages where another holds their text."""
    return prompt_key(as_text(prompt))


def metrics_table(runs: Sequence[Measured]) -> str:
    """Systems by metrics as Markdown, laid out as the paper's Table II; several runs as mean ± standard deviation."""
    systems = list(runs[0])
    names = list(runs[0][systems[0]])
    lines = [["system", *names], ["---"] * (len(names) + 1)]
    lines += [
        [escape_marks(system), *(_cell([run[system][name] for run in runs]) for name in names)] for system in systems
    ]
    note = "One run: value [95 % interval over prompts] (n)."
    if len(runs) > 1:
        note = f"Mean ± standard deviation over {len(runs)} runs (n each)."
    better = [f"{name} {kind_of(name).better}" for name in names if kind_of(name).better]
    note += f" Better: {', '.join(better)}." if better else ""
    notes = [f"- {said}" for said in _notes(runs)]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", note, *([""] if notes else []), *notes])


def _notes(runs: Sequence[Measured]) -> list[str]:
    """Notes on single metrics, each with the systems (and runs) it concerns; then signatures."""
    about: dict[str, list[str]] = {}
    signatures: dict[str, None] = {}
    for number, run in enumerate(runs):
        for system, metrics in run.items():
            whose = f"{system}, run {number}" if len(runs) > 1 else system
            for metric in metrics.values():
                if metric.note:
                    about.setdefault(f"{metric.name}: {metric.note}", []).append(whose)
                if metric.signature:
                    signatures[f"{metric.name}: {metric.signature}"] = None
    return [f"{note} ({'; '.join(whose)})" for note, whose in about.items()] + list(signatures)


def _cell(metrics: Sequence[Metric]) -> str:
    values = [metric.value for metric in metrics if metric.value is not None]
    if not values:
        return "–"
    first = metrics[0]
    unscored = f", {first.unscored} unscored" if first.unscored else ""
    if len(metrics) > 1:
        return f"{np.mean(values):.4g} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.2g} ({first.n}{unscored})"
    if first.interval is None:
        return f"{values[0]:.4g} ({first.n}{unscored})"
    return f"{values[0]:.4g} [{first.interval[0]:.4g}, {first.interval[1]:.4g}] ({first.n}{unscored})"
