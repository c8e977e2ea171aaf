"""A recipe for ``valuefree train`` from a log and a machine: each key with its value and the reason for it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from valuefree.cli.commands.runs import held_out_sizes
from valuefree.cli.options.train import TrainConfig
from valuefree.cli.parse import from_mapping
from valuefree.data.profile import Profile
from valuefree.data.summary import DataSummary
from valuefree.errors import number_of
from valuefree.models.footprint import Shape
from valuefree.models.machine import Machine

RANK, BATCH, EPOCHS, RATE, TARGET_STD = 16, 8, 1, 5e-4, 12
CHARACTERS_PER_TOKEN = 4  # of English text, roughly
FULL = 0.7  # share of the free memory that an estimate may take
HOURS = 2  # that training may take, where no model is named
SIZES = 8  # of groups that are listed
MAX_LENGTH = 1024  # the default of train
HALF_WIDTHS = {False: 0.052, True: 0.072}  # of the ranking accuracy on 80 prompts; True: one response per prompt
# Decoders that the tests and pages of this package name, by size.
LADDER = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": Shape(134_515_008, 30, 576, 1536, 9, 192, 49152, encoder_decoder=False),
    "HuggingFaceTB/SmolLM2-360M-Instruct": Shape(361_821_120, 32, 960, 2560, 15, 320, 49152, encoder_decoder=False),
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": Shape(1_711_376_384, 24, 2048, 8192, 32, 2048, 49152, encoder_decoder=False),
    "meta-llama/Llama-3.1-8B-Instruct": Shape(8_030_261_248, 32, 4096, 14336, 32, 1024, 128256, encoder_decoder=False),
}


class Setting(NamedTuple):
    """One key of the recipe. value: None for what `train` decides itself. reason: one line."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Log:
    """What was found in the data. columns: settings that say where the rows are."""

    columns: tuple[Setting, ...]
    summary: DataSummary
    profile: Profile

    @property
    def tokens(self) -> float:
        """Rough number of tokens of all responses, and of each prompt once."""
        return self.profile.characters / CHARACTERS_PER_TOKEN

    @property
    def long_tokens(self) -> int:
        """Rough 99th percentile of tokens per row."""
        return round(self.profile.long_characters / CHARACTERS_PER_TOKEN)


@dataclass(frozen=True)
class Estimate:
    """Rough cost of the recipe: bytes and seconds."""

    memory: float
    seconds: float

    @classmethod
    def of(cls, shape: Shape, log: Log, machine: Machine) -> "Estimate":
        """By the formulas of `Shape`, for the settings of the recipe."""
        memory = shape.memory(
            rank=RANK, rows=BATCH, tokens=min(log.long_tokens, _max_length(log)), gpu=machine.gpu is not None
        )
        seconds = shape.seconds(log.tokens, EPOCHS, machine.speed, rank=RANK)
        return cls(memory, seconds)

    def fits(self, machine: Machine) -> bool:
        """Whether the memory is well below what is free."""
        return self.memory <= FULL * machine.memory


def choose_model(log: Log, machine: Machine) -> str:
    """The largest model of the ladder that fits and trains in two hours, else the smallest."""
    names = list(LADDER)
    costs = {name: Estimate.of(shape, log, machine) for name, shape in LADDER.items()}
    good = [name for name in names if costs[name].fits(machine) and costs[name].seconds <= 3600 * HOURS]
    return good[-1] if good else names[0]


def settings(log: Log, machine: Machine, model: str, *, named: bool) -> list[Setting]:
    """All keys of the recipe. named: the user has named the model."""
    reason = "the model that you named"
    if not named:
        reason = (
            f"the largest of {len(LADDER)} that this machine trains in {HOURS} h; better is the model that wrote the "
            "rows (docs/held_out.md)"
        )
    found = [*log.columns, Setting("model", model, reason)]
    if machine.gpu:
        found += [
            Setting("dtype", "bfloat16", "of the frozen weights; the adapter stays float32 (docs/scaling.md)"),
            Setting("bf16", True, "compute in bfloat16, in scoring and training alike"),
        ]
    if _max_length(log) > MAX_LENGTH:
        found.append(Setting("max_length", _max_length(log), f"1 % of the rows exceed about {log.long_tokens} tokens"))
    found += _objective(log.profile)
    found += _held_out(log, found)
    found += [
        Setting(
            "epochs",
            EPOCHS,
            "a second pass over 112 prompts memorised and did not raise the held-out reward (docs/lab_notes.md)",
        ),
        Setting("lr", RATE, "the rate of the studies with LoRA; lr: auto searches one, and can go too far"),
        Setting("batch_size", BATCH, "responses per step, as in the studies; a larger one makes fewer steps"),
        Setting(
            "lora_rank",
            RANK,
            "rank 4 gained less on one of two tasks (docs/results/memorisation.md); 0 trains all weights",
        ),
        Setting("save_minutes", 10, "a checkpoint every 10 minutes, at the end and on a signal, for --resume"),
        Setting("out", "outputs/train", "folder of the run: report.html, metrics.json, model/"),
    ]
    return found


def _max_length(log: Log) -> int:
    return max(MAX_LENGTH, -(-log.long_tokens // 256) * 256)


def _objective(profile: Profile) -> list[Setting]:
    objective = "it reads the size of every reward of several responses per prompt; compare with kto (docs/choosing.md)"
    if profile.singles:
        objective = (
            "most prompts have one response; sft was .010 ahead on noisy ones: compare with it (docs/choosing.md)"
        )
    spread = "within prompts" if profile.differs else "over all rows"
    strength = (
        f"nats of log-ratio per standard deviation of the rewards {spread} ({profile.reward_std:.3g}); docs/choosing.md"
    )
    estimator = "informed: it learns from other prompts where a prompt has few responses (docs/partition.md)"
    return [
        Setting("objective", "rpo", objective),
        Setting("target_std", TARGET_STD, strength),
        Setting("estimator", "auto", estimator),
    ]


def _held_out(log: Log, found: list[Setting]) -> list[Setting]:
    options = from_mapping(TrainConfig, {item.key: item.value for item in found})
    report, selection = held_out_sizes(options, log.summary.prompts)
    width = min(0.5, HALF_WIDTHS[log.profile.singles] * (80 / report) ** 0.5)
    resolution = f"ranking accuracy ± {100 * width:.0f} points at best"
    if width > 0.05:
        needed = round(80 * (HALF_WIDTHS[log.profile.singles] / 0.05) ** 2)
        resolution += f"; {needed} tell 55 % from chance (docs/choosing.md)"
    chosen = f"{selection} here, to select the strength" if selection else "none here"
    return [
        Setting("test_prompts", None, f"a quarter, at most 400: {report} of {log.summary.prompts}; {resolution}"),
        Setting("validation_prompts", None, f"an eighth from 400 prompts on: {chosen} (docs/held_out.md)"),
    ]


def recipe_text(file: str, log: Log, machine: Machine, found: list[Setting], shape: Shape | None) -> str:
    """The recipe as commented YAML.

    Raises:
        ConfigError: a setting that `train` does not take.
    """
    from_mapping(TrainConfig, {item.key: item.value for item in found if item.value is not None})
    sizes = sorted(log.profile.group_sizes.items(), key=lambda item: -item[1])
    shown = [f"{size} for {number_of(count, 'prompt')}" for size, count in sizes[:SIZES]]
    if len(sizes) > SIZES:
        shown.append(f"and {len(sizes) - SIZES} other numbers, at most {max(log.profile.group_sizes)}")
    lines = [
        f"valuefree train --config {file}",
        str(log.summary),
        f"responses per prompt: {', '.join(shown)}",
        "rewards:",
        *(f"  {line}" for line in log.profile.histogram),
        f"machine: {machine}",
        *estimate_lines(shape, log, machine),
    ]
    keys = [
        f"# {item.key}, by default {item.reason}\n"
        if item.value is None
        else f"# {item.reason}\n{yaml.safe_dump({item.key: item.value}, allow_unicode=True)}"
        for item in found
    ]
    return "\n".join([*(f"# {line}" for line in lines), "", *keys])


def estimate_lines(shape: Shape | None, log: Log, machine: Machine) -> list[str]:
    """What the run will cost, with the formulas."""
    if shape is None:
        return ["estimate: none, because the model was not found; `valuefree doctor --model NAME` says why"]
    cost = Estimate.of(shape, log, machine)
    passed = "N/2" if shape.encoder_decoder else "N"
    doubt = "" if cost.fits(machine) else "; too much: choose a smaller model, or set gradient_checkpointing: true"
    return [
        f"estimate, rough: {cost.memory / 1e9:.1f} GB ({'2' if machine.gpu else '4'} N + 16 · adapter + activations of "
        f"{BATCH} × {min(log.long_tokens, _max_length(log))} tokens + logits, docs/scaling.md){doubt}",
        f"estimate, rough: {cost.seconds / 60:.0f} min ({2 + 4 * EPOCHS} · {passed} · tokens / (0.4 · speed), with N = "
        f"{shape.parameters:,} and {log.tokens:,.0f} tokens = characters / {CHARACTERS_PER_TOKEN})",
    ]
