"""The methods of the study, in one table: the paper's five as in its published code, and others that it lacks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from studies.harness.methods import names_of
from studies.paper.scales import MAIN_TAU
from valuefree.objectives import DRO, KTO, RPO, SFT, Objective

REFERENCE = "SFT"
OURS = "RPO() auto"
SELF_TUNED = "RPO() self-tuned"


@dataclass(frozen=True)
class Method:
    """A column of the tables.

    make: its objective at a temperature; None for the untouched reference. published: whether the paper has it, under
    this name. taus: whether it has one run per temperature; else `make` takes `MAIN_TAU`. rewards: whether it reads
    rewards, so that training on shuffled ones is a control. tuned: whether each run chooses its own learning rate and
    strength. about: for the report.
    """

    name: str
    make: Callable[[float], Objective] | None
    about: str
    published: bool = False
    taus: bool = False
    rewards: bool = True
    tuned: bool = False


_OBJECTIVES: dict[str, Callable[[float], Objective]] = {
    "KTO": lambda tau: replace(KTO.preset("paper-code"), beta=tau),
    "DRO": lambda tau: DRO.preset("paper-code", tau=tau),
    "RPO": lambda tau: RPO.preset("paper-code", tau=tau),
    "RPO-noNorm": lambda tau: replace(RPO.preset("paper-code", tau=tau), estimator="zero"),
    "RPO()": lambda tau: RPO(tau=tau),
    "RPO() auto": lambda _: RPO(),
    "RPO() self-tuned": lambda _: RPO(),
    "RPO sums": lambda tau: RPO.preset("paper", tau=tau),
    "DRO-V": lambda tau: DRO(tau=tau),
    "SFT-all": lambda _: SFT(),
    "SFT-best": lambda _: SFT(on="best"),
}
METHODS: dict[str, Method] = {
    name: Method(name, _OBJECTIVES.get(name), **fields)
    for name, fields in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")).items()
}


def methods_of(text: str) -> list[Method]:
    """Methods by semicolon, each known; ``all`` for all of them. The reference is always among them.

    Raises:
        ConfigError: a name that is not known, with the nearest that is.
    """
    names = names_of(text, METHODS, "method", separator=";")
    return [METHODS[name] for name in dict.fromkeys([REFERENCE, *names])]


def temperatures(method: Method, taus: Sequence[float]) -> list[float | None]:
    """The temperatures of a method's runs; None for a method whose single run is not named by a temperature."""
    return list(taus) if method.taus else [None]


def label(method: str, tau: float | None) -> str:
    """Name of a run in the report: with its temperature where that is not the main one."""
    return method if tau is None or tau == MAIN_TAU else f"{method}, τ = {tau:g}"
