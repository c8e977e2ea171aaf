"""Read a recipe: YAML of keys and values, without what can grow without bound or means two things."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from valuefree.errors import ConfigError, DataError
from valuefree.runs.files import read_text

CHARACTERS = 1_000_000  # of a recipe; the longest that the package writes has a few thousand
FAULTS = (yaml.YAMLError, ValueError, RecursionError, ArithmeticError)  # that PyYAML raises


class _Loader(yaml.SafeLoader):
    """The safe loader, without aliases and without keys that are given twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            where = self.peek_event().start_mark
            raise yaml.YAMLError(f"line {where.line + 1}: an alias (*name); write the value itself")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in seen:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: the key {key.value[:60]!r} is given twice")
            seen |= {key.value} if isinstance(key.value, str) else set()
        return super().construct_mapping(node, deep)


def read_recipe(file: str) -> dict[str, Any]:
    """A YAML recipe as a mapping.

    Raises:
        ConfigError: it cannot be read; what is wrong, and where.
    """
    try:
        text = read_text(Path(file))
        if len(text) > CHARACTERS:
            raise ValueError(f"it has {len(text):,} characters; expected at most {CHARACTERS:,}")
        recipe = yaml.load(text, _Loader)
    except RecursionError:
        raise ConfigError(f"could not read the recipe {file}: its values are nested too deeply.") from None
    except (OSError, DataError, *FAULTS) as error:
        raise ConfigError(f"could not read the recipe {file}: {error}") from error
    if recipe is None:
        return {}
    if not isinstance(recipe, dict):
        raise ConfigError(f"the recipe {file} holds {type(recipe).__name__}; expected keys and values.")
    # YAML 1.1 takes the key `on` for true.
    return {"on" if name is True else str(name): value for name, value in recipe.items()}
