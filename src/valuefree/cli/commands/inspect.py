"""``valuefree inspect``: what the data and the settings will do, before anything is trained."""

from valuefree.cli import show
from valuefree.cli.commands.from_options import objective_of, reference_samples_of
from valuefree.cli.commands.rendered import read
from valuefree.cli.commands.score import scorer_of
from valuefree.cli.options.inspect import InspectConfig
from valuefree.cli.output import Result
from valuefree.data import DataSummary, RewardScaler
from valuefree.errors import ConfigError
from valuefree.partition import PartitionReport
from valuefree.training.preparation import partition_settings, prepare
from valuefree.training.scored_dataset import ScoredDataset
from valuefree.training.training_rows import training_rows

# What the terms of the two tables mean.
AUTHORSHIP_TERMS = """\
  temperature          the sampling temperature at which this model would write such responses, with its interval
  surprise − entropy   z of 0: the tokens are as surprising to the model as its own samples; above 3: more surprising
  top-1 hits           share of the tokens that are the most probable ones of the model
  p of both tests      probability of differences this large if the model wrote the responses
  tokens beyond …      tokens outside the bound of sampling (top-k, top-p), and how many to expect without a bound
  largest rank, mass   rank of the least probable token, and the probability of all tokens above it"""
PARTITION_TERMS = """\
  target    (reward − V̂)/τ: the log-ratio of policy and reference that training aims at, in nats
  V̂         estimate of the reward to be expected for a prompt, before training
  tau (τ)   reward per nat, in standard deviations of the reward: the smaller, the further the policy moves
  level     strength of the prior on V̂, in pseudo-responses; 0 compares only the responses to one prompt"""


def inspect(options: InspectConfig) -> tuple[DataSummary, ScoredDataset, PartitionReport]:
    """Read, score and estimate as training does; trains nothing."""
    dataset, summary = read(options)
    objective = objective_of(options)
    rows = training_rows(dataset, objective, RewardScaler.fit(dataset["reward"]), reference_samples_of(options))
    objective = objective.resolve(rows)
    partition_settings(objective, rows)  # raises now what is wrong with them
    scored = prepare(dataset, rows, objective, scorer_of(options))
    if scored.report is None:
        raise ConfigError(f"objective {options.objective} has no partition to inspect.")
    return summary, scored, scored.report


def command(options: InspectConfig) -> Result:
    """Print who wrote the responses, and the report of the partition."""
    summary, scored, report = inspect(options)
    authorship, texts = scored.authorship, scored.truncation
    if authorship is not None:
        show.table("Who wrote the responses?", authorship.table())
        print(AUTHORSHIP_TERMS, authorship.sentence(), sep="\n")
    print(f"special tokens: {texts.spelled} of {texts.rows} rows spell one in their texts, where it is read as text")
    rows = [(f"target, {q:.0%} quantile", f"{value:+.3f} nats") for q, value in report.target_quantiles.items()]
    show.table(f"Partition, estimator {report.settings.estimator}, tau {report.settings.tau:.3g}", rows)
    print(PARTITION_TERMS)
    values = {
        "data": summary.to_dict() | {"rows_that_spell_special_tokens": texts.spelled},
        "authorship": authorship.to_dict() if authorship is not None else None,
        "partition": report.to_dict(),
    }
    return Result(str(report), values)
