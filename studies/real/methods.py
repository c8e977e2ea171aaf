"""The methods of the study on real models, each with four settings: two learning rates and two strengths of its own."""

from studies.harness.methods import Method
from studies.real.cells import Setting
from valuefree.objectives import DPO, GRPO, KTO, NCA, RPO, SFT, TOPR, AsymRE

LRS = (5e-4, 1e-3)
LONE_LRS = (2.5e-4, 5e-4, 1e-3, 2e-3)  # of methods without a strength
SHIPPED_LR = 5e-4  # the default of `valuefree train`
STDS = (6.0, 12.0)  # target standard deviations, in nats
TAUS = (0.5, 0.15)  # standard deviations of the reward
QUANTILE_TAUS = (0.05, 0.025)  # 0.29/τ nats: the same targets as STDS
BETAS = (0.3, 0.1)
AUTO = "rpo-auto"
# RPO() is not tuned: its strength is the one that the logged responses to the validation prompts support. Its rates:
AUTO_LRS = {AUTO: SHIPPED_LR, "rpo-auto-1e-3": 1e-3, "rpo-train": SHIPPED_LR, "rpo-train-1e-3": 1e-3}
RATES = {AUTO: "rpo-auto-1e-3", "rpo-train": "rpo-train-1e-3"}  # compared: the shipped rate, and the other one
# Methods with the adapter of `valuefree train`: rank 16 in all layers.
WHOLE_ADAPTER = ("rpo-train", "rpo-train-1e-3")


def _rpo(name: str, **knobs) -> Method:
    return Method(name, "target_std", lambda std, _: RPO(target_std=std, **knobs), STDS)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *(Method(name, None, lambda *_: RPO()) for name in AUTO_LRS),
        _rpo("rpo"),
        _rpo("rpo-zero", estimator="zero"),
        _rpo("rpo-centred", level=0.0),
        Method("kto", "beta", lambda beta, _: KTO(beta=beta), BETAS),
        Method("dpo", "beta", lambda beta, _: DPO(beta=beta), BETAS),
        Method("sft-best", None, lambda *_: SFT(on="best")),
        Method("qrpo", "tau", lambda tau, _: RPO.preset("qrpo", tau=tau), QUANTILE_TAUS),
        Method("pmd-mean", "tau", lambda tau, _: RPO.preset("pmd-mean", tau=tau), TAUS),
        Method("a-star-po", "tau", lambda tau, _: RPO.preset("a-star-po", tau=tau), TAUS),
        Method("una", "tau", lambda tau, _: RPO.preset("una", tau=tau), TAUS),
        Method("nca", "tau", lambda tau, _: NCA(tau=tau), TAUS),
        Method("asymre", "offset", lambda offset, _: AsymRE(offset=offset), (0.1, 1.0)),
        Method("topr", None, lambda *_: TOPR()),
        Method("grpo-offline", None, lambda *_: GRPO()),
    )
}
STAGE_1 = (AUTO, "rpo", "rpo-zero", "rpo-centred", "kto", "dpo", "sft-best")
SINGLE = ("rpo-centred", "dpo", "nca", "pmd-mean", "grpo-offline", "sft-best")  # learn nothing from lone responses


def settings_of(method: Method) -> list[Setting]:
    """(learning rate, strength) to try: four for every method, one for those of `AUTO_LRS`."""
    if method.name in AUTO_LRS:
        return [(AUTO_LRS[method.name], None)]
    if not method.grid:
        return [(lr, None) for lr in LONE_LRS]
    return [(lr, strength) for lr in LRS for strength in method.grid]


def applies(method: str, regime: str) -> bool:
    """Whether a method learns from the rows of a regime: some need several responses to a prompt."""
    return regime != "thumbs" or method not in SINGLE
