"""``valuefree evaluate``: measure responses, or compare a policy with its reference; torch only where a model runs."""

from valuefree.cli import show
from valuefree.cli.commands.closing import values_of
from valuefree.cli.commands.measure import measure_file, read_predictions
from valuefree.cli.options.evaluate import EvaluateConfig
from valuefree.cli.output import Result
from valuefree.evaluation.metrics.table import HEADER, notes_of, table_rows
from valuefree.report.gains import verdict


def command(options: EvaluateConfig) -> Result | None:
    """Run ``valuefree evaluate``, and end in its findings."""
    if options.dry_run:
        show.settings(options, _what_is_read(options))
        return None
    if options.measured():
        return _measure(options)
    if options.rows is not None:
        from valuefree.cli.commands.evaluate_rows import evaluate_rows

        found, folder = evaluate_rows(options)
    else:
        from valuefree.cli.commands.evaluate_policy import evaluate_policy

        evaluation, folder = evaluate_policy(options)
        show.evaluation(evaluation)
        found = [verdict(evaluation.to_dict())]
    return Result("\n".join([*found, f"report: {folder / 'report.html'}"]), values_of(folder))


def _measure(options: EvaluateConfig) -> Result:
    if options.predictions is not None:
        metrics, folder = measure_file(options)
    else:
        from valuefree.cli.commands.measure_model import measure_model

        metrics, folder = measure_model(options)
    shown = show.table_text("Metrics (95 % intervals over prompts)", table_rows(metrics), HEADER)
    written = f"written: {folder / 'metrics.json'}, metrics.csv, metrics.md"
    return Result("\n".join([shown, *notes_of(metrics), written]), values_of(folder))


def _what_is_read(options: EvaluateConfig) -> str:
    if options.rows is not None:
        from valuefree.cli.commands.evaluate_rows import read_rows

        return f"{len(read_rows(options)[0])} responses to measure on"
    if options.predictions is not None:
        found = f"{len(read_predictions(options).predictions)} predictions"
    else:
        from valuefree.cli.commands.measure_model import read_references

        prompts, references = read_references(options)
        found = f"{len(prompts)} prompts"
        if options.measured():
            found += f", {len(references or ())} references"
    return f"{found}\nmetrics: {', '.join(options.measured())}" if options.measured() else found
