"""The logged rows of a task: sampled once from the model; those of SmolLM2 are kept in the repository."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median, stdev
from typing import Any

from studies.real.models import MODELS, SMOLLM2
from studies.real.scale import NEW_TOKENS, RESPONSES
from studies.real.tasks import task_named
from valuefree.evaluation.generation import Decoding, generate_ids, response_texts
from valuefree.models.load import load_model
from valuefree.models.modules import accelerator_device
from valuefree.runs.files import read_jsonl, write_jsonl

KEPT = Path(__file__).with_name("rows")
REGIMES = ("on-policy", "thumbs", "off-policy")
AUTHORS = ("own", "hinted")  # the model as it is asked, and with the task's hint after the prompt
SEEDS = {"own": 0, "hinted": 1}
LEAST_DEVIATION = 0.1  # of the reward within prompts; a task below has nothing to learn from


def rows_file(task: str, author: str, model: str = SMOLLM2) -> Path:
    """The file of a task's rows by one author."""
    return (KEPT if model == SMOLLM2 else KEPT / model) / f"{task}-{author}.jsonl"


def sample_rows(task: str, author: str, name: str = SMOLLM2) -> None:
    """Write `rows_file`: per prompt `RESPONSES` exact samples of the model `name` with their rewards."""
    chosen, author_model = task_named(task), MODELS[name]
    model, tokenizer = load_model(str(author_model.folder()))
    model.to(accelerator_device())
    prompts = chosen.prompts()
    hint = "" if author == "own" else f" {chosen.hint}"
    asked = [author_model.asked(f"{prompt}{hint}") for prompt in prompts]
    decoding = Decoding(max_new_tokens=NEW_TOKENS, batch_size=96).exact(seed=SEEDS[author])
    _, ids = generate_ids(model, tokenizer, asked, decoding, samples=RESPONSES)
    texts = response_texts(model, tokenizer, ids)
    rewards = chosen.reward([prompt for prompt in prompts for _ in range(RESPONSES)], texts)
    answers = [{"text": text, "reward": round(reward, 6)} for text, reward in zip(texts, rewards, strict=True)]
    lines = (
        {"prompt": prompt, "responses": answers[number * RESPONSES : (number + 1) * RESPONSES]}
        for number, prompt in enumerate(prompts)
    )
    write_jsonl(rows_file(task, author, name), lines)


def deviation_within(task: str, model: str = SMOLLM2) -> float:
    """Root mean square over prompts of the standard deviation of the reference's rewards."""
    variances = [
        stdev(answer["reward"] for answer in line["responses"]) ** 2
        for line in read_jsonl(rows_file(task, "own", model))
    ]
    return (sum(variances) / len(variances)) ** 0.5


def rows_of(task: str, regime: str, model: str = SMOLLM2) -> Iterator[dict[str, Any]]:
    """Rows (prompt, response, reward) of a regime; empty responses are left out.

    ``on-policy``: four samples of the model. ``thumbs``: the first of them, with 1 for a reward above the median over
    all samples of the task and 0 otherwise. ``off-policy``: two of them and two with the hint.
    """
    own = list(read_jsonl(rows_file(task, "own", model)))
    if regime == "on-policy":
        kept = [(line["prompt"], line["responses"]) for line in own]
    elif regime == "thumbs":
        middle = median(answer["reward"] for line in own for answer in line["responses"])
        kept = [
            (
                line["prompt"],
                [answer | {"reward": float(answer["reward"] > middle)} for answer in line["responses"][:1]],
            )
            for line in own
        ]
    else:
        hinted = read_jsonl(rows_file(task, "hinted", model))
        kept = [
            (line["prompt"], line["responses"][:2] + other["responses"][:2])
            for line, other in zip(own, hinted, strict=True)
        ]
    for prompt, answers in kept:
        for answer in answers:
            if answer["text"].strip():
                yield {"prompt": MODELS[model].asked(prompt), "response": answer["text"], "reward": answer["reward"]}
