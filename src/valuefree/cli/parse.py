"""From arguments and YAML recipes to the options of a verb; no torch."""

import argparse
import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from inspect import get_annotations
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from valuefree.cli.options import Options, options_of
from valuefree.cli.options.bounds import expected, within
from valuefree.cli.options.groups import GROUPS, flag, key_of
from valuefree.cli.options.registry import DEFAULT
from valuefree.cli.synonyms import nearest_option
from valuefree.errors import ConfigError

T = TypeVar("T", bound=Options)


def kinds(annotation: Any) -> tuple[Any, bool]:
    """The type within ``X | None``, and whether None is allowed."""
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [kind for kind in get_args(annotation) if kind is not type(None)]
        return inner[0], type(None) in get_args(annotation)
    return annotation, False


def words_of(annotation: Any) -> tuple[str, ...]:
    """The words that may stand for a number, as in ``float | Literal["auto"]``."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return ()
    literals = [kind for kind in get_args(annotation) if get_origin(kind) is Literal]
    return tuple(word for kind in literals for word in get_args(kind)) if kinds(annotation)[0] not in literals else ()


def _value(name: str, annotation: Any, value: Any, advice: str = "") -> Any:
    """`value` of a recipe as the type of its field; `advice` ends the error of a wrong choice."""
    kind, optional = kinds(annotation)
    if value is None and optional:
        return None
    if isinstance(value, str) and value in words_of(annotation):
        return value
    if get_origin(kind) is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_value(name, get_args(kind)[0], item) for item in items)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ConfigError(f"{name} is {value!r}; choose from {', '.join(map(str, get_args(kind)))}.{advice}")
        return value
    try:
        if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)  # YAML reads 1e-4 as text
    except (ValueError, OverflowError):
        words = "".join(f" or {word}" for word in words_of(annotation))
        raise ConfigError(f"{name} is {value!r}; expected a number{words}.") from None
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
    known = {key_of(item.name): item for item in fields(config)}
    for name in values:
        if name not in known:
            near = nearest_option(name, known)
            raise ConfigError(f"unknown key {name!r}" + (f"; did you mean {near!r}?" if near else "."))
    missing = [name for name, item in known.items() if item.default is MISSING and name not in values]
    if missing:
        literals = {name: kind for name in missing if get_origin(kind := hints[known[name].name]) is Literal}
        choices = [f" Choose {name} from {', '.join(get_args(kind))}." for name, kind in literals.items()]
        raise ConfigError(f"missing: {', '.join(missing)}.{''.join(choices)}")
    found = {
        name: _value(name, hints[known[name].name], value, known[name].metadata.get("advice", ""))
        for name, value in values.items()
    }
    for name, value in found.items():
        if isinstance(value, (int, float)) and not within(value, known[name].metadata.get("bounds", {})):
            knob = known[name].metadata.get("objectives", {}).get(found.get("objective", DEFAULT))
            meaning = f" ({knob.help})" if knob else ""
            raise ConfigError(f"{name} is {value}; expected {expected(known[name].metadata['bounds'])}{meaning}.")
    return config(**{known[name].name: value for name, value in found.items()})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving the process."""
        raise ConfigError(f"{message} ({self.prog} --help)")


class _Listed(tuple):
    """Choices that are listed, but checked with the recipe's values, whose error gives advice."""

    def __contains__(self, value: object) -> bool:
        return True


def described(text: str, default: Any) -> str:
    """A help text with the default, unless that is None or must be given."""
    if default is MISSING or default is None:
        return text
    if isinstance(default, tuple):
        default = " ".join(default) or "none"
    return f"{text} (default: {default:g})" if isinstance(default, float) else f"{text} (default: {default})"


def default_of(item: Field) -> Any:
    """The default as a reader wants it: what None stands for, where the field says."""
    return item.metadata.get("otherwise") if item.default is None else item.default


def stand_ins(options: Options) -> dict[str, Any]:
    """What stands in place of each option that is None, as its help says: a value, or a text such as "no limit"."""
    objective = getattr(options, "objective", None)
    found = {}
    for item in fields(options):
        knob = item.metadata.get("objectives", {}).get(objective)
        stands = knob.shown if knob else default_of(item)
        if getattr(options, item.name) is None and stands is not None and stands is not MISSING:
            found[item.name] = stands
    return found


def positional_of(config: type[Options]) -> Field | None:
    """The option that is given without a flag."""
    return next((item for item in fields(config) if item.default is MISSING or "positional" in item.metadata), None)


def _add(container: Any, item: Field, annotation: Any, text: str, positional: bool) -> None:
    kind, _ = kinds(annotation)
    text = text if text == argparse.SUPPRESS else text.replace("%", "%%")
    common: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text}
    several = get_origin(kind) is tuple
    if positional:
        container.add_argument(item.name, nargs="*" if several else "?", **common)
        return
    written, common["dest"] = flag(item.name), item.name
    if kind is bool:
        container.add_argument(written, action=argparse.BooleanOptionalAction, **common)
        return
    if several:
        container.add_argument(written, nargs="+", action="extend", metavar="TEXT", **common)
        return
    choices = get_args(kind) if get_origin(kind) is Literal else None
    metavar = None if choices else {int: "N", float: "X"}.get(kind, "TEXT")
    words = words_of(annotation)
    if choices and "advice" in item.metadata:
        choices = _Listed(choices)
    if words:  # checked with the recipe's values
        container.add_argument(written, type=str, metavar="|".join((str(metavar), *words)), **common)
        return
    container.add_argument(written, type=str if choices else kind, choices=choices, metavar=metavar, **common)


def _group_of(config: type[Options], item: Field) -> str:
    """The group of an option in ``--help``: common, its own, or that of the class that declares it; empty for none."""
    if item.name in config.shown_first:
        return "common"
    declaring = next(kind for kind in config.__mro__ if item.name in get_annotations(kind))
    return item.metadata.get("group") or vars(declaring).get("group", "")


def make_parser(program: str, config: type[Options], *, objective: str | None = None) -> argparse.ArgumentParser:
    """The argument parser of a set of options.

    Args:
        program: stands in its help and messages. objective: whose fields ``--help`` lists; the flags of the others are
            parsed as well.
    """
    first = positional_of(config)
    hints = get_type_hints(config)
    several = first and get_origin(kinds(hints[first.name])[0]) is tuple
    usage = f"{program} [options]" + (f" [{first.name}{' ...' if several else ''}]" if first else "")
    parser = _Parser(prog=program, usage=usage, description=config.about, allow_abbrev=False)
    text = "YAML recipe with these options as keys; flags override it"
    if config.recipe_of:
        text += f"; further keys of {config.recipe_of} are left out"
    parser.add_argument("--config", metavar="FILE", help=text)
    items = {item.name: item for item in fields(config)}
    by_group: dict[str, list[Field]] = {name: [] for name in ("", *GROUPS)}
    for item in (items[name] for name in dict.fromkeys((*config.shown_first, *items))):
        by_group[_group_of(config, item)].append(item)
    loading = [key_of(item.name) for item in fields(config) if "guarded" in item.metadata]
    if loading and "allow_code" not in items:
        text = f"let the recipe load code or send a key, by {', '.join(loading)}"
        parser.add_argument("--allow-code", action="store_true", default=argparse.SUPPRESS, help=text)
    for name, members in by_group.items():
        container = parser.add_argument_group(name) if name and members else parser
        for item in members:
            text = described(item.metadata["help"], default_of(item))
            if "objectives" in item.metadata:
                knob = item.metadata["objectives"].get(objective)
                container.description = f"fields of {objective}; --objective NAME --help lists those of another"
                text = described(knob.help, knob.shown) if knob else argparse.SUPPRESS
            _add(container, item, hints[item.name], text, item is first)
    return parser


def parse(verb: str, arguments: Sequence[str]) -> Options:
    """The options of a verb of ``valuefree``; see `parse_options`."""
    return parse_options(f"valuefree {verb}", options_of(verb), arguments)


def parse_options(program: str, config: type[T], arguments: Sequence[str]) -> T:
    """The options from arguments and, with ``--config``, a recipe.

    Raises:
        ConfigError: unknown flags or keys (with the nearest known one), wrong types, contradictions.
    """
    objective = _objective_in(program, config, arguments)
    parser = make_parser(program, config, objective=objective)
    given, rest = parser.parse_known_args(list(arguments))
    if rest:
        raise _unknown_argument(config, rest[0].split("=")[0], objective)
    values = {key_of(name): value for name, value in vars(given).items()}
    recipe = values.pop("config", None)
    allowed = values.get("allow_code", False)
    if "allow_code" not in {item.name for item in fields(config)}:
        values.pop("allow_code", None)
    settings = {}
    if recipe:
        from valuefree.cli.recipe_file import read_recipe  # noqa: PLC0415  imports YAML, not needed for `--help`

        settings = _read_by(config, read_recipe(recipe))
    options = from_mapping(config, settings | values)
    found = {name: getattr(options, name) for name in options.guarded() if key_of(name) not in values}
    if found and not allowed:
        named = ", ".join(f"{key_of(name)}: {value}" for name, value in found.items())
        given = " ".join(flag(name) if value is True else f"{flag(name)} {value}" for name, value in found.items())
        raise ConfigError(
            f"the recipe {recipe} sets {named}. That loads code or sends a key, so it is taken from the command "
            f"line only: give {given} there, or --allow-code if you trust the recipe."
        )
    return options


def _read_by(config: type[Options], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without the keys that only `recipe_of` has."""
    other = fields(options_of(config.recipe_of)) if config.recipe_of else ()
    left_out = {key_of(item.name) for item in other} - {key_of(item.name) for item in fields(config)}
    return {key: value for key, value in recipe.items() if key not in left_out}


def _objective_in(program: str, config: type[Options], arguments: Sequence[str]) -> str | None:
    """The objective that the arguments choose, for ``--help``; None where there is none to choose."""
    item = next((item for item in fields(config) if item.name == "objective"), None)
    if item is None:
        return None
    parser = _Parser(prog=program, usage=argparse.SUPPRESS, add_help=False, allow_abbrev=False)
    parser.add_argument("--objective", default=item.default, choices=get_args(get_type_hints(config)["objective"]))
    return parser.parse_known_args(list(arguments))[0].objective


def _unknown_argument(config: type[Options], argument: str, objective: str | None) -> ConfigError:
    read = [key_of(item.name) for item in fields(config) if objective in item.metadata.get("objectives", [objective])]
    near = nearest_option(argument, ["config", *read]) if argument[:1] == "-" else None
    first = positional_of(config)
    if near is None:
        return ConfigError(f"unknown argument {argument!r}.")
    if first is not None and near == first.name:
        return ConfigError(f"unknown argument {argument!r}; did you mean {near!r}? It is given without a flag.")
    return ConfigError(f"unknown argument {argument!r}; did you mean '{flag(near)}'?")
