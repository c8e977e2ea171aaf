"""An estimate of a study's cost before it starts, with its assumptions. No torch."""

from collections.abc import Sequence

from studies.paper.cells import Cell
from studies.paper.methods import METHODS
from studies.paper.scales import Scale

ROWS, PROMPT_TOKENS, RESPONSE_TOKENS, PER_PROMPT = 255_864, 160, 220, 4  # UltraFeedback: 63,966 prompts, four answers
ENCODER_SHARE = 0.42  # of T5's parameters
FLOPS = 0.35 * 156e12  # an A100 at TF32, of its peak
TOKEN_SECONDS = 0.03  # per step of generation, limited by kernel launches
CPU_SECONDS = {"tiny": 6.0, "tiny-128": 9.0, "tiny-256": 16.0, "smol": 420.0}  # of a cell, measured on two cores
SEARCH = 2.125  # training steps with the search for a learning rate, relative to those without
VALUE_FORWARDS = 3  # of DRO-V's second network on the prompts, backward pass included


def cell_hours(cell: Cell, scale: Scale) -> float:
    """Hours of one run on one device: scoring the reference once, training, answering the held-out prompts."""
    searching = SEARCH if METHODS[cell.method].tuned else 1.0
    if scale.name in CPU_SECONDS:
        return CPU_SECONDS[scale.name] * searching / 3600
    generation = scale.test_prompts / scale.generation_batch * scale.max_new_tokens * TOKEN_SECONDS
    if cell.method == "SFT":
        return generation / 3600
    encoder = ENCODER_SHARE * scale.parameters * ROWS / PER_PROMPT * min(PROMPT_TOKENS, scale.prompt_limit)
    decoder = (1 - ENCODER_SHARE) * scale.parameters * ROWS * min(RESPONSE_TOKENS, scale.response_limit)
    rows = 1 / PER_PROMPT if cell.method == "SFT-best" else 1.0
    forwards = 3 + (0 if cell.method.startswith("SFT") else 1)
    value = VALUE_FORWARDS * encoder if cell.method == "DRO-V" else 0.0
    flops = 2 * rows * scale.epochs * (forwards * (encoder + decoder) + value)
    return (flops * searching / FLOPS + 2 * generation) / 3600  # generation is repeated for the KL


def estimate(cells: Sequence[Cell], scales: Sequence[Scale], calls: int, workers: int) -> list[str]:
    """Sentences about the remaining runs and calls."""
    sentences = []
    for scale in scales:
        own = [cell for cell in cells if cell.scale == scale.name]
        hours = sum(cell_hours(cell, scale) for cell in own)
        if scale.published:
            sentences.append(
                f"{scale.title}: {len(own)} runs, about {hours:,.0f} GPU hours on A100s of 80 GB, one each. Assumed: "
                f"{ROWS:,} rows of {PROMPT_TOKENS} + {RESPONSE_TOKENS} tokens, float32 with TF32 at {FLOPS / 1e12:.0f} "
                "TFLOP/s, prompts encoded once for their responses. Padded to the limit and scored anew at every "
                "step, as the published scripts do, it is several times that."
            )
        else:
            minutes = hours * 60 / workers
            named = f"{minutes:.0f} min" if minutes >= 2 else f"{60 * minutes:.0f} s"
            many = "worker" if workers == 1 else "workers"
            text = f"{len(own)} runs, about {named} with {workers} {many}, without its reference."
            sentences.append(f"{scale.title}: {text}")
    if calls:
        sentences.append(f"Judges: at most {calls:,} calls; a small model on a CPU answers one in about 2 s.")
    return sentences
