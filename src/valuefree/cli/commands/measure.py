"""``valuefree evaluate --predictions``: metrics of the responses in a file. Only metrics that need torch import it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import chain, count
from pathlib import Path
from typing import Any

from valuefree.cli.options.evaluate import EvaluateConfig
from valuefree.cli.options.metrics import MetricOptions
from valuefree.data.faults import RowError
from valuefree.data.prompts import Prompt
from valuefree.data.sources import RawRow, rows_of
from valuefree.data.validation import prompt_key, prompt_of
from valuefree.errors import DataError, number_of
from valuefree.evaluation.metrics.base import Metric
from valuefree.evaluation.metrics.measure import TextMetrics
from valuefree.evaluation.metrics.registry import OWNED
from valuefree.evaluation.metrics.table import write_metrics
from valuefree.runs.files import write_json, write_jsonl
from valuefree.runs.manifest import fingerprint, manifest
from valuefree.runs.run_folder import MANIFEST, RunFolder

logger = logging.getLogger(__name__)

PREDICTION, RESPONSE = "prediction", "response"  # columns of responses, the first that a file has
LIBRARIES = ("sacrebleu", "rouge-score", "nltk", "bert-score", "transformers")


@dataclass(frozen=True)
class Texts:
    """Columns of equal length; None for those that the file lacks, and for a text that is missing."""

    predictions: list[str | None]
    references: list[str | None] | None
    prompts: list[Prompt] | None


def text_metrics_of(options: MetricOptions, names: Sequence[str]) -> TextMetrics | None:
    """The metrics of texts among `names`, loaded; None where there is none, as with kl alone."""
    names = [name for name in names if name != "kl"]
    if not names:
        return None
    settings = {name: getattr(options, name) for name in OWNED}
    if "reward" in names:
        from valuefree.evaluation.reward_functions import load_reward  # noqa: PLC0415  files are measured without torch

        settings["reward_function"] = load_reward(str(getattr(options, "reward_function", None)))
    return TextMetrics(names, **settings)


def read_reference_texts(
    source: str, prompt: str, reference: str, *, advice: str, key: Callable[[Prompt], str] = prompt_key
) -> dict[str, tuple[Prompt, str]]:
    """The prompts of a file with a reference text each, by `key`.

    Raises:
        DataError: a column that the first row lacks; a prompt without a reference, or with several; no rows.
    """
    found: dict[str, tuple[Prompt, str]] = {}
    faults = []
    for number, row in enumerate(rows_of(source, None)):
        absent = [name for name in (prompt, reference) if name not in row.values]
        if absent and number == 0 and not row.fault:
            there, lacks = ", ".join(row.values), " and no ".join(map(repr, absent))
            raise DataError(f"{row.where}: no column {lacks} (there are: {there}). {advice}")
        text_of_prompt, text = row.values.get(prompt), row.values.get(reference)
        if row.fault or not text_of_prompt or not isinstance(text, str):
            lacks = reference if text_of_prompt else prompt
            faults.append(f"{row.where}: {row.fault or f'no text in {lacks!r}'}")
        elif fault := _prompt_fault(row, prompt):
            faults.append(fault)
        elif found.setdefault(key(text_of_prompt), (text_of_prompt, text))[1] != text:
            faults.append(f"{row.where}: another reference for a prompt that has one")
    if faults:
        raise DataError.from_faults(f"{number_of(len(faults), 'fault')} in {source}:", faults, advice)
    if not found:
        raise DataError(f"{source} holds no rows.")
    return found


def _prompt_fault(row: RawRow, prompt: str) -> str | None:
    """Why the prompt of a row is neither text nor messages; None for one that is, and for a row without."""
    try:
        if row.values.get(prompt):
            prompt_of(row.values, prompt)
    except RowError as fault:
        return f"{row.where}: {fault}"
    return None


def read_predictions(options: EvaluateConfig) -> Texts:
    """The file of --predictions; null or no value is a missing text, an empty text is a text.

    Raises:
        DataError: rows that cannot be read or hold no text, a column that no row has.
    """
    rows = list(rows_of(str(options.predictions), None))
    faults = [f"{row.where}: {row.fault}" for row in rows if row.fault]
    prediction = options.prediction
    has = {name for row in rows for name in row.values}
    if prediction == PREDICTION and PREDICTION not in has and RESPONSE in has:
        prediction = RESPONSE  # as `valuefree generate` writes it
        logger.info("%s has no column %r; its column %r is measured", options.predictions, PREDICTION, RESPONSE)
    wanted = [prediction, *([options.reference_column] if options.needs_references() else [])]
    for row in rows:
        faults += [
            f"{row.where}: {name!r} is {type(row.values[name]).__name__}, expected text"
            for name in wanted
            if row.values.get(name) is not None and not isinstance(row.values[name], str)
        ]
        faults += filter(None, [_prompt_fault(row, options.prompt)])
    if faults:
        heading = f"{number_of(len(faults), 'fault')} in {options.predictions}:"
        raise DataError.from_faults(heading, faults, "Fix or remove them.")
    if not rows:
        raise DataError(f"{options.predictions} holds no rows.")
    flags = {prediction: "--prediction", options.reference_column: "--reference-column"}
    lacking = [name for name in wanted if name not in has]
    if lacking:
        where = " References are a column of the file of predictions." if lacking[-1] != prediction else ""
        raise DataError(
            f"{options.predictions} has no column {' nor '.join(map(repr, lacking))}; it has "
            f"{', '.join(sorted(has))}.{where} Name it by {' and '.join(flags[name] for name in lacking)}."
        )
    column: dict[str, list[Any]] = {name: [row.values.get(name) for row in rows] for name in (*wanted, options.prompt)}
    prompts = column[options.prompt] if options.prompt in has else None
    if prompts is not None and not all(prompts):
        first = next(row.where for row in rows if not row.values.get(options.prompt))
        raise DataError(f"{first}: no {options.prompt!r}, which other rows have; give it for all rows or for none.")
    if prompts is None and (options.reward_function or "prompt" in options.changed()):
        raise DataError(f"{options.predictions} has no column {options.prompt!r}; name that of the prompt by --prompt.")
    return Texts(column[prediction], column.get(options.reference_column), prompts)


def measure_file(options: EvaluateConfig) -> tuple[dict[str, Metric], Path]:
    """Metrics of the responses in a file; writes manifest.json and metrics.json, .csv and .md."""
    output = output_of(options)
    texts = text_metrics_of(options, options.measured())
    given = read_predictions(options)
    assert texts is not None  # kl, the only metric that is not of texts, is refused by the options
    metrics = texts(given.predictions, given.references, prompts=given.prompts)
    columns = {"prediction": given.predictions, "reference": given.references or [], "prompt": given.prompts or []}
    return write_measured(output, options, metrics, columns)


def output_of(options: EvaluateConfig) -> RunFolder:
    """The folder to write into; raises ConfigError if it holds a run that --overwrite may not or shall not remove."""
    output = RunFolder(options.out or _free_folder(options.overwrite), overwrite=options.overwrite)
    output.check_inputs([options.prompts, options.predictions, options.rows, *options.model, options.reference])
    return output


def _free_folder(overwrite: bool) -> Path:
    """The first folder of the default names that does not exist; the first name of all to overwrite what is there."""
    first = Path("outputs/evaluate")
    names = chain([first], (first.with_name(f"evaluate-{number}") for number in count(2)))
    return next(path for path in names if overwrite or not path.exists())


def write_measured(
    output: RunFolder,
    options: EvaluateConfig,
    metrics: dict[str, Metric],
    columns: Mapping[str, Sequence[Any]],
    rows: Sequence[Mapping[str, Any]] = (),
) -> tuple[dict[str, Metric], Path]:
    """Write what was measured on `columns`, and the `rows` that were sampled; the metrics and the folder."""
    folder = output.path
    record = manifest(
        "evaluate", options.to_dict(), fingerprint=fingerprint(columns), libraries={n: _version(n) for n in LIBRARIES}
    )
    output.open()
    write_json(folder / MANIFEST, record)
    write_metrics(folder, metrics)
    if rows:
        write_jsonl(folder / "predictions.jsonl", rows)
    output.close()
    return metrics, folder


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
