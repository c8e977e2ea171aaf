"""The scales of the study, from ``scales.yaml``: model, data and settings of each. No torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from studies.harness.methods import names_of
from studies.paper.published import SIZES
from valuefree.errors import ConfigError

MAIN_TAU = 1.0  # of every table but the ablations
FAMILIES = (("small", "large", "xl"), ("tiny", "tiny-128", "tiny-256"))  # sizes of one model on the same data
BRIEF = FAMILIES[1][1:]  # run for the claims about sizes alone


@dataclass(frozen=True)
class Scale:
    """One size of model with its data and settings.

    published: the paper's name of this size, None for a size that the paper lacks. model: hub name, or None for the
    reference that is made here. feedback: ``demo`` rows of the package, or ``ultrafeedback``. parameters: number of the
    model's parameters. batch × accumulation: responses per step. prompt_limit, response_limit: tokens; longer prompts
    are cut, longer responses lose their end. max_grad_norm: 0 does not clip. reference_epochs, width: of the tiny T5
    that is trained as reference. test_prompts: prompts that are held out, measured and judged. kl_prompts: number of
    them on which the KL is estimated.
    """

    name: str
    title: str
    kind: Literal["encoder-decoder", "decoder"]
    parameters: float
    published: str | None = None
    model: str | None = None
    feedback: Literal["demo", "ultrafeedback"] = "ultrafeedback"
    epochs: float = 1.0
    lr: float = 1e-4
    warmup_steps: int = 150
    batch: int = 16
    accumulation: int = 2
    prompt_limit: int = 512
    response_limit: int = 512
    max_new_tokens: int = 768
    lora_rank: int | None = None
    bf16: bool = False
    max_grad_norm: float = 0.0
    reference_epochs: float = 0.0
    width: int = 0
    test_prompts: int = 1000
    kl_prompts: int = 256
    generation_batch: int = 32
    train_prompts: int | None = None

    @property
    def compared_with(self) -> str:
        """The paper's size whose numbers stand beside those of this scale: its own, or that of its rank, else Small."""
        rank = next((names.index(self.name) for names in FAMILIES if self.name in names), 0)
        return self.published or SIZES[rank]

    @property
    def brief(self) -> bool:
        """Whether it serves the claims about sizes alone: the paper's methods, without the control."""
        return self.name in BRIEF


SCALES: dict[str, Scale] = {
    name: Scale(name, **fields)
    for name, fields in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")).items()
}


def scales_of(text: str, *, data: str | None = None) -> list[Scale]:
    """Scales by comma.

    Raises:
        ConfigError: an unknown name, or `data` for scales that bring their own.
    """
    found = [SCALES[name] for name in names_of(text, SCALES, "scale")]
    own = [scale.name for scale in found if scale.feedback == "demo"]
    if data is not None and own:
        raise ConfigError(f"scale {', '.join(own)} brings its own feedback and does not read data; leave it out.")
    return found
