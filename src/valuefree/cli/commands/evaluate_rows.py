"""``valuefree evaluate --rows``: what logged responses and their rewards say of one model, or of several."""

from itertools import combinations
from pathlib import Path
from typing import Any

import datasets
import torch
from torch import nn

from valuefree.batches.rendering import Limits
from valuefree.cli.commands.from_options import load, load_on_device
from valuefree.cli.commands.measure import output_of
from valuefree.cli.options.evaluate import EvaluateConfig
from valuefree.cli.output import bars
from valuefree.data import DataSummary, read_with_summary
from valuefree.data.seen_prompts import SeenPrompts
from valuefree.data.triplets import prompts_of
from valuefree.errors import ConfigError
from valuefree.evaluation.held_out.assessment import Assessment, assessment_of
from valuefree.evaluation.held_out.comparison import Comparison, compare
from valuefree.evaluation.held_out.logged_responses import LoggedResponses, Origin
from valuefree.evaluation.held_out.rows import LoggedRows
from valuefree.models.adapters import has_adapter
from valuefree.models.load import model_of_run
from valuefree.models.logprobs import patch_forward
from valuefree.report import read_report, write_report
from valuefree.runs.files import read_json, write_json
from valuefree.runs.manifest import fingerprint, manifest
from valuefree.runs.run_folder import MANIFEST
from valuefree.training.preparation import Scorer
from valuefree.training.scored_dataset import collator_for


def read_rows(options: EvaluateConfig) -> tuple[datasets.Dataset, DataSummary]:
    """The rows of --rows, and their counts."""
    columns: dict[str, Any] = {"prompt": options.prompt, "response": options.response, "reward": options.reward}
    columns |= {"from_": options.from_, "score_name": options.score_name, "categories": options.categories}
    return read_with_summary(options.rows, **columns, thumbs=options.thumbs, on_bad=options.on_bad)


def evaluate_rows(options: EvaluateConfig) -> tuple[list[str], Path]:
    """Measure every model on the rows, and compare each two; write metrics.json and the report.

    Returns: the findings in words, and the folder.

    Raises:
        ConfigError: a model without an adapter whose reference is not known.
    """
    output = output_of(options)
    dataset, summary = read_rows(options)
    found = [str(summary)]
    names = _distinct(options.model)
    rows, origins, assessments = {}, {}, {}
    for name, model in names.items():
        rows[name], origins[name], seen = _measured(options, model, dataset)
        assessments[name] = assessment_of(rows[name], origins[name], seed=options.seed)
        found += [f"\n{name}: {seen}", *filter(None, [origins[name].sentence()])]
        found += assessments[name].learned.sentences()
    comparisons = {}
    for first, second in combinations(names, 2):
        comparisons[first, second] = compare(
            rows[first], rows[second], sampled=origins[first].sampled or origins[second].sampled, seed=options.seed
        )
        found.append("\n" + comparisons[first, second].sentence(first, second))
    record = manifest("evaluate", options.to_dict(), given=options.given(), fingerprint=_fingerprint(dataset))
    output.open()
    write_json(output.path / MANIFEST, record)
    write_json(output.path / "metrics.json", _metrics(summary, assessments, comparisons))
    write_report(read_report([output.path]), output.path)
    output.close()
    return found, output.path


def _metrics(
    summary: DataSummary, assessments: dict[str, Assessment], comparisons: dict[tuple[str, str], Comparison]
) -> dict[str, Any]:
    return {
        "notes": [str(summary)],
        "logged": {name: found.to_dict() for name, found in assessments.items()},
        "comparisons": [
            {"first": first, "second": second, "sentence": found.sentence(first, second), **found.to_dict()}
            for (first, second), found in comparisons.items()
        ],
    }


def _distinct(models: tuple[str, ...]) -> dict[str, str]:
    """Models by name; that of a run is the last part of its path where these are unique."""
    short = [Path(model).resolve().name if model_of_run(model) != model else model for model in models]
    return dict(zip(short if len(set(short)) == len(models) else models, models, strict=True))


def _measured(options: EvaluateConfig, name: str, dataset: datasets.Dataset) -> tuple[LoggedRows, Origin, str]:
    """The rows as one model sees them, who wrote them, and how many of their prompts it was trained on, in words."""
    policy, tokenizer = load_on_device(options, name)
    reference = _reference(options, name, policy)
    base = policy if reference is None else reference
    scorer = Scorer(
        base,
        tokenizer,
        collator_for(policy, tokenizer),
        device=next(policy.parameters()).device,
        limits=Limits(options.max_length, None, options.max_response_length),
        cache_dir=options.cache_dir,
        progress=bars(),
    )
    with torch.no_grad():
        responses = LoggedResponses.prepare(dataset, scorer)
        origin = Origin.of(responses)
        if origin.scorer is not scorer:
            responses = LoggedResponses.prepare(dataset, origin.scorer)
        rows = responses.rows(policy)
    known = SeenPrompts.of_model(model_of_run(name))
    if known is None:
        return rows, origin, "nothing says whether it was trained on these prompts."
    counts = known.among(prompts_of(dataset))
    if not counts["trained"]:
        return rows, origin, "it was trained on none of these prompts."
    return (
        rows,
        origin,
        f"{counts['trained']} of {counts['prompts']} prompts were trained on; what follows is optimistic.",
    )


def _reference(options: EvaluateConfig, name: str, policy: nn.Module) -> nn.Module | None:
    """The model to compare with; None for the policy with its adapter off."""
    if options.reference is None and has_adapter(policy):
        return None
    reference = options.reference or _base_of_run(model_of_run(name))
    if reference is None:
        raise ConfigError(f"{name} has no adapter, and no manifest that names its base model; give it by --reference.")
    found = load(options, reference)[0]
    patch_forward(found)
    return found.to(next(policy.parameters()).device)


def _base_of_run(model: str) -> str | None:
    """The model that the run of this folder started from; None where there is no manifest."""
    file = Path(model).resolve().parent / MANIFEST
    return read_json(file)["config"]["model"] if file.exists() else None


def _fingerprint(rows: datasets.Dataset) -> str:
    return fingerprint({name: rows[name] for name in ("prompt", "response", "reward")})
