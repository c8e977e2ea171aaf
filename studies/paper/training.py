"""One cell: train by the method, answer the held-out prompts, and measure the answers."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import PrinterCallback

from studies.options import StudyPaperConfig
from studies.paper.cells import Cell, responses_file
from studies.paper.methods import METHODS
from studies.paper.scales import MAIN_TAU, Scale
from studies.paper.self_tuning import SelfTuning, split_selection
from studies.paper.world import Setup, decoding_of, held_out_of, load_reference, train_rows
from valuefree.cli.commands.from_options import lora
from valuefree.cli.commands.measure import text_metrics_of
from valuefree.evaluation.generation import generate_ids, response_texts
from valuefree.evaluation.kl import kl_to_reference
from valuefree.evaluation.metrics.measure import TextMetrics
from valuefree.evaluation.metrics.registry import DEFAULT, OWNED
from valuefree.evaluation.reward_functions import load_reward, rewards_of
from valuefree.evaluation.stats import bootstrap_mean
from valuefree.models.modules import accelerator_device
from valuefree.runs.files import read_jsonl, write_jsonl
from valuefree.runs.manifest import fingerprint
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments

LOGGED = 20  # points of a training curve
SAMPLING_SEED = 10_000  # apart from the seeds of the data order


def training_arguments(setup: Setup, scale: Scale, *, seed: int, rows: int, max_steps: int = -1):
    """The same for every method."""
    steps = max(1, round(rows * scale.epochs / (scale.batch * scale.accumulation)))
    return PolicyTrainingArguments(
        output_dir=str(setup.folder / "checkpoints"),
        num_train_epochs=scale.epochs,
        max_steps=max_steps,
        learning_rate=scale.lr,
        lr_scheduler_type="linear",
        warmup_steps=scale.warmup_steps,
        weight_decay=0.01 if scale.published else 0.0,  # AdamW's own default, which the published scripts leave alone
        max_grad_norm=scale.max_grad_norm,
        per_device_train_batch_size=scale.batch,
        gradient_accumulation_steps=scale.accumulation,
        max_length=scale.prompt_limit + (scale.response_limit if scale.kind == "decoder" else 0),
        max_prompt_length=scale.prompt_limit,
        max_response_length=scale.response_limit,
        bf16=scale.bf16,
        use_cpu=not torch.accelerator.is_available(),
        seed=seed,
        save_strategy="no",
        logging_steps=max(1, steps // LOGGED),
        logging_first_step=True,
        report_to=[],
        disable_tqdm=True,
        score_cache_dir=str(setup.folder / "scores"),
    )


def make_trainer(
    setup: Setup, scale: Scale, cell: Cell, rows: datasets.Dataset, tuning: SelfTuning | None = None
) -> PolicyTrainer:
    """The trainer of a cell, its rows prepared; with `tuning` its learning rate is chosen."""
    model, tokenizer = load_reference(setup, scale)
    arguments = training_arguments(setup, scale, seed=cell.seed, rows=len(rows))
    torch.manual_seed(cell.seed)  # of an adapter's and a value network's weights
    adapter = lora(scale.lora_rank) if scale.lora_rank else None
    trainer = trainer_of(cell.method, cell.tau, model, arguments, rows, processing_class=tokenizer, peft_config=adapter)
    if tuning is not None:
        tuning.find_rate(trainer)
    return trainer


def trainer_of(method: str, tau: float | None, *inputs: Any, **options: Any) -> PolicyTrainer:
    """Of a method at its temperature; model, arguments, rows and options as `PolicyTrainer` takes them.

    Raises:
        ValueError: a method that is not trained.
    """
    make = METHODS[method].make
    if make is None:
        raise ValueError(f"{method} is not trained")
    model, arguments, rows = inputs
    trainer = PolicyTrainer(model, make(MAIN_TAU if tau is None else tau), arguments, rows, **options)
    trainer.remove_callback(PrinterCallback)  # the log goes into the row
    return trainer


def timed(make: Callable[[], PolicyTrainer]) -> tuple[PolicyTrainer, dict[str, float]]:
    """A trainer that has been made and has trained, and the seconds of both."""
    start = time.perf_counter()
    trainer = make()
    prepared, cpu = time.perf_counter(), time.process_time()
    trainer.train()
    return trainer, {
        "prepare_seconds": prepared - start,
        "train_seconds": time.perf_counter() - prepared,
        "cpu_seconds": time.process_time() - cpu,
    }


def measure_cell(cell: Cell, setup: Setup, scales: Mapping[str, Scale]) -> list[dict[str, Any]]:
    """Train and answer the held-out prompts: one measurement; the answers are in their own file.

    reward, kl: estimates over the held-out prompts; None without a reward function, and for the KL of the reference.
    length: tokens per answer. Of runs that train also steps, the three of `timed`, partition (summary of its report),
    objective, history (the trainer's log) and chosen (learning rate and strength of a run that chooses them).
    """
    scale = scales[cell.scale]
    if METHODS[cell.method].make is None:
        model, tokenizer = load_reference(setup, scale)
        return [_answered(cell, model.to(accelerator_device()), tokenizer, setup, scale)]
    rows, tuning = train_rows(setup, scale, cell.seed, shuffled=cell.shuffled), None
    if METHODS[cell.method].tuned:
        rows, selection = split_selection(rows, seed=cell.seed)
        tuning = SelfTuning(selection, scale, seed=cell.seed)
    trainer, seconds = timed(partial(make_trainer, setup, scale, cell, rows, tuning))
    if tuning is not None:
        tuning.find_strength(trainer, None if scale.lora_rank else load_reference(setup, scale)[0])
    trained = {
        "steps": trainer.state.global_step,
        **seconds,
        "partition": trainer.report.to_dict() if trainer.report else None,
        "objective": trainer.objective.to_dict(),
        "history": trainer.state.log_history,
        "chosen": None if tuning is None else tuning.chosen,
    }
    return [_answered(cell, trainer.model, trainer.processing_class, setup, scale) | trained]


def _answered(cell: Cell, policy: Any, tokenizer: Any, setup: Setup, scale: Scale) -> dict[str, Any]:
    """Reward, KL and length of the held-out answers; writes the answers to their file."""
    held_out = held_out_of(setup, scale)
    decoding = decoding_of(setup, scale, cell.method, SAMPLING_SEED + cell.seed)
    _, ids = generate_ids(policy, tokenizer, held_out.prompts, decoding)
    texts = [text.strip() for text in response_texts(policy, tokenizer, ids)]
    rewards: list[float | None] = [None] * len(texts)
    spec = setup.reward_of(scale)
    if spec is not None:
        rewards = rewards_of(load_reward(spec), held_out.prompts, texts).tolist()
    kl = None
    if METHODS[cell.method].make is not None:
        reference = None if scale.lora_rank else load_reference(setup, scale)[0].to(accelerator_device())
        kl = kl_to_reference(policy, tokenizer, held_out.prompts[: scale.kl_prompts], reference, decoding).to_dict()
    columns = zip(held_out.prompts, texts, rewards, ids, strict=True)
    lines = ({"prompt": p, "response": text, "reward": r, "tokens": len(t)} for p, text, r, t in columns)
    write_jsonl(responses_file(cell, setup.folder), lines)
    return {
        "reward": None if spec is None else bootstrap_mean([r for r in rewards if r is not None]).to_dict(),
        "kl": kl,
        "length": float(np.mean([len(t) for t in ids])),
    }


# ------------------------------------------------------------------------------------------------------- text metrics


def metrics_folder(folder: Path, options: StudyPaperConfig) -> Path:
    """Where metrics are kept: a folder for each choice of their options, so that another one costs no training."""
    chosen = {name: [getattr(options, name)] for name in (*OWNED, "metrics")}
    return folder / f"metrics-{fingerprint(chosen)[:8]}"


@lru_cache(maxsize=1)
def _texts(options: StudyPaperConfig) -> TextMetrics:
    found = text_metrics_of(options, options.metric_list() or DEFAULT)
    if found is None:
        raise ValueError("no metric of texts is asked for")
    return found


def measure_texts(
    cell: Cell, setup: Setup, scales: Mapping[str, Scale], options: StudyPaperConfig
) -> list[dict[str, Any]]:
    """A cell's metrics against the best known answers, by name."""
    held_out = held_out_of(setup, scales[cell.scale])
    answers = [row["response"] for row in read_jsonl(responses_file(cell, setup.folder))]
    found = _texts(options)(answers, held_out.references, prompts=held_out.prompts)
    return [{name: asdict(metric) for name, metric in found.items()}]
