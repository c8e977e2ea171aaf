"""``valuefree inspect``: what the data and the settings will do, before anything is trained."""

from valuefree.cli import show
from valuefree.cli.commands.from_options import objective_of, read, reference_samples_of
from valuefree.cli.commands.score import score_rows
from valuefree.cli.options.inspect import InspectConfig
from valuefree.data import DataSummary, RewardScaler
from valuefree.errors import ConfigError
from valuefree.partition import PartitionReport, partition_report
from valuefree.training.preparation import partition_inputs, partition_settings, training_rows


def inspect(options: InspectConfig) -> tuple[DataSummary, PartitionReport]:
    """Read, score and report; trains nothing."""
    rows, summary = read(options)
    objective = objective_of(options)
    found = training_rows(rows, objective, RewardScaler.fit(rows["reward"]), reference_samples_of(options))
    settings = partition_settings(objective.resolve(found), found)
    if settings is None:
        raise ConfigError(f"objective {options.objective} has no partition to inspect.")
    table, scores, features = score_rows(rows, options, features=settings.needs_features)
    given = partition_inputs(table, found, scores, settings)
    return summary, partition_report(**given, features=features, **settings.knobs())


def command(options: InspectConfig) -> None:
    """Print the counts of the data and the report of the partition."""
    _, report = inspect(options)
    rows = [(f"target, {q:.0%} quantile", f"{value:+.3f} nats") for q, value in report.target_quantiles.items()]
    show.table(f"Partition, estimator {report.settings.estimator}, tau {report.settings.tau:.3g}", rows)
    print(report)
