"""The methods that the exact world compares: each an objective of this package, with one knob of its own to tune."""

import math
from dataclasses import dataclass
from typing import Any

from studies.harness import methods
from valuefree.objectives import DPO, DRO, GRPO, IPO, KTO, NCA, RPO, SFT, TOPR, AsymRE, Objective, SLiC

TAUS = (0.5, 1.0, 2.0, 4.0)
BETAS = (0.3, 1.0, 3.0, 10.0)
SMALL_BETAS = (0.1, 0.3, 1.0, 3.0)  # of IPO, whose β is the inverse of a margin
OFFSETS = (0.0, 0.1, 0.5, 1.0)  # of AsymRE's baseline, in standard deviations of the reward
FACTORS = (1.0, 0.5, 0.25, 0.125)  # on the learning rates, of methods without a knob


@dataclass(frozen=True)
class Method(methods.Method):
    """A method of the exact world; τ is in reward units.

    A method whose knob is None is the objective as shipped: its learning rate and steps alone are tuned. oracle: V* in
    place of V̂. samples: scored reference samples per prompt, which other methods lack. frozen: a value network, where
    there is one, keeps its first values.
    """

    oracle: bool = False
    samples: int = 0
    frozen: bool = False

    @property
    def strengths(self) -> tuple[float | None, ...]:
        """Values of the knob, the same number for every method that has one."""
        if self.knob is None:
            return (None,)
        return self.grid or {"tau": TAUS, "beta": BETAS, "offset": OFFSETS, "lr": FACTORS}[self.knob]


def _rpo(name: str, *, samples: int = 0, oracle: bool = False, **knobs) -> Method:
    return Method(name, "tau", lambda tau, on: RPO(tau=tau, on_policy=on, **knobs), oracle=oracle, samples=samples)


def _untouched(kind: type[Objective]) -> Method:
    return Method(f"{kind.__name__}(), untouched", None, lambda _, on: kind())


def _preset(name: str, preset: Any) -> Method:
    return Method(name, "tau", lambda tau, on: RPO.preset(preset, tau=tau))


METHODS = [
    _untouched(RPO),
    Method("RPO, tau tuned", "tau", lambda tau, on: RPO(tau=tau)),
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
    _rpo("RPO, tau tuned, 4 reference samples", samples=4),
    _rpo("RPO monte_carlo, 4 reference samples", estimator="monte_carlo", level=1.0, samples=4),
    _preset("QRPO", "qrpo"),
    _preset("PMD-mean", "pmd-mean"),
    _preset("A*-PO", "a-star-po"),
    Method("DRO-V", "tau", lambda tau, on: DRO(tau=tau)),
    Method("NCA", "tau", lambda tau, on: NCA(tau=tau)),
    _untouched(KTO),
    Method("KTO", "beta", lambda beta, on: KTO(beta=beta)),
    _untouched(DPO),
    Method("DPO best-worst", "beta", lambda beta, on: DPO(beta=beta)),
    Method("DPO all pairs", "beta", lambda beta, on: DPO(beta=beta, pairs="all")),
    Method("IPO", "beta", lambda beta, on: IPO(beta=beta, length_normalize=False), SMALL_BETAS),
    Method("SLiC", "beta", lambda beta, on: SLiC(beta=beta)),
    Method("SFT all", "lr", lambda factor, on: SFT()),
    Method("SFT best", "lr", lambda factor, on: SFT(on="best")),
    Method("SFT weighted", "tau", lambda tau, on: SFT(on="weighted", tau=tau)),
    Method("AsymRE", "offset", lambda offset, on: AsymRE(offset=offset)),
    Method("TOPR", "lr", lambda factor, on: TOPR()),
    Method("GRPO, offline", "lr", lambda factor, on: GRPO()),
]
BY_NAME = {method.name: method for method in METHODS}
