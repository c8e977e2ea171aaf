"""The scales of the study: model, data and settings of each. No torch."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from valuefree.cli.parse import unknown
from valuefree.errors import ConfigError

TAUS = (0.1, 1.0, 5.0)
MAIN_TAU = 1.0  # of every table but the ablations


@dataclass(frozen=True)
class Scale:
    """One size of model with its data and settings.

    published: the paper's name of this size; None for those that it has not. model: hub name, or None for the tiny T5
    that is made from the training rows. feedback: ``demo`` rows of the package, or ``ultrafeedback``. parameters: of
    the model. batch × accumulation: responses per step. prompt_limit, response_limit: tokens; longer texts are cut
    (prompts) or their end is cut (responses). max_grad_norm: 0 does not clip. reference_epochs, width: of the made
    reference. test_prompts: held out, measured and judged; kl_prompts: of them, whose KL is estimated.
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

    def world(self) -> dict[str, Any]:
        """What a folder's cells must share."""
        return asdict(self)


def _flan(name: str, published: str, millions: float, batch: int, accumulation: int, limit: int) -> Scale:
    return Scale(
        name,
        f"Flan-T5 {published}",
        "encoder-decoder",
        millions * 1e6,
        published=published,
        model=f"google/flan-t5-{name}",
        batch=batch,
        accumulation=accumulation,
        prompt_limit=limit,
        response_limit=limit,
    )


# Sizes, optimiser, schedule and data: section IV of the paper; batches, lengths and one epoch: its published scripts.
SCALES: dict[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale(
            "tiny",
            "tiny T5",
            "encoder-decoder",
            0.3e6,
            feedback="demo",
            epochs=3.0,
            lr=3e-4,
            warmup_steps=5,
            batch=32,
            accumulation=1,
            prompt_limit=256,
            response_limit=256,
            max_new_tokens=48,
            max_grad_norm=1.0,
            reference_epochs=20.0,
            width=64,
            test_prompts=80,
            kl_prompts=80,
            generation_batch=80,
        ),
        Scale(
            "smol",
            "SmolLM2-135M-Instruct, LoRA",
            "decoder",
            135e6,
            feedback="demo",
            epochs=2.0,
            lr=1e-4,
            warmup_steps=3,
            batch=8,
            accumulation=1,
            prompt_limit=256,
            response_limit=40,  # where the rows were cut when they were sampled
            max_new_tokens=40,
            lora_rank=16,
            max_grad_norm=1.0,
            test_prompts=80,
            kl_prompts=32,
            generation_batch=80,
            train_prompts=112,
        ),
        _flan("small", "Small", 77, 16, 2, 512),
        _flan("large", "Large", 783, 4, 8, 512),
        _flan("xl", "XL", 2850, 2, 16, 256),
    )
}


def scales_of(text: str, *, data: str | None = None) -> list[Scale]:
    """Scales by comma.

    Raises:
        ConfigError: an unknown name, or `data` for scales that bring their own.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in SCALES:
            raise unknown("scale", name, list(SCALES))
    if not names:
        raise unknown("scale", text, list(SCALES))
    found = [SCALES[name] for name in dict.fromkeys(names)]
    own = [scale.name for scale in found if scale.feedback == "demo"]
    if data is not None and own:
        raise ConfigError(f"scale {', '.join(own)} brings its own feedback and does not read data; leave it out.")
    return found
