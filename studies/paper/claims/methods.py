"""The methods of the claims, each an objective of this package at τ = 1 in reward units."""

import math
from dataclasses import replace
from typing import Any

from studies.exact.methods import BY_NAME as EXACT
from studies.exact.methods import Method
from studies.paper.claims import plan
from valuefree.objectives import DRO, RPO

TAU = 1.0


def _dro(name: str, *, frozen: bool = False, oracle: bool = False, **knobs: Any) -> Method:
    return Method(name, "tau", lambda tau, on: DRO(tau=tau, **knobs), frozen=frozen, oracle=oracle)


def _rpo(name: str, estimator: str, *, level: float = math.inf) -> Method:
    return Method(name, "tau", lambda tau, on: RPO(tau=tau, estimator=estimator, level=level, on_policy=on))


METHODS = {
    method.name: method
    for method in (
        replace(EXACT["RPO paper (eq. 19)"], name=plan.EQ_19),
        replace(EXACT["RPO, tau tuned"], name=plan.DEFAULT),
        replace(EXACT["RPO, oracle V*"], name=plan.ORACLE),
        replace(EXACT["DRO-V"], name=plan.DRO_V),
        _dro(plan.DRO_ORACLE, frozen=True, oracle=True),
        _rpo(plan.RPO_GIVEN, "zero"),
        _rpo(plan.RPO_LEVEL_1, "zero", level=1.0),
        # Not rescaled, so that RPO and DRO learn at the same rate: under Adam rescaling only changes the rate.
        _dro(plan.DRO_FROZEN, frozen=True, rescale=False),
        _dro(plan.DRO_LEARNS, rescale=False),
        *(_dro(name, value_lr=rate) for rate, name in plan.TUNED_DRO.items()),
        *(_rpo(name, estimator) for estimator, name in plan.TUNED_RPO.items()),
    )
}
