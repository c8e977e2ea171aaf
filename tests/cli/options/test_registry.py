"""What is read from the objectives' files is what the imported classes have; a wrong declaration names its line."""

import inspect
import pkgutil
import sys
from dataclasses import fields, replace
from importlib import import_module
from typing import get_args, get_type_hints

import pytest
import torch

import valuefree.objectives
from valuefree.cli.commands.from_options import objective_of
from valuefree.cli.options.objective import REWARD_MODEL, knobs_of, objectives_that_read, partitioned
from valuefree.cli.options.registry import declarations, read_declarations
from valuefree.cli.options.train import TrainConfig
from valuefree.cli.parse import kinds
from valuefree.errors import ConfigError
from valuefree.objectives import DRO, KTO, RPO, SFT, Objective, TrainingRows
from valuefree.objectives.rpo import spread
from valuefree.training.reward_model_trainer import RewardModelTrainer


def subclasses(kind):
    for item in kind.__subclasses__():
        yield item
        yield from subclasses(item)


def test_every_objective_of_the_package_is_declared():
    for module in pkgutil.iter_modules(valuefree.objectives.__path__):
        import_module(f"valuefree.objectives.{module.name}")
    public = {
        item
        for item in subclasses(Objective)
        if item.__module__.startswith("valuefree.objectives.") and item.__name__[0] != "_"
    }
    assert {item.load() for item in declarations().values()} == public
    assert next(iter(declarations())) == TrainConfig(data="x").objective == "rpo"


@pytest.mark.parametrize("name", declarations())
def test_the_declared_fields_are_those_of_the_dataclass(name):
    declared, kind = declarations()[name].knobs, declarations()[name].load()
    hints = get_type_hints(kind)
    assert list(declared) == [item.name for item in fields(kind)]
    for item in fields(kind):
        knob = declared[item.name]
        assert (knob.default, *knob[2:]) == (item.default, *item.metadata.values())
        assert (knob.kind, knob.default is None) == kinds(hints[item.name])
        assert (knob.default is None) == (knob.otherwise is not None), "say what None stands for"


@pytest.mark.parametrize("name", declarations())
def test_the_other_declared_facts_are_those_of_the_class(name):
    declared, kind = declarations()[name], declarations()[name].load()
    assert declared.columns == kind.columns
    assert (name in partitioned()) == (kind.partition is not Objective.partition)
    preset = getattr(kind, "preset", None)
    assert declared.presets == (get_args(get_type_hints(preset)["name"]) if preset else ())
    named = list(inspect.signature(preset).parameters.values())[1:] if preset else []
    assert declared.open == {parameter.name: parameter.default for parameter in named}
    for each in declared.presets:
        assert objective_of(TrainConfig(data="x", objective=name, preset=each)) == kind.preset(each)


def test_a_reward_model_has_the_pairs_of_dpo():
    (name, knob), *others = knobs_of(REWARD_MODEL).items()
    assert not others
    assert inspect.signature(RewardModelTrainer).parameters[name].default == knob.default


def test_columns_of_the_data_are_read_by_those_that_declare_them():
    assert objectives_that_read("pair_id") == ("dpo", "ipo", "slic")
    assert objectives_that_read("desirable") == ("kto",)


def test_a_field_that_is_none_behaves_as_its_help_says():
    rewards = torch.tensor([0.0, 1.0, 2.0, 5.0], dtype=torch.float64)
    rows = TrainingRows(rewards, rewards, torch.tensor([0, 0, 1, 1]))
    otherwise = {name: {k: v.otherwise for k, v in item.knobs.items()} for name, item in declarations().items()}
    resolved = RPO().resolve(rows)
    assert resolved.level == otherwise["rpo"]["level"]
    assert resolved.tau == spread(rewards, rows.prompt_of) / otherwise["rpo"]["target_std"]
    assert KTO().resolve(rows).threshold == rewards.mean()
    weighted = SFT(on="weighted")
    explicit = replace(weighted, tau=otherwise["sft"]["tau"]).precompute(rows)["weight"]
    assert torch.equal(weighted.precompute(rows)["weight"], explicit)
    assert DRO(tau=2.0).learning_rates(0.1)["value"] == RPO(estimator="learned").learning_rates(0.1)["value"] == 0.1


HEAD = "from valuefree.objectives.knob import knob\nTAU = 0.25\n\nclass New(Objective):\n"


def test_a_new_objective_is_one_file(tmp_path):
    file = tmp_path / "new.py"
    file.write_text(HEAD + '    tau: float = knob(TAU, "temperature")\n')
    (item,) = read_declarations(file)
    assert (item.name, item.module, item.class_name) == ("new", "new", "New")
    assert item.knobs["tau"][:3] == (float, 0.25, "temperature")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tau: float = 1.0", r"new.py, class New: line 5: expected tau = knob\(default, help\)"),
        ('tau: float = knob(compute(), "t")', r"line 5: compute\(\) is no literal"),
        ('tau: list = knob(None, "t")', "list: expected bool, float, int, str or Literal"),
    ],
)
def test_a_wrong_declaration_names_its_line(tmp_path, line, words):
    file = tmp_path / "new.py"
    file.write_text(f"{HEAD}    {line}\n")
    with pytest.raises(ConfigError, match=words):
        list(read_declarations(file))


def test_two_types_of_one_field_are_an_error(monkeypatch):
    kept = declarations()
    other = kept["nca"]._replace(name="other", knobs={"tau": kept["nca"].knobs["tau"]._replace(kind=str)})
    monkeypatch.setattr("valuefree.cli.options.registry.declarations", lambda: kept | {"other": other})
    monkeypatch.delitem(sys.modules, "valuefree.cli.options.objective")
    with pytest.raises(ConfigError, match="other declare tau with different types"):
        import_module("valuefree.cli.options.objective")
