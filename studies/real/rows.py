"""The logged rows of a task: sampled once from SmolLM2 and kept in the repository."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median, stdev
from typing import Any

from studies.real.tasks import task_named
from valuefree.demo.smollm2 import smollm2_folder
from valuefree.evaluation.generation import Decoding, generate_ids, response_texts
from valuefree.models.load import load_model
from valuefree.runs.files import read_jsonl, write_jsonl

KEPT = Path(__file__).with_name("rows")
REGIMES = ("on-policy", "thumbs", "off-policy")
AUTHORS = ("own", "hinted")  # the model as it is asked, and with the task's hint after the prompt
RESPONSES = 4
NEW_TOKENS = 48
SEEDS = {"own": 0, "hinted": 1}
LEAST_DEVIATION = 0.1  # of the reward within prompts; a task below has nothing to learn from


def rows_file(task: str, author: str) -> Path:
    """The file of a task's rows by one author."""
    return KEPT / f"{task}-{author}.jsonl"


def sample_rows(task: str, author: str) -> None:
    """Write `rows_file`: per prompt `RESPONSES` exact samples of SmolLM2 with their rewards."""
    chosen = task_named(task)
    model, tokenizer = load_model(str(smollm2_folder()))
    prompts = chosen.prompts()
    asked = prompts if author == "own" else [f"{prompt} {chosen.hint}" for prompt in prompts]
    decoding = Decoding(max_new_tokens=NEW_TOKENS, batch_size=96).exact(seed=SEEDS[author])
    _, ids = generate_ids(model, tokenizer, asked, decoding, samples=RESPONSES)
    texts = response_texts(model, tokenizer, ids)
    rewards = chosen.reward([prompt for prompt in prompts for _ in range(RESPONSES)], texts)
    answers = [{"text": text, "reward": round(reward, 6)} for text, reward in zip(texts, rewards, strict=True)]
    lines = (
        {"prompt": prompt, "responses": answers[number * RESPONSES : (number + 1) * RESPONSES]}
        for number, prompt in enumerate(prompts)
    )
    write_jsonl(rows_file(task, author), lines)


def deviation_within(task: str) -> float:
    """Root mean square over prompts of the standard deviation of the reference's rewards."""
    variances = [
        stdev(answer["reward"] for answer in line["responses"]) ** 2 for line in read_jsonl(rows_file(task, "own"))
    ]
    return (sum(variances) / len(variances)) ** 0.5


def rows_of(task: str, regime: str) -> Iterator[dict[str, Any]]:
    """Rows (prompt, response, reward) of a regime; empty responses are left out.

    ``on-policy``: four samples of the model. ``thumbs``: the first of them, with 1 for a reward above the median over
    all samples of the task and 0 otherwise. ``off-policy``: two of them and two with the hint.
    """
    own = list(read_jsonl(rows_file(task, "own")))
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
        hinted = read_jsonl(rows_file(task, "hinted"))
        kept = [
            (line["prompt"], line["responses"][:2] + other["responses"][:2])
            for line, other in zip(own, hinted, strict=True)
        ]
    for prompt, answers in kept:
        for answer in answers:
            if answer["text"].strip():
                yield {"prompt": prompt, "response": answer["text"], "reward": answer["reward"]}
