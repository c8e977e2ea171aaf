"""The methods that a study compares: objectives with one knob to tune, and how their names are read. No torch."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from valuefree.cli.parse import unknown
from valuefree.objectives import Objective


@dataclass(frozen=True)
class Method:
    """One line of the tables.

    knob: what is tuned beside the learning rate: the temperature ``tau``, ``beta``, a factor ``lr`` on the learning
    rates, or None. make: the objective from a value of the knob and whether the data are on-policy; it ignores what it
    does not need. grid: the values of the knob that are tried. lr_factor: of the study's learning rates.
    """

    name: str
    knob: str | None
    make: Callable[[float, bool], Objective]
    grid: tuple[float, ...] = ()
    lr_factor: float = 1.0

    def objective(self, strength: float | None, *, on_policy: bool = True) -> Objective:
        """The objective with its knob at `strength`."""
        return self.make(math.nan if strength is None else strength, on_policy)

    @property
    def family(self) -> str:
        """The class of the objective, which variants of a method share."""
        return type(self.objective(1.0)).__name__

    def about(self, strength: float | None) -> str:
        """The objective as it is written in Python, without the fields at their defaults."""
        objective = self.objective(strength)
        changed = {
            item.name: value for item in fields(objective) if (value := getattr(objective, item.name)) != item.default
        }
        return f"{type(objective).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"


def names_of(text: str, known: Iterable[str], kind: str, *, separator: str = ",") -> list[str]:
    """Names from a list in one text, each known and each once; ``all`` stands for all of them.

    Raises:
        ConfigError: an unknown name, with the nearest known one; no name.
    """
    known = list(known)
    names = [name.strip() for name in text.split(separator) if name.strip()]
    if names == ["all"]:
        return known
    for name in names or [text]:
        if name not in known:
            raise unknown(kind, name, known)
    return list(dict.fromkeys(names))
