"""``valuefree evaluate DATA --metrics``: metrics of the responses that a model gives."""

from pathlib import Path
from typing import Any

from valuefree.cli.commands.from_options import decoding_of, load_on_device, read_prompts
from valuefree.cli.commands.measure import output_of, read_reference_texts, text_metrics_of, write_measured
from valuefree.cli.options.evaluate import EvaluateConfig
from valuefree.cli.output import bars
from valuefree.data import read_triplets
from valuefree.data.prompts import Prompt
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.kl import kl_to_reference
from valuefree.evaluation.metrics.base import Metric
from valuefree.evaluation.validation import best_responses, measure_policy
from valuefree.models.adapters import has_adapter


def read_references(options: EvaluateConfig) -> tuple[list[Prompt], list[str] | None]:
    """Distinct prompts, and a reference each if a metric compares with them.

    Raises:
        DataError: a column that the first row lacks; a prompt without a reference, or with several.
    """
    source = str(options.prompts)
    if not options.needs_references():
        return read_prompts(source, options.prompt), None
    if options.references == "best":
        rows = read_triplets(
            source,
            prompt=options.prompt,
            response=options.response,
            reward=options.reward,
            thumbs=options.thumbs,
            on_bad=options.on_bad,
        )
        return best_responses(rows)
    advice = "Give a column by --reference-column, or take the best of rewarded responses by --references best."
    if source.endswith(".txt"):
        raise DataError(f"{source} has lines of prompts, and no references. {advice}")
    found = read_reference_texts(source, options.prompt, options.reference_column, advice=advice)
    prompts, references = zip(*found.values(), strict=True)
    return list(prompts), list(references)


def measure_model(options: EvaluateConfig) -> tuple[dict[str, Metric], Path]:
    """Sample, then measure; writes manifest.json, metrics.json, .csv and .md, and predictions.jsonl."""
    output = output_of(options)
    texts = text_metrics_of(options, options.measured())
    prompts, references = read_references(options)
    policy, tokenizer = load_on_device(options, options.model[0])
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
        metrics, rows = measure_policy(*asked, samples=samples, progress=bars())
    if "kl" in options.measured():
        reference = load_on_device(options, options.reference)[0] if options.reference else None
        found = kl_to_reference(policy, tokenizer, prompts[: options.kl_prompts], reference, decoding)
        metrics["kl"] = Metric("kl", found.value, found.interval, found.n, 0, found.n)
    columns = {"prompt": prompts, "reference": references or []}
    return write_measured(output, options, metrics, columns, rows)
