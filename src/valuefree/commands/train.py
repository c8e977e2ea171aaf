"""``valuefree train``."""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import EarlyStoppingCallback
from transformers.trainer_utils import get_last_checkpoint

from valuefree.callbacks import MetricsFile, StopOnSignal
from valuefree.commands.objects import decoding_of, load, lora, objective_of, read
from valuefree.config import TrainConfig
from valuefree.data import split_by_prompt
from valuefree.data.validation import prompt_key
from valuefree.errors import ConfigError
from valuefree.evaluation.rewards import Evaluation, evaluate, load_reward
from valuefree.manifest import fingerprint, manifest, write_json
from valuefree.report import write_report
from valuefree.trainer import PolicyTrainer, PolicyTrainingArguments

logger = logging.getLogger(__name__)


def training_arguments(options: TrainConfig, seed: int) -> PolicyTrainingArguments:
    """Transformers' arguments from the options."""
    folder = Path(options.out) / "checkpoints"
    return PolicyTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=options.epochs,
        max_steps=options.max_steps,
        learning_rate=options.lr,
        warmup_steps=options.warmup_steps,
        lr_scheduler_type="linear",
        weight_decay=0.0,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulation,
        batch_tokens=options.batch_tokens,
        gradient_checkpointing=options.gradient_checkpointing,
        bf16=options.bf16,
        use_cpu=not torch.accelerator.is_available(),  # several processes would not find each other otherwise
        seed=seed,
        eval_strategy="steps" if options.eval_steps else "no",
        eval_steps=options.eval_steps or None,
        save_strategy="steps" if options.save_steps or options.patience else "no",
        save_steps=options.save_steps or options.eval_steps or 500,
        save_total_limit=2,
        load_best_model_at_end=bool(options.patience),
        metric_for_best_model="eval_loss" if options.patience else None,
        greater_is_better=False if options.patience else None,
        logging_steps=options.logging_steps,
        logging_first_step=True,
        report_to=[] if options.report_to == "none" else [options.report_to],
        max_length=options.max_length,
        max_prompt_length=options.max_prompt_length,
        max_response_length=options.max_response_length,
        score_batch_tokens=options.score_batch_tokens,
        score_cache_dir=options.cache_dir,
    )


class TrainResult:
    """What `train` leaves in memory: the trainer, the evaluation if a reward function was given, where the run lies."""

    def __init__(self, trainer: PolicyTrainer, evaluation: Evaluation | None, folder: Path, stopped: str | None):
        self.trainer, self.evaluation, self.folder, self.stopped = trainer, evaluation, folder, stopped


def train(options: TrainConfig) -> TrainResult:
    """The main job on the user's rows; writes manifest.json, metrics.jsonl, metrics.json, report.html and the model."""
    if options.reward_function and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "reward_function compares policies in one process, and this run has several: leave it out, and run "
            "`valuefree evaluate` on the trained model."
        )
    rows, summary = read(options)
    held_out = None
    if options.test_prompts:
        rows, held_out = split_by_prompt(rows, test_prompts=options.test_prompts, seed=options.seed)
    reward_function = load_reward(options.reward_function) if options.reward_function else None
    objective = objective_of(options)
    folder = Path(options.out)
    record = manifest(
        "train",
        options.to_dict(),
        objective=objective.to_dict(),
        data=summary.to_dict(),
        fingerprint={"train": _fingerprint(rows), "held_out": _fingerprint(held_out) if held_out else None},
    )
    if int(os.environ.get("RANK", "0")) == 0:
        write_json(folder / "manifest.json", record)
    model, tokenizer = load(options)
    torch.manual_seed(options.seed)  # of the adapter, whatever loading drew; a command owns its process
    signals = StopOnSignal()
    callbacks: list[Any] = [MetricsFile(folder, resume=options.resume), signals]
    if options.patience:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=options.patience))
    trainer = PolicyTrainer(
        model,
        objective,
        training_arguments(options, options.seed),
        rows,
        eval_dataset=held_out if options.eval_steps else None,
        processing_class=tokenizer,
        peft_config=lora(options.lora_rank) if options.lora_rank else None,
        callbacks=callbacks,
    )
    if trainer.report is not None:
        logger.info("%s", trainer.report)
    checkpoints = folder / "checkpoints"
    checkpoint = get_last_checkpoint(str(checkpoints)) if options.resume and checkpoints.is_dir() else None
    if options.resume and checkpoint is None:
        raise ConfigError(f"--resume: no checkpoint in {checkpoints}.")
    trainer.train(resume_from_checkpoint=checkpoint)
    if signals.received is not None:
        return TrainResult(trainer, None, folder, signals.received.name)
    trainer.save_model(str(folder / "model"))
    evaluation = None
    if reward_function is not None and held_out is not None:
        evaluation = _compare(trainer, options, held_out, reward_function)
    truncation = str(trainer.train_dataset.truncation)
    if trainer.is_world_process_zero():
        _finish(folder, trainer, evaluation, record, f"valuefree train: {options.data}", [str(summary), truncation])
    return TrainResult(trainer, evaluation, folder, None)


def _fingerprint(rows: datasets.Dataset) -> str:
    return fingerprint({name: rows[name] for name in ("prompt", "response", "reward")})


def _compare(trainer: PolicyTrainer, options: TrainConfig, held_out: datasets.Dataset, reward_function: Any):
    prompts = list({prompt_key(prompt): prompt for prompt in held_out["prompt"]}.values())
    reference = load(replace(options, dtype="float32"))[0] if not options.lora_rank else None
    return evaluate(
        trainer.model,  # type: ignore[arg-type]
        trainer.processing_class,  # type: ignore[arg-type]
        prompts,
        reward_function,
        reference=reference,
        decoding=replace(
            decoding_of(options, options.seed), max_prompt_length=options.max_prompt_length or options.max_length
        ),
        samples_per_prompt=options.samples_per_prompt,
        kl_prompts=options.kl_prompts,
        progress=True,
    )


def _finish(folder: Path, trainer: PolicyTrainer, evaluation: Evaluation | None, record: dict, title: str, notes: list):
    history = trainer.state.log_history
    metrics = {
        "evaluation": evaluation.to_dict() if evaluation else None,
        "partition": trainer.report.to_dict() if trainer.report else None,
        "training": history[-1] if history else None,
    }
    write_json(folder / "metrics.json", metrics)
    report = trainer.report
    write_report(
        folder, title=title, manifest=record, evaluation=evaluation, partition=report, history=history, notes=notes
    )
