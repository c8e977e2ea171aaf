"""From arguments and YAML recipes to the options of a verb; no torch."""

import argparse
import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from valuefree.cli.options import VERBS, Options
from valuefree.errors import ConfigError

T = TypeVar("T", bound=Options)


def _kinds(annotation: Any) -> tuple[Any, bool]:
    """The type within ``X | None``, and whether None is allowed."""
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [kind for kind in get_args(annotation) if kind is not type(None)]
        return inner[0], True
    return annotation, False


def _value(name: str, annotation: Any, value: Any) -> Any:
    """`value` of a recipe as the type of its field."""
    kind, optional = _kinds(annotation)
    if value is None and optional:
        return None
    if get_origin(kind) is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_value(name, get_args(kind)[0], item) for item in items)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ConfigError(f"{name} is {value!r}; choose from {', '.join(map(str, get_args(kind)))}.")
        return value
    try:
        if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)  # YAML reads 1e-4 as text
    except ValueError:
        raise ConfigError(f"{name} is {value!r}; expected a number.") from None
    if type(value) is not kind:
        raise ConfigError(f"{name} is {value!r}; expected {kind.__name__}.")
    return value


def unknown(kind: str, name: str, known: Sequence[str]) -> ConfigError:
    """An error for a name that is not known, with the nearest that is."""
    near = difflib.get_close_matches(name, known, n=1)
    return ConfigError(f"unknown {kind} {name!r}" + (f"; did you mean {near[0]!r}?" if near else "."))


def from_mapping(config: type[T], values: Mapping[str, Any]) -> T:
    """The options from a mapping, checked.

    Raises:
        ConfigError: an unknown key, a value of another type, a missing or contradictory option.
    """
    hints = get_type_hints(config)
    known = {item.name: item for item in fields(config)}
    for name in values:
        if name not in known:
            raise unknown("key", name, list(known))
    missing = [name for name, item in known.items() if item.default is MISSING and name not in values]
    if missing:
        raise ConfigError(f"missing: {', '.join(missing)}.")
    return config(**{name: _value(name, hints[name], value) for name, value in values.items()})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving the process."""
        raise ConfigError(f"{message} ({self.prog} --help)")


def _add(parser: argparse.ArgumentParser, item: Field, annotation: Any, positional: bool) -> None:
    kind, _ = _kinds(annotation)
    text = item.metadata["help"]
    if item.default is not MISSING and item.default is not None and "default:" not in text:
        shown = " ".join(item.default) if isinstance(item.default, tuple) else item.default
        text += f" (default: {shown})"
    text = text.replace("%", "%%")
    several = get_origin(kind) is tuple
    if positional:
        parser.add_argument(item.name, nargs="*" if several else "?", default=argparse.SUPPRESS, help=text)
        return
    flag = "--" + item.name.replace("_", "-")
    if kind is bool:
        parser.add_argument(
            flag, dest=item.name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text
        )
        return
    if several:
        parser.add_argument(flag, dest=item.name, nargs="+", metavar="TEXT", default=argparse.SUPPRESS, help=text)
        return
    choices = get_args(kind) if get_origin(kind) is Literal else None
    metavar = None if choices else {int: "N", float: "X"}.get(kind, "TEXT")
    convert = str if choices else kind
    parser.add_argument(
        flag, dest=item.name, type=convert, choices=choices, metavar=metavar, default=argparse.SUPPRESS, help=text
    )


def make_parser(program: str, config: type[Options]) -> argparse.ArgumentParser:
    """The argument parser of a set of options; `program` stands in its help and messages."""
    parser = _Parser(prog=program, description=config.about, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="YAML recipe with these options as keys; flags override it")
    hints = get_type_hints(config)
    unflagged = [item for item in fields(config) if item.default is MISSING or "positional" in item.metadata]
    for item in fields(config):
        _add(parser, item, hints[item.name], item in unflagged[:1])
    return parser


def read_recipe(file: str) -> dict[str, Any]:
    """A YAML recipe as a mapping."""
    try:
        recipe = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"could not read the recipe {file}: {error}") from error
    if recipe is None:
        return {}
    if not isinstance(recipe, dict):
        raise ConfigError(f"the recipe {file} holds {type(recipe).__name__}; expected keys and values.")
    # YAML 1.1 takes the key `on` for true.
    return {"on" if name is True else str(name): value for name, value in recipe.items()}


def parse(verb: str, arguments: Sequence[str]) -> Options:
    """The options of a verb of ``valuefree``; see `parse_options`."""
    return parse_options(f"valuefree {verb}", VERBS[verb], arguments)


def parse_options(program: str, config: type[T], arguments: Sequence[str]) -> T:
    """The options from arguments and, with ``--config``, a recipe.

    Raises:
        ConfigError: unknown flags or keys (with the nearest known one), wrong types, contradictions.
    """
    parser = make_parser(program, config)
    given, rest = parser.parse_known_args(list(arguments))
    if rest:
        flags = [flag for action in parser._actions for flag in action.option_strings]
        raise unknown("argument", rest[0].split("=")[0], flags)
    values = vars(given)
    recipe = values.pop("config", None)
    return from_mapping(config, (read_recipe(recipe) if recipe else {}) | values)
