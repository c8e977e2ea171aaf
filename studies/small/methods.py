"""The methods of the study, one table: how each is made from its own knob of strength."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from studies.small.scale import Scale
from valuefree.cli.parse import unknown
from valuefree.objectives import DPO, DRO, IPO, KTO, NCA, RPO, SFT, Objective, SLiC


@dataclass(frozen=True)
class Method:
    """A name and how to make its objective.

    knob: what `make` takes, or None when there is nothing to take: only the learning rate is tuned then. strengths:
    values of it, best known first; a study takes as many as its scale says. lr_factor: of the study's learning rates.
    """

    name: str
    make: Callable[[float], Objective]
    knob: str | None = None
    strengths: tuple[float, ...] = ()
    lr_factor: float = 1.0

    def objective(self, strength: float | None) -> Objective:
        """The objective with its knob at `strength`."""
        return self.make(0.0 if strength is None else strength)

    @property
    def family(self) -> str:
        """The method that this is a variant of: the class of its objective."""
        return type(self.make(1.0)).__name__

    def settings(self, scale: Scale) -> list[tuple[float, float | None]]:
        """(learning rate, strength) to try: as many for every method."""
        if self.knob is None:
            return [(lr, None) for lr in scale.lone_lrs()]
        lrs = [float(f"{lr * self.lr_factor:.2g}") for lr in scale.lrs]
        return [(lr, strength) for lr in lrs for strength in sorted(self.strengths[: scale.strengths])]


TAUS = (0.5, 0.15, 0.05)  # standard deviations of the reward, against sums of log-probabilities
TOKEN_TAUS = (1.0, 5.0, 0.3)  # against token means: 1 and 5 are those of the paper and of its code
DRO_LRS = 0.3  # its policy learns at lr/τ
BETAS = (0.1, 0.3, 1.0)


def _rpo(name: str, **knobs) -> Method:
    return Method(name, lambda tau: RPO(tau=tau, **knobs), "tau", TAUS)


def _untouched(name: str, kind: type[Objective]) -> Method:
    """The objective as shipped: its literal defaults."""
    return Method(f"{name}-untouched", lambda _: kind())


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        _untouched("rpo", RPO),
        _rpo("rpo-tau-tuned"),
        Method("rpo-paper", lambda tau: RPO.preset("paper", tau=tau), "tau", TAUS),
        Method("rpo-paper-code", lambda tau: RPO.preset("paper-code", tau=tau), "tau", TOKEN_TAUS),
        _rpo("rpo-centred", level=0.0),
        _rpo("rpo-learned", estimator="learned"),
        Method("nca", lambda tau: NCA(tau=tau), "tau", TAUS),
        Method("dro", lambda tau: DRO(tau=tau), "tau", TAUS, DRO_LRS),
        _untouched("kto", KTO),
        Method("kto-beta-tuned", lambda beta: KTO(beta=beta), "beta", BETAS),
        _untouched("dpo", DPO),
        Method("dpo-beta-tuned", lambda beta: DPO(beta=beta), "beta", BETAS),
        Method("ipo", lambda beta: IPO(beta=beta), "beta", (1.0, 0.3, 3.0)),
        Method("slic", lambda beta: SLiC(beta=beta), "beta", BETAS),
        Method("sft-all", lambda _: SFT()),
        Method("sft-best", lambda _: SFT(on="best")),
        Method("sft-weighted", lambda tau: SFT(on="weighted", tau=tau), "tau", TAUS),
    )
}


def chosen(text: str, known: Sequence[str], kind: str) -> list[str]:
    """Names by comma, each known; ``all`` for all of them.

    Raises:
        ConfigError: a name that is not known, with the nearest that is.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return list(known)
    for name in names:
        if name not in known:
            raise unknown(kind, name, known)
    if not names:
        raise unknown(kind, text, known)
    return list(dict.fromkeys(names))
