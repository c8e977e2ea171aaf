"""``valuefree evaluate`` with metrics: of the responses in a file, or of those a model gives."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from valuefree.commands.objects import decoding_of, load_there, read_prompts
from valuefree.config import EvaluateConfig, MetricOptions
from valuefree.config.metrics import OWNED
from valuefree.data import read_triplets
from valuefree.data.rendering import Prompt
from valuefree.data.sources import rows_of
from valuefree.data.validation import prompt_key
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.metrics.base import Metric
from valuefree.evaluation.metrics.measure import TextMetrics
from valuefree.evaluation.metrics.table import write_metrics
from valuefree.evaluation.rewards import kl_to_reference, load_reward
from valuefree.evaluation.validation import best_responses, measure_policy
from valuefree.manifest import fingerprint, manifest, write_json
from valuefree.models import has_adapter

LIBRARIES = ("sacrebleu", "rouge-score", "nltk", "bert-score", "transformers")


@dataclass(frozen=True)
class Texts:
    """Columns of equal length; None for those that the file lacks, and for a text that is missing."""

    predictions: list[str | None]
    references: list[str | None] | None
    prompts: list[Prompt] | None


def text_metrics_of(options: MetricOptions, names: Sequence[str], reward_function: Any = None) -> TextMetrics | None:
    """What the options ask for, loaded; None where that is the KL alone, which is no metric of texts."""
    names = [name for name in names if name != "kl"]
    if not names:
        return None
    settings = {name: getattr(options, name) for name in OWNED if name != "tokenizer"}
    tokenizer = None
    if options.tokenizer is not None:
        try:
            tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
        except (OSError, ValueError) as error:
            raise ConfigError(f"could not load the tokenizer {options.tokenizer!r}: {error}") from error
    return TextMetrics(names, tokenizer=tokenizer, reward_function=reward_function, **settings)


def read_predictions(options: EvaluateConfig) -> Texts:
    """The file of --predictions; null or no value is a missing text, an empty text is a text.

    Raises:
        DataError: rows that cannot be read or hold no text, a column that no row has.
    """
    rows = list(rows_of(str(options.predictions), None))
    faults = [f"{row.where}: {row.fault}" for row in rows if row.fault]
    wanted = [options.prediction, *([options.reference_column] if options.needs_references() else [])]
    for row in rows:
        faults += [
            f"{row.where}: {name!r} is {type(row.values[name]).__name__}, expected text"
            for name in wanted
            if row.values.get(name) is not None and not isinstance(row.values[name], str)
        ]
    if faults:
        raise DataError.from_faults(f"{len(faults)} faults in {options.predictions}:", faults, "Mend or remove them.")
    if not rows:
        raise DataError(f"{options.predictions} holds no rows.")
    has = {name for row in rows for name in row.values}
    flags = {options.prediction: "--prediction", options.reference_column: "--reference-column"}
    lacking = [name for name in wanted if name not in has]
    if lacking:
        raise DataError(
            f"{options.predictions} has no column {' nor '.join(map(repr, lacking))}; it has "
            f"{', '.join(sorted(has))}. Name it by {' and '.join(flags[name] for name in lacking)}."
        )
    column: dict[str, list[Any]] = {name: [row.values.get(name) for row in rows] for name in (*wanted, options.prompt)}
    prompts = column[options.prompt] if options.prompt in has else None
    if prompts is not None and not all(prompts):
        first = next(row.where for row in rows if not row.values.get(options.prompt))
        raise DataError(f"{first}: no {options.prompt!r}, which other rows have; give it for all rows or for none.")
    if prompts is None and (options.reward_function or "prompt" in options.changed()):
        raise DataError(f"{options.predictions} has no column {options.prompt!r}; name that of the prompt by --prompt.")
    return Texts(column[options.prediction], column.get(options.reference_column), prompts)


def read_references(options: EvaluateConfig) -> tuple[list[Prompt], list[str] | None]:
    """Distinct prompts, and a reference each if a metric compares with them.

    Raises:
        DataError: a prompt without a reference, or with several.
    """
    source = str(options.prompts)
    if not options.needs_references():
        return read_prompts(source, options.prompt), None
    if options.references == "best":
        rows = read_triplets(source, prompt=options.prompt, response=options.response, reward=options.reward)
        return best_responses(rows)
    advice = "Give a column by --reference-column, or take the best of rewarded responses by --references best."
    if source.endswith(".txt"):
        raise DataError(f"{source} has lines of prompts, and no references. {advice}")
    found: dict[str, tuple[Prompt, str]] = {}
    faults = []
    for row in rows_of(source, None):
        prompt, text = row.values.get(options.prompt), row.values.get(options.reference_column)
        if row.fault or not prompt or not isinstance(text, str):
            lacks = options.reference_column if prompt else options.prompt
            faults.append(f"{row.where}: {row.fault or f'no text in {lacks!r}'}")
        elif found.setdefault(prompt_key(prompt), (prompt, text))[1] != text:
            faults.append(f"{row.where}: another reference for a prompt that has one")
    if faults:
        raise DataError.from_faults(f"{len(faults)} faults in {source}:", faults, advice)
    if not found:
        raise DataError(f"{source} holds no rows.")
    prompts, references = zip(*found.values(), strict=True)
    return list(prompts), list(references)


def measure(options: EvaluateConfig) -> tuple[dict[str, Metric], Path]:
    """Metrics of a file or of a model; writes manifest.json, metrics.json, .csv and .md, and what was sampled."""
    reward_function = load_reward(options.reward_function) if options.reward_function else None
    texts = text_metrics_of(options, options.measured(), reward_function)
    return (_of_model if options.predictions is None else _of_file)(options, texts)


def _of_file(options: EvaluateConfig, texts: TextMetrics | None) -> tuple[dict[str, Metric], Path]:
    given = read_predictions(options)
    assert texts is not None  # kl, the only metric that is not of texts, is refused by the options
    metrics = texts(given.predictions, given.references, prompts=given.prompts)
    columns = {"prediction": given.predictions, "reference": given.references or [], "prompt": given.prompts or []}
    return _write(options, metrics, columns)


def _of_model(options: EvaluateConfig, texts: TextMetrics | None) -> tuple[dict[str, Metric], Path]:
    prompts, references = read_references(options)
    policy, tokenizer = load_there(options)
    if "kl" in options.measured() and options.reference is None and not has_adapter(policy):
        raise ConfigError("metric kl needs --reference, the model to compare with: this model has no adapter.")
    decoding = decoding_of(options, options.seed)
    metrics: dict[str, Metric] = {}
    rows: list[dict[str, Any]] = []
    if texts is not None:
        if options.tokenizer is None:
            texts.count_tokens_of(tokenizer)
        samples = options.samples_per_prompt
        asked = (policy, tokenizer, prompts, references, decoding, texts)
        metrics, rows = measure_policy(*asked, samples=samples, progress=True)
    if "kl" in options.measured():
        reference = load_there(replace(options, model=options.reference))[0] if options.reference else None
        found = kl_to_reference(policy, tokenizer, prompts[: options.kl_prompts], reference, decoding)
        metrics["kl"] = Metric("kl", found.value, found.interval, found.n, 0, found.n)
    columns = {"prompt": prompts, "reference": references or []}
    return _write(options, metrics, columns, rows)


def _write(
    options: EvaluateConfig,
    metrics: dict[str, Metric],
    columns: Mapping[str, Sequence[Any]],
    rows: Sequence[Mapping[str, Any]] = (),
) -> tuple[dict[str, Metric], Path]:
    folder = Path(options.out)
    record = manifest(
        "evaluate", options.to_dict(), fingerprint=fingerprint(columns), libraries={n: _version(n) for n in LIBRARIES}
    )
    write_json(folder / "manifest.json", record)
    write_metrics(folder, metrics)
    if rows:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "predictions.jsonl").write_text("".join(lines), encoding="utf-8")
    return metrics, folder


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
