"""The options that choose an objective and set its fields, read from the objectives' own files; no torch."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from valuefree.cli.options.groups import Options, option
from valuefree.cli.options.registry import Knob, declarations
from valuefree.cli.synonyms import nearest_option
from valuefree.errors import ConfigError

REWARD_MODEL = "reward-model"
T = TypeVar("T", bound=type[Options])


def knobs_of(objective: str) -> dict[str, Knob]:
    """The fields that an objective has; a reward model is trained on the pairs of DPO."""
    if objective == REWARD_MODEL:
        return {"pairs": declarations()["dpo"].knobs["pairs"]}
    return declarations()[objective].knobs


def objectives_that_read(column: str) -> tuple[str, ...]:
    """Objectives that read a column of the data, such as ``pair_id``, where it is there."""
    return tuple(name for name, item in declarations().items() if column in item.columns)


def partitioned() -> tuple[str, ...]:
    """Objectives that need V(x)."""
    return tuple(name for name, item in declarations().items() if item.partitioned)


def _names() -> tuple[str, ...]:
    return (*declarations(), REWARD_MODEL)


def _preset_fields() -> dict[str, Knob]:
    """The option ``preset`` of each objective that has one; its type allows the presets of all."""
    having = [item for item in declarations().values() if item.presets]
    kind = Literal[tuple(dict.fromkeys(preset for item in having for preset in item.presets))]
    knobs = {}
    for item in having:
        beside = "".join(f"; leaves {name} open (default: {value:g})" for name, value in item.open.items())
        text = f"settings of the paper or of its published code: {', '.join(item.presets)}{beside}"
        knobs[item.name] = Knob(kind, None, text, "none")
    return knobs


def _with_knobs(options: T) -> T:
    """Add the fields of all objectives to an option class; None keeps the objective's own default.

    Raises:
        ConfigError: two objectives that give one name different types or bounds.
    """
    by_field: dict[str, dict[str, Knob]] = {"preset": _preset_fields()}
    for objective in _names():
        for name, knob in knobs_of(objective).items():
            by_field.setdefault(name, {})[objective] = knob
    annotations: dict[str, Any] = {"objective": Literal[_names()]}
    for name, knobs in by_field.items():
        kinds, ranges = {knob.kind for knob in knobs.values()}, [knob.bounds for knob in knobs.values()]
        if len(kinds) > 1 or any(other != ranges[0] for other in ranges):
            raise ConfigError(
                f"{' and '.join(knobs)} declare {name} with different types or bounds; rename the field in one."
            )
        annotations[name] = kinds.pop() | None
        text = "; ".join(f"{objective}: {knob.help}" for objective, knob in knobs.items())
        setattr(options, name, field(default=None, metadata={"help": text, "objectives": knobs, "bounds": ranges[0]}))
    options.__annotations__ = options.__annotations__ | annotations
    return options


def reference_samples_option() -> Any:
    """The option of train and inspect that objectives with V(x) read."""
    text = (
        "file of samples of the model itself for V(x), as `valuefree sample --score` writes, rewarded by the same "
        "function as the rows"
    )
    knobs = {name: Knob(str, None, text, "none") for name in partitioned()}
    return field(default=None, metadata={"help": text, "objectives": knobs, "group": "objective"})


@dataclass(frozen=True, kw_only=True)
@_with_knobs
class ObjectiveOptions(Options):
    """What is optimised; the fields of the objectives are added to those below."""

    group: ClassVar[str] = "objective"
    objective: str = option("rpo", "what is optimised; docs/objectives has a page on each")
    preset: str | None = None

    def __post_init__(self) -> None:
        known, given = knobs_of(self.objective), self.knobs()
        unread = [name for name in given if name not in known]
        if unread:
            near = {near for name in unread if (near := nearest_option(name, known, spelling=False))}
            advice = f"; did you mean {_list(sorted(near))}?" if near else "."
            raise ConfigError(
                f"objective {self.objective} does not read {_list(unread)}; it has {_list(known)}{advice}"
            )
        if self.preset is None:
            return
        declared = declarations().get(self.objective)
        presets, left_open = (declared.presets, declared.open) if declared else ((), {})
        if self.preset not in presets:
            raise ConfigError(
                f"objective {self.objective} has no preset {self.preset}; it has {_list(presets) or 'none'}."
            )
        fixed = [name for name in given if name not in left_open]
        if fixed:
            raise ConfigError(f"preset {self.preset} fixes {_list(fixed)}; give the preset or the option, not both.")

    def knobs(self) -> dict[str, Any]:
        """The fields of objectives that were given."""
        names = dict.fromkeys(name for objective in _names() for name in knobs_of(objective))
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
