"""The table of estimators: what each declares, how one is added, and that docs/partition.md lists them all."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch

from valuefree.errors import ConfigError
from valuefree.objectives import RPO
from valuefree.partition import ESTIMATORS, Estimator, PartitionSettings, fit_partition, partition_values, register
from valuefree.partition.estimators import Input

PAGE = Path(__file__).parents[2] / "docs" / "partition.md"


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


PROMPT_OF = torch.arange(36) % 12
INPUTS = {
    "reference_logps": -random(36, seed=1).abs() - 1.5,
    "reference_samples": {"reference_rewards": random(24, seed=2), "reference_prompt_of": torch.arange(24) % 12},
    "features": random(12, 3, seed=3),
    "on_policy": False,
}
OTHER = {
    "reference_logps": -random(36, seed=4).abs() - 1.5,
    "reference_samples": {"reference_rewards": random(24, seed=5), "reference_prompt_of": torch.arange(24) % 12},
    "features": random(12, 3, seed=6),
    "on_policy": True,
}


def values(estimator: str, inputs: dict, *, samples: bool) -> torch.Tensor:
    more = inputs["reference_samples"] if samples else {}
    known = {"features": inputs["features"], "on_policy": inputs["on_policy"]}
    scores = inputs["reference_logps"]
    rewards = random(36, seed=0) + INPUTS["features"][PROMPT_OF, 0]
    return partition_values(rewards, scores, PROMPT_OF, tau=1.0, estimator=estimator, **known, **more)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", get_args(Input))
def test_an_estimator_reads_the_inputs_that_it_declares_and_no_others(estimator, name):
    """Where samples of the reference are given, they take the place of the responses: whether these are on-policy
    does not matter then. `quantile` uses only the number of samples, which stays, and so its values are compared to
    those without samples."""
    if name == "reference_samples":
        if name not in ESTIMATORS[estimator].reads:
            with pytest.raises(ConfigError, match="not read by"):
                values(estimator, INPUTS, samples=True)
            return
        before, after = values(estimator, INPUTS, samples=False), values(estimator, INPUTS, samples=True)
    else:
        before = values(estimator, INPUTS, samples=False)
        after = values(estimator, INPUTS | {name: OTHER[name]}, samples=False)
    assert torch.equal(before, after) == (name not in ESTIMATORS[estimator].reads)


def test_a_name_stands_for_one_class():
    assert [rule.name for rule in ESTIMATORS.values()] == list(ESTIMATORS)
    assert len({type(rule) for rule in ESTIMATORS.values()}) == len(ESTIMATORS)


def test_the_docs_list_every_estimator_with_its_summary():
    lines = PAGE.read_text(encoding="utf-8").split("## Estimators")[1].split("\n\n")[1].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[:2] for row in rows[:-1]] == [[f"`{name}`", rule.summary] for name, rule in ESTIMATORS.items()]
    assert rows[-1][0] == "`learned` (in `RPO`)"


@pytest.fixture
def _as_before() -> Iterator[None]:
    before = dict(ESTIMATORS)
    yield
    ESTIMATORS.clear()
    ESTIMATORS.update(before)


@pytest.mark.usefixtures("_as_before")
def test_one_class_adds_an_estimator():
    """The smallest reward of a prompt, from features of which it needs none: settings, report and RPO know it."""

    @register
    class Smallest(Estimator):
        name = "smallest"
        summary = "the smallest reward"
        reads = frozenset({"features"})
        allows_token_means = False

        def __call__(self, data, *, tau, on_policy):
            return torch.stack([data.rewards_R[data.prompt_of_R == prompt].min() for prompt in range(data.prompts)])

        def warnings(self, report):
            return [f"smallest of {report.rows} rows"]

    data = ([1.0, 3.0, 5.0, 4.0], [-1.0] * 4, [0, 0, 1, 1])
    assert partition_values(*data, tau=1.0, estimator="smallest").tolist() == [1.0, 4.0]
    objective = RPO(tau=1.0, level=1.0, estimator="smallest")
    settings = PartitionSettings(**objective.partition())
    assert settings.needs_features
    partition = fit_partition(*data, settings)
    assert partition.values_P.tolist() == [1.0, 4.0]
    assert "V̂ by estimator smallest: the smallest reward." in str(partition.report)
    assert "smallest of 4 rows" in partition.report.warnings
    with pytest.raises(ConfigError, match="needs probabilities of responses"):
        PartitionSettings(tau=1.0, estimator="smallest", length_normalize=True)
    with pytest.raises(ConfigError, match=r"choose from reference, .*, zero, smallest"):
        PartitionSettings(tau=1.0, estimator="smalest")
