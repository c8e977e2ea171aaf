"""``valuefree inspect``: what the data and the settings will do, before anything is trained."""

from valuefree.cli import show
from valuefree.cli.commands.from_options import objective_of, read, reference_samples_of
from valuefree.cli.commands.score import scorer_of
from valuefree.cli.options.inspect import InspectConfig
from valuefree.cli.output import Result
from valuefree.data import DataSummary, RewardScaler
from valuefree.errors import ConfigError
from valuefree.models.authorship import Authorship
from valuefree.partition import PartitionReport
from valuefree.training.preparation import partition_settings, prepare
from valuefree.training.training_rows import training_rows


def inspect(options: InspectConfig) -> tuple[DataSummary, PartitionReport, Authorship | None]:
    """Read, score and estimate as training does; trains nothing."""
    dataset, summary = read(options)
    objective = objective_of(options)
    rows = training_rows(dataset, objective, RewardScaler.fit(dataset["reward"]), reference_samples_of(options))
    objective = objective.resolve(rows)
    partition_settings(objective, rows)  # raises now what is wrong with them
    scored = prepare(dataset, rows, objective, scorer_of(options))
    if scored.report is None:
        raise ConfigError(f"objective {options.objective} has no partition to inspect.")
    return summary, scored.report, scored.authorship


def command(options: InspectConfig) -> Result:
    """Print who wrote the responses, and the report of the partition."""
    summary, report, authorship = inspect(options)
    if authorship is not None:
        show.table("Who wrote the responses?", authorship.table())
        print(authorship.sentence())
    rows = [(f"target, {q:.0%} quantile", f"{value:+.3f} nats") for q, value in report.target_quantiles.items()]
    show.table(f"Partition, estimator {report.settings.estimator}, tau {report.settings.tau:.3g}", rows)
    values = {
        "data": summary.to_dict(),
        "authorship": authorship.to_dict() if authorship is not None else None,
        "partition": report.to_dict(),
    }
    return Result(str(report), values)
