"""Recipes that are no recipes end in one error, at once."""

import pytest

from valuefree.cli.parse import parse
from valuefree.cli.recipe_file import CHARACTERS, read_recipe
from valuefree.errors import ConfigError

BOMB = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9) if n else 1}]\n" for n in range(9))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "line 2: an alias"),
        ("a: &a [*a]", "line 1: an alias"),
        ("lr: 1\nmodel: m\nlr: 2\n", "line 3: the key 'lr' is given twice"),
        (f"lr: {'7' * 5000}\n", "4300 digits"),
        (f"lr: {'[' * 10_000}", "nested too deeply"),
        ("lr: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("lr: 2024-99-99", "month must be in 1..12"),
        ("lr: [", "could not read the recipe"),
        ("{a: 1, [b]: 2}", "unhashable"),
        ("#" * (CHARACTERS + 1), "expected at most 1,000,000"),
        ("- 1", "holds list"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path, text, words):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_recipe(str(tmp_path / "recipe.yaml"))


def test_a_recipe_is_a_mapping(tmp_path):
    (tmp_path / "recipe.yaml").write_text("on: reward\nlr: 1.0\nsystems: [a, b]\n")
    assert read_recipe(str(tmp_path / "recipe.yaml")) == {"on": "reward", "lr": 1.0, "systems": ["a", "b"]}
    (tmp_path / "recipe.yaml").write_text("")
    assert read_recipe(str(tmp_path / "recipe.yaml")) == {}


def test_inspect_takes_a_recipe_of_train(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("data: f.csv\ntau: 0.5\nepochs: 2\nlr: 1e-3\n")
    options = parse("inspect", ["--config", str(file)])
    assert (options.data, options.tau) == ("f.csv", 0.5)
    file.write_text("data: f.csv\nepoch: 2\n")
    with pytest.raises(ConfigError, match="unknown key 'epoch'"):
        parse("inspect", ["--config", str(file)])
    file.write_text("data: f.csv\nepochs: 2\n")
    with pytest.raises(ConfigError, match="unknown key 'epochs'"):
        parse("score", ["--config", str(file)])
