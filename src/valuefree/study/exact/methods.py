"""The methods that the exact world compares: each an objective of this package, with one knob of its own to tune."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from valuefree.objectives import DPO, DRO, IPO, KTO, NCA, RPO, SFT, Objective, SLiC

TAUS = (0.5, 1.0, 2.0, 4.0)
BETAS = (0.1, 0.3, 1.0, 3.0)
SLOWER = (1.0, 0.5, 0.25, 0.125)


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    make: the objective, from a point of `strengths` and whether the data are on-policy. A strength is the temperature,
    in reward units (knob ``tau``), β (``beta``), or a factor on the learning rates (``lr``) where a method has no knob:
    each is given equally many points. oracle: V* instead of V̂. samples: scored reference samples per prompt, which the
    others do not have. frozen: a value network, where there is one, keeps the values that it begins at.
    """

    name: str
    knob: str
    make: Callable[[float, bool], Objective]
    oracle: bool = False
    samples: int = 0
    frozen: bool = False

    @property
    def strengths(self) -> tuple[float, ...]:
        """Points of the knob, the same number for every method."""
        return {"tau": TAUS, "beta": BETAS, "lr": SLOWER}[self.knob]


def _rpo(name: str, *, samples: int = 0, oracle: bool = False, **knobs) -> Method:
    return Method(name, "tau", lambda tau, on: RPO(tau=tau, on_policy=on, **knobs), oracle=oracle, samples=samples)


METHODS = [
    _rpo("RPO()"),
    _rpo("RPO, oracle V*", estimator="zero", level=math.inf, oracle=True),
    Method("RPO paper (eq. 19)", "tau", lambda tau, on: RPO.preset("paper", tau=tau)),
    Method("RPO paper-code", "tau", lambda tau, on: RPO.preset("paper-code", tau=tau)),
    _rpo("RPO monte_carlo, level inf", estimator="monte_carlo", level=math.inf),
    _rpo("RPO monte_carlo, level 1", estimator="monte_carlo", level=1.0),
    _rpo("RPO mean, level inf", estimator="mean", level=math.inf),
    _rpo("RPO mean, level 1", estimator="mean", level=1.0),
    _rpo("RPO pooled, level 1", estimator="pooled", level=1.0),
    _rpo("RPO quantile, level 1", estimator="quantile", level=1.0),
    _rpo("RPO regressed, level 1", estimator="regressed", level=1.0),
    _rpo("RPO learned, level 1", estimator="learned", level=1.0),
    _rpo("RPO centred (level 0)", estimator="mean", level=0.0),
    _rpo("RPO V=0, level inf", estimator="zero", level=math.inf),
    _rpo("RPO(), 4 reference samples", samples=4),
    _rpo("RPO monte_carlo, 4 reference samples", estimator="monte_carlo", level=1.0, samples=4),
    Method("DRO-V", "tau", lambda tau, on: DRO(tau=tau)),
    Method("NCA", "tau", lambda tau, on: NCA(tau=tau)),
    Method("KTO", "beta", lambda beta, on: KTO(beta=beta)),
    Method("DPO best-worst", "beta", lambda beta, on: DPO(beta=beta)),
    Method("DPO all pairs", "beta", lambda beta, on: DPO(beta=beta, pairs="all")),
    Method("IPO", "beta", lambda beta, on: IPO(beta=beta, length_normalize=False)),
    Method("SLiC", "beta", lambda beta, on: SLiC(beta=beta)),
    Method("SFT all", "lr", lambda factor, on: SFT()),
    Method("SFT best", "lr", lambda factor, on: SFT(on="best")),
    Method("SFT weighted", "tau", lambda tau, on: SFT(on="weighted", tau=tau)),
]
BY_NAME = {method.name: method for method in METHODS}
