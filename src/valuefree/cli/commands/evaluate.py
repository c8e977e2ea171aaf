"""``valuefree evaluate``: measure responses, or compare a policy with its reference; torch only where a model runs."""

from valuefree.cli import show
from valuefree.cli.commands.measure import measure_file, read_predictions
from valuefree.cli.options.evaluate import EvaluateConfig
from valuefree.evaluation.metrics.table import HEADER, notes_of, table_rows


def command(options: EvaluateConfig) -> None:
    """Run ``valuefree evaluate`` and print its table."""
    if options.dry_run:
        show.settings(options)
        print(_what_is_read(options))
    elif options.rows is not None:
        from valuefree.cli.commands.evaluate_rows import evaluate_rows

        for text in evaluate_rows(options):
            print(text)
    elif options.measured():
        _measure(options)
    else:
        from valuefree.cli.commands.evaluate_policy import evaluate_policy

        evaluation, folder = evaluate_policy(options)
        show.evaluation(evaluation)
        print(f"report: {folder / 'report.html'}")


def _measure(options: EvaluateConfig) -> None:
    if options.predictions is not None:
        metrics, folder = measure_file(options)
    else:
        from valuefree.cli.commands.measure_model import measure_model

        metrics, folder = measure_model(options)
    show.table("Metrics (95 % intervals over prompts)", table_rows(metrics), HEADER)
    print("\n".join(notes_of(metrics)))
    print(f"written: {folder / 'metrics.json'}, metrics.csv, metrics.md")


def _what_is_read(options: EvaluateConfig) -> str:
    if options.rows is not None:
        from valuefree.cli.commands.evaluate_rows import read_rows

        return str(read_rows(options)[1])
    if options.predictions is not None:
        found = f"{len(read_predictions(options).predictions)} predictions"
    else:
        from valuefree.cli.commands.measure_model import read_references

        prompts, references = read_references(options)
        found = f"{len(prompts)} prompts"
        if options.measured():
            found += f", {len(references or ())} references"
    return f"{found}\nmetrics: {', '.join(options.measured())}" if options.measured() else found
