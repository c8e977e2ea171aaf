"""Which knobs each objective has, as data, and the options that set them; no torch.

The names are the fields of the objectives' dataclasses; a test compares the two.
"""

from dataclasses import dataclass
from typing import Any, Literal

from valuefree.cli.options.groups import Options, option
from valuefree.errors import ConfigError

REWARD_MODEL = "reward-model"
PAIRWISE = ("dpo", "ipo", "slic")
PARTITIONED = ("rpo",)
KNOBS: dict[str, tuple[str, ...]] = {
    "rpo": ("tau", "target_std", "estimator", "level", "length_normalize", "on_policy", "merge_duplicates", "value_lr"),
    "dro": ("tau", "value_lr", "shared_encoder", "rescale", "length_normalize"),
    "kto": ("beta", "desirable_weight", "undesirable_weight", "threshold", "baseline", "length_normalize"),
    "sft": ("on", "tau"),
    "nca": ("tau",),
    "dpo": ("beta", "pairs"),
    "ipo": ("beta", "pairs", "length_normalize"),
    "slic": ("beta", "pairs"),
    REWARD_MODEL: ("pairs",),
}
PRESETS: dict[str, dict[str, tuple[str, ...]]] = {  # and the knobs that may be given beside one
    "rpo": {"paper": ("tau",), "paper-code": ("tau",)},
    "dro": {"paper-code": ("tau",)},
    "kto": {"paper-code": ()},
}
ALL_KNOBS = tuple(dict.fromkeys(name for names in KNOBS.values() for name in names))


@dataclass(frozen=True, kw_only=True)
class ObjectiveOptions(Options):
    """What is optimised. A knob that is not given keeps the objective's own default."""

    objective: Literal["rpo", "dro", "kto", "sft", "nca", "dpo", "ipo", "slic", "reward-model"] = option(
        "rpo", "what is optimised; docs/objectives has a page on each"
    )
    preset: Literal["paper", "paper-code"] | None = option(
        None, "rpo: as in the paper; rpo, dro, kto: as in its published code; default: neither"
    )
    tau: float | None = option(
        None,
        "temperature of rpo, dro, nca and weighted sft, in standard deviations of the reward; default: rpo from "
        "target-std, nca 0.5, dro, sft and presets 1",
    )
    target_std: float | None = option(
        None,
        "rpo: standard deviation of the target log-ratio within a prompt, in nats, instead of tau; larger moves "
        "further from the reference; default: 12",
    )
    estimator: str | None = option(None, "of V(x), for rpo; default: auto. See docs/partition.md")
    level: float | None = option(None, "rpo: how firmly V(x) is believed, 0 to inf, in responses; default: 1")
    length_normalize: bool | None = option(
        None, "rpo, dro, kto, ipo: token means of log-probabilities instead of sums; default: no (ipo: yes)"
    )
    on_policy: bool | None = option(None, "rpo: the responses were drawn from this model; default: no")
    merge_duplicates: bool | None = option(None, "rpo: equal responses to a prompt count once in V(x); default: yes")
    value_lr: float | None = option(
        None, "peak learning rate of the value network, for dro and rpo with estimator learned; default: lr"
    )
    shared_encoder: bool | None = option(
        None, "dro: a value head on the policy's own states, not a network of its own; default: no"
    )
    rescale: bool | None = option(None, "dro: divide the policy's learning rate by tau; default: yes")
    beta: float | None = option(
        None, "kto, dpo, ipo, slic: strength of the pull to the reference, in 1/nats; default: 0.1 (preset: 1)"
    )
    desirable_weight: float | None = option(None, "kto: weight of a desirable response; default: 1")
    undesirable_weight: float | None = option(None, "kto: weight of an undesirable response; default: 1")
    threshold: float | None = option(
        None, "kto: rewards above it, in the unit of the data, are desirable; default: the mean of the training rewards"
    )
    baseline: Literal["mismatched", "matched"] | None = option(
        None, "kto: log-ratios that z0 is the mean of: of other prompts' responses, or the batch's; default: mismatched"
    )
    on: Literal["all", "best", "weighted"] | None = option(
        None, "sft: responses to learn: all, a prompt's best, or all weighted by softmax(reward/tau); default: all"
    )
    pairs: Literal["best_worst", "all", "adjacent"] | None = option(
        None, "dpo, ipo, slic, reward-model: pairs made of a prompt's responses by reward; default: best_worst"
    )

    def __post_init__(self) -> None:
        known, given = KNOBS[self.objective], self.knobs()
        strange = [name for name in given if name not in known]
        if strange:
            raise ConfigError(f"objective {self.objective} does not read {', '.join(strange)}; it has {_list(known)}.")
        if self.preset is None:
            return
        presets = PRESETS.get(self.objective, {})
        if self.preset not in presets:
            raise ConfigError(
                f"objective {self.objective} has no preset {self.preset}; it has {_list(presets) or 'none'}."
            )
        fixed = [name for name in given if name not in presets[self.preset]]
        if fixed:
            raise ConfigError(
                f"preset {self.preset} fixes {', '.join(fixed)}; give the preset or the option, not both."
            )

    def knobs(self) -> dict[str, Any]:
        """The knobs that were given."""
        return {name: getattr(self, name) for name in ALL_KNOBS if getattr(self, name) is not None}


def _list(names: Any) -> str:
    return ", ".join(names)
