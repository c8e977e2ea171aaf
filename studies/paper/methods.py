"""The methods of the study, one table: the paper's five as its published code has them, and what it lacks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from studies.paper.scales import MAIN_TAU
from valuefree.cli.parse import unknown
from valuefree.errors import ConfigError
from valuefree.objectives import DRO, KTO, RPO, SFT, Objective

REFERENCE = "SFT"


@dataclass(frozen=True)
class Method:
    """A column of the tables.

    make: its objective at a temperature; None for the untouched reference. published: its name in the paper, None for
    what the paper lacks. taus: whether it has one run per temperature; else `make` takes `MAIN_TAU`. rewards: whether
    it reads rewards, so that shuffling them says something. about: for the page.
    """

    name: str
    make: Callable[[float], Objective] | None
    about: str
    published: str | None = None
    taus: bool = False
    rewards: bool = True


def _code(tau: float) -> RPO:
    return RPO.preset("paper-code", tau=tau)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            REFERENCE,
            None,
            "the reference, untouched: the model that all others start from. The paper does not say what its SFT is, "
            "and its code trains none",
            published="SFT",
            rewards=False,
        ),
        Method(
            "KTO",
            lambda tau: replace(KTO.preset("paper-code"), beta=tau),
            "as published: token means, z0 of the matched batch, not clamped; the temperature is its beta",
            published="KTO",
            taus=True,
        ),
        Method(
            "DRO",
            lambda tau: DRO.preset("paper-code", tau=tau),
            "as published: token means, a value head on the policy's own encoder, one learning rate",
            published="DRO",
            taus=True,
        ),
        Method("RPO", _code, "as published: eq. 19 and 21 with token means", published="RPO", taus=True),
        Method(
            "RPO-noNorm",
            lambda tau: replace(_code(tau), estimator="zero"),
            "RPO with V = 0 (section IV-G)",
            published="RPO-noNorm",
            taus=True,
        ),
        Method("RPO()", lambda tau: RPO(tau=tau), "the default of this package, at the temperatures above", taus=True),
        Method("RPO() auto", lambda _: RPO(), "the default of this package, temperature chosen from the rows"),
        Method("RPO sums", lambda tau: RPO.preset("paper", tau=tau), "eq. 19 and 21 as printed: sums over tokens"),
        Method("DRO-V", lambda tau: DRO(tau=tau), "DRO as its authors have it: a value network of its own, sums"),
        Method("SFT-all", lambda _: SFT(), "maximum likelihood on every response; no reward", rewards=False),
        Method("SFT-best", lambda _: SFT(on="best"), "maximum likelihood on the best response of each prompt"),
    )
}


def methods_of(text: str) -> list[Method]:
    """Methods by semicolon, each known; ``all`` for all of them. The reference is always among them.

    Raises:
        ConfigError: a name that is not known, with the nearest that is.
    """
    names = [name.strip() for name in text.split(";") if name.strip()]
    if names == ["all"]:
        return list(METHODS.values())
    for name in names:
        if "," in name:
            raise ConfigError(f"methods is {text!r}; expected names by semicolon: {'; '.join(METHODS)}.")
        if name not in METHODS:
            near = [known for known in METHODS if known.lower() == name.lower()]
            if near:
                raise ConfigError(f"unknown method {name!r}; did you mean {near[0]!r}?")
            raise unknown("method", name, list(METHODS))
    if not names:
        raise unknown("method", text, list(METHODS))
    return [METHODS[name] for name in dict.fromkeys([REFERENCE, *names])]


def temperatures(method: Method, taus: Sequence[float]) -> list[float | None]:
    """Of its runs; None where it has one run that no temperature names."""
    return list(taus) if method.taus else [None]


def label(method: str, tau: float | None) -> str:
    """A run for people: its temperature where it is not the main one."""
    return method if tau is None or tau == MAIN_TAU else f"{method}, τ = {tau:g}"
