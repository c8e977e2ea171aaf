"""One run: train an adapter on a task's rows, and measure the policy on prompts that it has not seen."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import datasets
import torch
import transformers
from transformers import PrinterCallback

from studies.real.cells import SHUFFLED, Cell
from studies.real.methods import AUTO_LRS, METHODS, WHOLE_ADAPTER
from studies.real.models import MODELS, SMOLLM2
from studies.real.rows import rows_file, rows_of
from studies.real.scale import (
    GENERATION_BATCH,
    MAX_LENGTH,
    NEW_TOKENS,
    OFF_TASK_PROMPTS,
    RANK,
    SAMPLES,
    SHIPPED_RANK,
)
from studies.real.tasks import NAMES, parts_of, task_named
from valuefree.cli.commands.from_options import lora
from valuefree.data import read_triplets
from valuefree.data.triplets import renumbered
from valuefree.demo.data import shuffle_rewards
from valuefree.evaluation.generation import Decoding, generate_ids, response_texts
from valuefree.evaluation.held_out.assessment import HeldOutResponses
from valuefree.evaluation.held_out.logged_responses import LoggedResponses
from valuefree.evaluation.held_out.measure import quick_measures
from valuefree.evaluation.kl import as_reference
from valuefree.evaluation.metrics.diversity import ngrams
from valuefree.models.load import load_model
from valuefree.models.logprobs import response_logps
from valuefree.models.modules import accelerator_device, evaluating
from valuefree.models.strength import strength_of
from valuefree.runs.files import read_jsonl, write_jsonl
from valuefree.runs.manifest import machine
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments


def _read(task: str, regime: str, folder: Path, model: str) -> datasets.Dataset:
    file = folder / "rows" / f"{task}-{regime}.jsonl"
    if not file.exists():
        write_jsonl(file, rows_of(task, regime, model))
    return read_triplets(file)


def _of(rows: datasets.Dataset, prompts: Sequence[str], model: str) -> datasets.Dataset:
    kept = {MODELS[model].asked(prompt) for prompt in prompts}
    return renumbered(rows.select([row for row, prompt in enumerate(rows["prompt"]) if prompt in kept]))


@cache
def base_rewards(task: str, model: str) -> dict[str, float]:
    """The mean reward of the reference's own samples to each prompt."""
    return {
        line["prompt"]: fmean(answer["reward"] for answer in line["responses"])
        for line in read_jsonl(rows_file(task, "own", model))
    }


def measure_cell(cell: Cell, folder: Path, model: str = SMOLLM2) -> list[dict[str, Any]]:
    """Train and measure; one point. A tuning run is measured on the validation prompts, and does not train on them.

    model: a key of `MODELS`.
    """
    training, validation, test = parts_of(cell.task)
    rows = _read(cell.task, cell.regime, folder, model)
    chosen = cell.method in AUTO_LRS
    trained_on = training if cell.stage == "tune" or chosen else training + validation
    measured_on = validation if cell.stage == "tune" else test
    train = _of(rows, trained_on, model)
    if cell.stage == SHUFFLED:
        train = shuffle_rewards(train, seed=cell.seed)
    trainer, tokenizer = _trainer(cell, train, folder, model)
    logged = None
    if chosen or cell.stage == "tune":  # their strength, or their setting, is chosen by the logged responses
        rows_to_choose = _of(rows, validation, model)
        logged = HeldOutResponses.prepare(
            trainer.scorer,
            report=rows_to_choose,
            selection=rows_to_choose if chosen else None,
            training=train,
            seed=cell.seed,
        )
    trainer.train()
    policy: Any = trainer.model
    found: dict[str, Any] = {"objective": trainer.objective.to_dict(), "tau": trainer.temperature, "device": _device()}
    if logged is not None and chosen:
        strength = logged.choose_strength(policy, strength_of(policy), seed=cell.seed)
        found["strength"] = None if strength is None else strength.scale
        if strength is not None and strength.scale:
            strength_of(policy).apply(strength.scale)
    elif logged is not None:
        found["log"] = quick_measures(logged.report.rows(policy), sampled=logged.origin.sampled)
    decoding = Decoding(max_new_tokens=NEW_TOKENS, batch_size=GENERATION_BATCH).exact(seed=1000 + cell.seed)
    asked = [MODELS[model].asked(prompt) for prompt in measured_on]
    prompt_ids, ids = generate_ids(policy, tokenizer, asked, decoding, samples=SAMPLES[cell.stage])
    texts = response_texts(policy, tokenizer, ids)
    found |= {"gains": _gains(cell, measured_on, texts, base_rewards(cell.task, model)), "texts": texts}
    grams = [gram for text in texts for gram in ngrams(text.lower().split(), 2)]
    found |= {"length": fmean(map(len, ids)), "distinct": len(set(grams)) / max(len(grams), 1)}
    if cell.stage != "tune":
        found |= {"kl": _kl(policy, trainer, prompt_ids, ids), "off_task": _off_task(policy, trainer, cell.task, model)}
    return [found]


def _device() -> str:
    """The GPU or else the processor that a run is computed on, and the versions of the libraries that compute it."""
    device = accelerator_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else machine()
    return f"{name}, with torch {torch.__version__} and transformers {transformers.__version__}"


def _trainer(cell: Cell, train: datasets.Dataset, folder: Path, name: str) -> tuple[PolicyTrainer, Any]:
    model, tokenizer = load_model(str(MODELS[name].folder()))
    layers = model.config.num_hidden_layers
    adapter = lora(SHIPPED_RANK) if cell.method in WHOLE_ADAPTER else lora(RANK, layers=range(layers // 2, layers))
    torch.manual_seed(cell.seed)  # of the adapter's first weights
    args = PolicyTrainingArguments(
        output_dir=str(folder / "work" / cell.name),
        num_train_epochs=1,
        learning_rate=cell.lr,
        warmup_steps=3,
        lr_scheduler_type="linear",
        weight_decay=0.0,
        per_device_train_batch_size=8,
        use_cpu=not torch.accelerator.is_available(),
        seed=cell.seed,
        save_strategy="no",
        logging_steps=1000,
        report_to=[],
        disable_tqdm=True,
        max_length=MAX_LENGTH,
        max_response_length=NEW_TOKENS,
        score_cache_dir=str(folder / "scores"),
    )
    trainer = PolicyTrainer(
        model,
        METHODS[cell.method].objective(cell.strength),
        args,
        train,
        processing_class=tokenizer,
        peft_config=adapter,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, tokenizer


def _gains(cell: Cell, prompts: Sequence[str], texts: Sequence[str], base: Mapping[str, float]) -> list[float]:
    """By prompt the mean reward of its samples less that of the reference's."""
    samples = SAMPLES[cell.stage]
    rewards = task_named(cell.task).reward([prompt for prompt in prompts for _ in range(samples)], texts)
    return [
        fmean(rewards[number * samples : (number + 1) * samples]) - base[prompt]
        for number, prompt in enumerate(prompts)
    ]


def _kl(policy: Any, trainer: PolicyTrainer, asked: list[list[int]], ids: list[list[int]]) -> float:
    """Mean log-ratio of the policy's samples to the reference, in nats per response."""
    collator, ratios = trainer.scorer.collator, []
    for start in range(0, len(ids), 64):
        part = slice(start, start + 64)
        batch = collator.tensors({"prompt_ids": asked[part], "response_ids": ids[part]})
        batch = {name: tensor.to(trainer.args.device) for name, tensor in batch.items()}
        with evaluating(policy):
            own = response_logps(policy, batch).total.double()
        with evaluating(policy), as_reference(policy, adapter_off=True):
            ratios += (own - response_logps(policy, batch).total.double()).tolist()
    return fmean(ratios)


def _off_task(policy: Any, trainer: PolicyTrainer, task: str, model: str) -> float:
    """Mean loss of log-likelihood, in nats per token, of the reference's own answers to prompts of another task."""
    other = next(name for name in NAMES if name != task and rows_file(name, "own", model).exists())
    lines = list(read_jsonl(rows_file(other, "own", model)))[:OFF_TASK_PROMPTS]
    columns = {
        "prompt": [MODELS[model].asked(line["prompt"]) for line in lines],
        "response": [line["responses"][0]["text"] for line in lines],
        "reward": [line["responses"][0]["reward"] for line in lines],
        "prompt_id": list(range(len(lines))),
    }
    responses = LoggedResponses.prepare(datasets.Dataset.from_dict(columns), trainer.scorer, features=False)
    rows = responses.rows(policy)
    return float(-rows.logratios.sum() / rows.lengths.sum())
