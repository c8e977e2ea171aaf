"""What every training run does, whatever is trained: rows, manifest, callbacks, resuming, saving."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import EarlyStoppingCallback, Trainer
from transformers.trainer_utils import get_last_checkpoint

from valuefree.callbacks import MetricsFile, StopOnSignal
from valuefree.commands.objects import read, reference_samples_of
from valuefree.config import TrainConfig
from valuefree.data import DataSummary, split_by_prompt
from valuefree.errors import ConfigError
from valuefree.evaluation.validation import selection
from valuefree.manifest import fingerprint, manifest, write_json


@dataclass(frozen=True)
class Run:
    """The rows of a run, split; its folder; what its manifest says."""

    options: TrainConfig
    rows: datasets.Dataset
    validation: datasets.Dataset | None
    held_out: datasets.Dataset | None
    reference_samples: datasets.Dataset | None
    summary: DataSummary
    folder: Path
    record: dict[str, Any]
    signals: StopOnSignal

    @classmethod
    def start(cls, options: TrainConfig, objective: dict[str, Any]) -> "Run":
        """Read, split, and write manifest.json. `objective`: name and knobs."""
        samples = reference_samples_of(options)
        rows, summary = read(options)
        held_out = None
        if options.test_prompts:
            rows, held_out = split_by_prompt(rows, test_prompts=options.test_prompts, seed=options.seed)
        validation = None
        if options.validation_prompts:
            rows, validation = split_by_prompt(rows, test_prompts=options.validation_prompts, seed=options.seed)
        folder = Path(options.out)
        parts = {"train": rows, "validation": validation, "held_out": held_out, "reference_samples": samples}
        record = manifest(
            "train",
            options.to_dict(),
            objective=objective,
            data=summary.to_dict(),
            fingerprint={name: _fingerprint(part) if part is not None else None for name, part in parts.items()},
        )
        if int(os.environ.get("RANK", "0")) == 0:
            write_json(folder / "manifest.json", record)
        return cls(options, rows, validation, held_out, samples, summary, folder, record, StopOnSignal())

    @property
    def evaluated(self) -> datasets.Dataset | None:
        """Rows to evaluate on while training: of the validation prompts, or without these of the held-out ones."""
        return self.held_out if self.validation is None else self.validation

    def callbacks(self, *measuring: Any) -> list[Any]:
        """For the trainer: metrics.jsonl, an orderly stop, what measures, and patience, which looks at that."""
        found: list[Any] = [MetricsFile(self.folder, resume=self.options.resume), self.signals, *measuring]
        if self.options.patience:
            found.append(EarlyStoppingCallback(early_stopping_patience=self.options.patience))
        return found

    def train(self, trainer: Trainer) -> str | None:
        """Train, from the last checkpoint if asked to, and save the model; the name of a signal that stopped it."""
        checkpoints = self.folder / "checkpoints"
        resume = self.options.resume
        checkpoint = get_last_checkpoint(str(checkpoints)) if resume and checkpoints.is_dir() else None
        if resume and checkpoint is None:
            raise ConfigError(f"--resume: no checkpoint in {checkpoints}.")
        trainer.train(resume_from_checkpoint=checkpoint)
        if self.signals.received is not None:
            return self.signals.received.name
        trainer.save_model(str(self.folder / "model"))
        return None


def _fingerprint(rows: datasets.Dataset) -> str:
    return fingerprint({name: rows[name] for name in ("prompt", "response", "reward")})


def shared_arguments(options: TrainConfig) -> dict[str, Any]:
    """Fields of transformers' TrainingArguments from the options."""
    return {
        "output_dir": str(Path(options.out) / "checkpoints"),
        "num_train_epochs": options.epochs,
        "max_steps": options.max_steps,
        "learning_rate": options.lr,
        "warmup_steps": options.warmup_steps,
        "lr_scheduler_type": "linear",
        "weight_decay": 0.0,
        "per_device_train_batch_size": options.batch_size,
        "per_device_eval_batch_size": options.batch_size,
        "gradient_accumulation_steps": options.accumulation,
        "gradient_checkpointing": options.gradient_checkpointing,
        "bf16": options.bf16,
        "use_cpu": not torch.accelerator.is_available(),  # several processes would not find each other otherwise
        "seed": options.seed,
        "eval_strategy": "steps" if options.eval_steps else "no",
        "eval_steps": options.eval_steps or None,
        "save_strategy": "steps" if options.save_steps or options.selects() else "no",
        "save_steps": options.save_steps or options.eval_steps or 500,
        "save_total_limit": 2,
        **selection(options.selects()),
        "logging_steps": options.logging_steps,
        "logging_first_step": True,
        "report_to": [] if options.report_to == "none" else [options.report_to],
    }
