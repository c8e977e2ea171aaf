"""The options of ``python -m studies``, one class per study; no torch."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from valuefree.cli.options.groups import Options, names_function, option
from valuefree.cli.options.metrics import MetricOptions
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.registry import DEFAULT, METRICS

TEXTS = ("reference", None)  # needs of the metrics that texts are enough for


@dataclass(frozen=True, kw_only=True)
class StudyOptions(Options):
    """Of every study. counts: options that are at least 1."""

    counts: ClassVar[tuple[str, ...]] = ("seeds", "workers")
    workers: int | None = option(None, "processes, of one thread each; default: one per core")
    page: str | None = option(None, "file of the page; default: NAME.md in the folder out, after the study's name")

    def __post_init__(self) -> None:
        for name in self.counts:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; expected at least 1.")


@dataclass(frozen=True, kw_only=True)
class StudyExactConfig(StudyOptions):
    """Of ``python -m studies exact``."""

    about: ClassVar[str] = "Every objective in worlds whose optimum is known exactly: J* - J, without sampling error."
    counts: ClassVar[tuple[str, ...]] = ("seeds", "workers", "prompts")
    methods: str = option("all", "names from the table of methods, separated by semicolons; an error names the nearest")
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
    control: Literal["shuffle", "none"] = option("shuffle", "run every method on permuted rewards too, or not")
    sweeps: bool = option(True, "also lines of some methods over n, noise, tilt and tau (default grid only)")
    out: str = option("outputs/study-exact", "folder of cells, rows and figures; run again to resume")
    quick: bool = option(False, "fewer seeds, prompts, settings and steps, all methods")
    dry_run: bool = option(False, "count the runs and stop")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tau <= 0:
            raise ConfigError(f"tau is {self.tau}; expected a positive number, in reward units.")


@dataclass(frozen=True, kw_only=True)
class StudySmallConfig(StudyOptions):
    """Of ``python -m studies small``."""

    about: ClassVar[str] = "Every objective on tiny language models whose reward is a program: reward at equal KL."
    counts: ClassVar[tuple[str, ...]] = ("seeds", "tuning_seeds", "control_seeds", "workers")
    models: str = option("t5,decoder", "kinds of model, by comma")
    regimes: str = option("on,off", "source of the training responses: the reference (on) or other policies (off)")
    methods: str = option("all", "names from the table of methods, separated by commas; an error names the nearest")
    seeds: int | None = option(None, "reported seeds; default: 5, with quick 2")
    tuning_seeds: int | None = option(None, "seeds that settings are chosen on, not reported; default: 1")
    control: Literal["shuffle", "none"] = option("shuffle", "run every method on permuted rewards too, or not")
    control_seeds: int | None = option(None, "seeds of each control; default: 3, with quick 2")
    out: str = option("outputs/study-small", "folder of cells, rows and figures; run again to resume")
    quick: bool = option(False, "fewer seeds, settings and steps, all methods")
    dry_run: bool = option(False, "count the cells, estimate the time, and stop")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.control == "none" and self.control_seeds is not None:
            raise ConfigError("control none does not read control_seeds; leave it out, or pass control shuffle.")


@dataclass(frozen=True, kw_only=True)
class StudyPaperConfig(MetricOptions, StudyOptions):
    """Of ``python -m studies paper``."""

    about: ClassVar[str] = "The paper's experiments at a scale you can afford, each number beside the published one."
    counts: ClassVar[tuple[str, ...]] = ("seeds", "judge_seeds", "workers")
    metrics: str | None = option(
        None,
        f"of the answers, by comma: {', '.join(name for name, kind in METRICS.items() if kind.needs in TEXTS)}; or the "
        f"sets paper (the six) and lexical. Default: {', '.join(DEFAULT)}; reward and KL are measured anyway",
    )
    scale: str = option(
        "tiny",
        "by comma: tiny (2 cores, minutes), tiny-128, tiny-256 (its larger sizes, for the paper's methods and "
        "claims about size), smol (SmolLM2, hours), small, large, xl (Flan-T5, GPU)",
    )
    methods: str = option(
        "all",
        "by semicolon: KTO, DRO, RPO, RPO-noNorm (as published), RPO(), RPO() auto (this package's default), RPO() "
        "self-tuned (it also chooses its learning rate and strength), RPO sums, DRO-V, SFT-all, SFT-best; the "
        "untouched reference, SFT, is always among them",
    )
    taus: str = option("0.1,1,5", "temperatures of the grid, by comma; the tables but the ablations are at 1")
    seeds: int = option(3, "runs of each: order of the rows, weights of value networks, sampling")
    control: Literal["shuffle", "none"] = option("shuffle", "also train on rewards permuted within prompts")
    decoding: Literal["same", "authors"] = option(
        "same", "of the answers: the same for all methods, or as the published scripts have it (KTO greedy)"
    )
    data: str | None = option(
        None, "feedback of small, large and xl: hub name or files; default: openbmb/UltraFeedback"
    )
    score10: Literal["keep", "drop", "fix"] = option(
        "drop", "its overall scores of 10 whose ratings say otherwise: keep (as the paper), drop, or fix"
    )
    reward_field: Literal["overall", "fine_grained"] = option("overall", "its reward")
    reward_function: str | None = option(
        None,
        "module:function or reward model that judges all answers; default: of tiny and smol the demo's",
        guarded=names_function,
    )
    judge: tuple[str, ...] = option(
        ("smollm2@serve",),
        "judges of answers: MODEL@http://host/v1, MODEL@serve (a server started here), MODEL (loaded here), "
        "MODEL@reward (a reward model: it scores all answers); none for the reward function alone, which judges in any "
        "case. mistral-7b-instruct-v0.3 and llama-3-8b-instruct are the paper's",
    )
    judge_prompts: int = option(50, "held-out prompts that judges see that compare answers, from the first; 0 for all")
    judge_seeds: int = option(1, "seeds whose answers they see, from the first")
    claims: bool = option(True, "also the runs behind Table I and section VI, where the optimum is known")
    timing: bool = option(True, "also Figure 1's timings on one process alone (scale tiny)")
    workers: int | None = option(None, "processes; default: one a core without GPU, else one")
    out: str = option("outputs/study-paper", "folder of cells, answers, verdicts, report; run again to go on")
    page: str | None = option(None, "also write the page as this Markdown file, with report.html beside its figures")
    dry_run: bool = option(False, "count runs and calls, estimate the hours, and stop")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.judge_prompts < 0:
            raise ConfigError(f"judge_prompts is {self.judge_prompts}; expected at least 0.")
        if {"reward", "kl"} & set(self.metric_list()):
            raise ConfigError("metrics: reward and kl are measured anyway; leave them out.")
        self.check_metrics(self.metric_list())

    def tau_list(self) -> list[float]:
        """The temperatures, each once.

        Raises:
            ConfigError: text that is no positive numbers, or the main temperature, 1, not among them.
        """
        try:
            found = list(dict.fromkeys(float(part) for part in self.taus.split(",")))
        except ValueError as error:
            raise ConfigError(f"taus is {self.taus!r}; expected numbers by comma.") from error
        if 1.0 not in found or not all(0 < tau < math.inf for tau in found):
            raise ConfigError(f"taus is {self.taus!r}; expected positive numbers, 1 among them, where the tables are.")
        return sorted(found)

    def judges(self) -> list[str]:
        """The judges beside the reward function."""
        return [name for name in self.judge if name != "none"]


@dataclass(frozen=True, kw_only=True)
class StudyFrontierConfig(StudyOptions):
    """Of ``python -m studies frontier``."""

    about: ClassVar[str] = "Objectives as shipped on the demo's task: reward against KL while training."
    objectives: tuple[str, ...] = option(
        ("RPO()", "RPO(target_std=24)", "KTO()", "KTO(beta=0.3)", "DPO()", "DPO(beta=0.3)"),
        "objectives, as written in Python",
    )
    seeds: int = option(3, "runs of each objective, with seeds 0, 1, …")
    shuffled: tuple[str, ...] = option(("RPO()",), "objectives also trained on shuffled rewards")
    out: str = option("outputs/study-frontier", "folder of cells; run again to resume")


@dataclass(frozen=True, kw_only=True)
class StudyRealConfig(StudyOptions):
    """Of ``python -m studies real``."""

    about: ClassVar[str] = "Every method tuned alike on a language model, on tasks whose reward a program computes."
    model: str = option("smollm2", "smollm2 (SmolLM2-135M-Instruct) or gemma3 (Gemma 3 270M)")
    worlds: tuple[str, ...] = option(
        (
            "constraints:on-policy",
            "constraints:thumbs",
            "constraints:off-policy",
            "sentiment:on-policy",
            "reading:on-policy",
        ),
        "worlds, each a task and on-policy, thumbs or off-policy",
    )
    methods: str = option("stage-1", "methods, by comma; stage-1: seven of them; all")
    shuffled: str = option("rpo-auto", "methods also trained on shuffled rewards, by comma; none")
    seeds: int = option(3, "reported runs of each setting, with seeds 0, 1, …")
    sample: bool = option(False, "only sample the rows that are missing in studies/real/rows")
    out: str | None = option(None, "folder of cells; run again to resume; default: outputs/study-real, with -MODEL")
    page_only: bool = option(False, "run nothing, and write the page from the runs that are there")
    records: str | None = option(None, "file of runs: those in it are not run again, new ones are added; default: none")
    readme: str | None = option(None, "file with markers to write the table of gains between; default: none")
    dry_run: bool = option(False, "print the number of cells and hours, and stop")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sample + self.page_only + self.dry_run > 1:
            raise ConfigError("sample, page_only and dry_run: give one of them; each says what alone is done.")


@dataclass(frozen=True, kw_only=True)
class StudyLearnedConfig(StudyOptions):
    """Of ``python -m studies learned``."""

    about: ClassVar[str] = "Measures on held-out logged rows against the true gain: order, choices, coverage."
    counts: ClassVar[tuple[str, ...]] = ("seeds", "choose_seeds", "workers")
    worlds: str = option("smollm2,small,exact", "worlds, by comma; smollm2 takes about 14 minutes a run, 10 runs")
    seeds: int | None = option(None, "reported seeds of each world; default: 5, of the small world 2; with quick 1")
    choose_seeds: int = option(1, "seeds that the rules of choice are made on, not reported; of small and exact")
    out: str = option("outputs/study-learned", "folder of cells and measures; run again to resume")
    quick: bool = option(False, "fewer methods, prompts, steps and seeds")
    dry_run: bool = option(False, "count the cells and stop")


@dataclass(frozen=True, kw_only=True)
class StudyMemorisationConfig(StudyOptions):
    """Of ``python -m studies memorisation``."""

    about: ClassVar[str] = "What narrows the gap between the ranking of training rows and of held-out rows."
    seeds: int = option(8, "reported runs of each setting, with seeds 0, 1, …")
    noise: float = option(1.0, "noise on the rewards, in standard deviations of the rewards within a prompt", above=0)
    out: str = option("outputs/study-memorisation", "folder of cells; run again to resume")
