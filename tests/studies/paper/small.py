"""The tiny scale shrunk until only the workings of the study are left."""

from dataclasses import replace

from studies.paper.scales import SCALES

SMALL = replace(
    SCALES["tiny"],
    width=16,
    reference_epochs=1.0,
    epochs=1.0,
    train_prompts=12,
    test_prompts=8,
    kl_prompts=4,
    generation_batch=8,
    max_new_tokens=8,
)
OPTIONS = {
    "methods": "RPO;KTO",
    "taus": "1",
    "seeds": 2,
    "judge": ("none",),
    "claims": False,
    "timing": False,
    "workers": 2,
}
CELLS = 2 * (3 + 2)  # SFT and the two methods; of the control these two
