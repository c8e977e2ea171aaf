"""Options of ``valuefree demo``; no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from valuefree.cli.options import VERBS
from valuefree.cli.options.groups import Options, option


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Options):
    """Of ``valuefree demo``."""

    about: ClassVar[str] = VERBS["demo"]
    group: ClassVar[str] = "training"
    shown_first: ClassVar[tuple[str, ...]] = ("model", "seed", "out")
    model: Literal["smollm2", "tiny-t5"] = option("smollm2", "SmolLM2-135M-Instruct by pip, or a T5 made in seconds")
    seed: int = option(0, "random seed of split, order, adapter and sampling", minimum=0)
    shuffle_rewards: bool = option(False, "control: permute the rewards within each prompt of the training rows")
    train_prompts: int = option(192, "prompts to train on, of 240", group="data", minimum=1, maximum=239)
    test_prompts: int = option(48, "prompts held out", group="data", minimum=1, maximum=239)
    samples_per_prompt: int = option(2, "responses per held-out prompt and model", group="evaluation", minimum=1)
    epochs: float = option(1.0, "passes over the training rows", above=0)
    lr: float = option(5e-4, "peak learning rate", minimum=0, maximum=1e30)
    target_std: float | None = option(
        None,
        "standard deviation of the target log-ratio within a prompt, in nats",
        otherwise="that of RPO()",
        minimum=1e-6,
        maximum=1e6,
        group="objective",
    )
    out: str = option(
        "outputs/demo",
        "folder for report.html, metrics.json and the rest",
        group="output",
        output="folder",
    )
    overwrite: bool = option(
        False, "replace the run in the folder out: remove what it wrote, and nothing else", group="output"
    )
    cache_dir: str | None = option(
        None,
        "folder of reference scores",
        otherwise="valuefree/scores in the user's cache folder",
        group="model",
        output="folder",
    )
    dry_run: bool = option(False, "print the settings and stop", group="output")
