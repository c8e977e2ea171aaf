"""The options of ``valuefree study``, one world each; no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from valuefree.config.options import Options, option
from valuefree.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class StudyExactConfig(Options):
    """Of ``valuefree study exact``."""

    about: ClassVar[str] = "Every objective in worlds whose optimum is known exactly: J* - J, without sampling error."
    methods: str = option("all", "names of the methods table, by semicolon; an unknown name lists the nearest")
    responses: str | None = option(None, "responses per prompt, by comma; default: the regimes of n = 4 and of n = 1")
    noise: str | None = option(None, "standard deviation of the noise on rewards, by comma; default: of the regimes")
    tilt: str | None = option(None, "tilt of the policy that wrote the responses, by comma; 0 is the reference itself")
    prompts: int = option(256, "training prompts")
    tau: float = option(1.0, "temperature of J = E r - tau KL, in reward units (1 is the spread within a prompt)")
    structure: Literal["factorised", "markov"] = option("factorised", "tokens independent, or first-order Markov")
    reward: Literal["additive", "saturating"] = option("additive", "additive, or 2 tanh(sum / 2), whose J is sampled")
    length: int = option(20, "tokens of a response")
    alphabet: int = option(6, "different tokens")
    features: int = option(4, "numbers that describe a prompt, a constant among them")
    seeds: int | None = option(None, "reported worlds; default: 5, with quick 2")
    first_seed: int = option(0, "number of the first world")
    control: Literal["shuffle", "none"] = option("shuffle", "run every method on rewards permuted within prompts too")
    sweeps: bool = option(True, "also lines of some methods over n, noise, tilt and tau (default grid only)")
    workers: int | None = option(None, "processes, of one thread each; default: one a core")
    out: str = option("outputs/study-exact", "folder of rows and figures")
    page: str | None = option(None, "file of the page; default: exact.md in the folder out")
    quick: bool = option(False, "fewer seeds, prompts, settings and steps, all methods")
    dry_run: bool = option(False, "count the runs and stop")

    def __post_init__(self) -> None:
        for name in ("seeds", "workers", "prompts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; expected at least 1.")
        if self.tau <= 0:
            raise ConfigError(f"tau is {self.tau}; expected a positive number, in reward units.")


@dataclass(frozen=True, kw_only=True)
class StudySmallConfig(Options):
    """Of ``valuefree study small``."""

    about: ClassVar[str] = "Every objective on tiny language models whose reward is a program: reward at equal KL."
    models: str = option("t5,decoder", "kinds of model, by comma")
    regimes: str = option("on,off", "where the training responses come from: the reference (on) or others (off)")
    methods: str = option("all", "names of the methods table, by comma; an unknown name lists the nearest")
    seeds: int | None = option(None, "reported seeds; default: 5, with quick 2")
    tuning_seeds: int | None = option(None, "seeds that settings are chosen on, not reported; default: 1")
    control: Literal["shuffle", "none"] = option("shuffle", "run every method on rewards permuted within prompts too")
    control_seeds: int | None = option(None, "seeds of the control; default: 3, with quick 2")
    workers: int | None = option(None, "processes, of one thread each; default: one a core")
    out: str = option("outputs/study-small", "folder of cells, rows, tables, figures; run again to go on")
    page: str | None = option(None, "file of the page; default: small.md in the folder out")
    quick: bool = option(False, "fewer seeds, settings and steps, all methods")
    dry_run: bool = option(False, "count the cells, estimate the time, and stop")

    def __post_init__(self) -> None:
        for name in ("seeds", "tuning_seeds", "control_seeds", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; expected at least 1.")
        if self.control == "none" and self.control_seeds is not None:
            raise ConfigError("control none does not read control_seeds; leave it out, or pass control shuffle.")
