"""The methods of the small study, one table: how each is made from its own knob of strength."""

from typing import Any

from studies.harness.methods import Method
from studies.small.cells import Setting
from studies.small.scale import Scale
from valuefree.objectives import DPO, DRO, GRPO, IPO, KTO, NCA, RPO, SFT, TOPR, AsymRE, Objective, SLiC

# Best known first: a study takes as many as its scale says.
TAUS = (0.5, 0.15, 0.05)  # standard deviations of the reward, against sums of log-probabilities
TOKEN_TAUS = (1.0, 5.0, 0.3)  # against token means: 1 and 5 are those of the paper and of its code
BETAS = (0.1, 0.3, 1.0)
IPO_BETAS = (1.0, 0.3, 3.0)
QUANTILE_TAUS = (0.15, 0.05, 0.015)  # in quantiles, whose standard deviation is 0.29
OFFSETS = (0.1, 0.5, 1.0)  # of AsymRE's baseline, in standard deviations of the reward
DRO_LRS = 0.3  # its policy learns at lr/τ


def settings_of(method: Method, scale: Scale) -> list[Setting]:
    """(learning rate, strength) to try: as many for every method."""
    if not method.grid:
        return [(lr, None) for lr in scale.lone_lrs()]
    lrs = [float(f"{lr * method.lr_factor:.2g}") for lr in scale.lrs]
    return [(lr, strength) for lr in lrs for strength in sorted(method.grid[: scale.strengths])]


def _rpo(name: str, **knobs) -> Method:
    return Method(name, "tau", lambda tau, _: RPO(tau=tau, **knobs), TAUS)


def _preset(name: Any, taus: tuple[float, ...] = TAUS) -> Method:
    return Method(name, "tau", lambda tau, _: RPO.preset(name, tau=tau), taus)


def _untouched(name: str, kind: type[Objective]) -> Method:
    """The objective as shipped: its literal defaults."""
    return Method(f"{name}-untouched", None, lambda *_: kind())


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        _untouched("rpo", RPO),
        _rpo("rpo-tau-tuned"),
        Method("rpo-paper", "tau", lambda tau, _: RPO.preset("paper", tau=tau), TAUS),
        Method("rpo-paper-code", "tau", lambda tau, _: RPO.preset("paper-code", tau=tau), TOKEN_TAUS),
        _rpo("rpo-centred", level=0.0),
        _rpo("rpo-learned", estimator="learned"),
        _preset("qrpo", QUANTILE_TAUS),
        _preset("pmd-mean"),
        _preset("a-star-po"),
        _preset("una"),
        Method("nca", "tau", lambda tau, _: NCA(tau=tau), TAUS),
        Method("dro", "tau", lambda tau, _: DRO(tau=tau), TAUS, DRO_LRS),
        _untouched("kto", KTO),
        Method("kto-beta-tuned", "beta", lambda beta, _: KTO(beta=beta), BETAS),
        _untouched("dpo", DPO),
        Method("dpo-beta-tuned", "beta", lambda beta, _: DPO(beta=beta), BETAS),
        Method("ipo", "beta", lambda beta, _: IPO(beta=beta), IPO_BETAS),
        Method("slic", "beta", lambda beta, _: SLiC(beta=beta), BETAS),
        Method("sft-all", None, lambda *_: SFT()),
        Method("sft-best", None, lambda *_: SFT(on="best")),
        Method("sft-weighted", "tau", lambda tau, _: SFT(on="weighted", tau=tau), TAUS),
        Method("asymre", "offset", lambda offset, _: AsymRE(offset=offset), OFFSETS),
        Method("topr", None, lambda *_: TOPR()),
        Method("grpo-offline", None, lambda *_: GRPO()),
    )
}
