"""One training run, of a policy or a reward model: rows, manifest, callbacks, resuming, saving."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import EarlyStoppingCallback
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from valuefree.cli.commands.from_options import reference_samples_of
from valuefree.cli.commands.rendered import read
from valuefree.cli.commands.resuming import check_same_run, earlier_record, last_checkpoint
from valuefree.cli.options.objective import REWARD_MODEL
from valuefree.cli.options.train import TrainConfig
from valuefree.cli.output import bars
from valuefree.cli.parse import stand_ins
from valuefree.data import DataSummary, split_by_prompt
from valuefree.data.seen_prompts import SeenPrompts
from valuefree.data.triplets import written_row
from valuefree.errors import ConfigError, DivergenceError
from valuefree.evaluation.validation import selection
from valuefree.runs.checkpoints import checkpoints_in, step_of
from valuefree.runs.files import use_umask, write_json, write_jsonl
from valuefree.runs.manifest import HELD_OUT, PROMPTS, SELECTION, fingerprint, launched, manifest
from valuefree.runs.run_folder import MANIFEST, RunFolder
from valuefree.training.callbacks import MetricsFile, SaveByTime, StopOnSignal
from valuefree.training.checked_trainer import CheckedTrainer
from valuefree.training.log_lines import log_lines

logger = logging.getLogger(__name__)

WARMUP = 10  # steps, of a run of 50 or more
FEWEST_TO_SELECT = 50  # with fewer selection prompts, chance decides between settings


@dataclass(frozen=True)
class Run:
    """The rows of a run, split; its folder and manifest (`record`); the checkpoint to continue from, if any."""

    options: TrainConfig
    rows: datasets.Dataset
    validation: datasets.Dataset | None
    held_out: datasets.Dataset | None
    reference_samples: datasets.Dataset | None
    summary: DataSummary
    output: RunFolder
    record: dict[str, Any]
    seen: SeenPrompts
    checkpoint: Path | None
    signals: StopOnSignal

    @classmethod
    def start(cls, options: TrainConfig, objective: dict[str, Any]) -> "Run":
        """Read and split; writes nothing. `objective`: name and knobs.

        Raises:
            ConfigError: the folder holds a run; or, with `resume`, no checkpoint, or one of other settings or rows.
        """
        output = RunFolder(
            options.out,
            overwrite=options.overwrite,
            resume=options.resume,
            hint="continue that run by --resume, " if checkpoints_in(Path(options.out) / "checkpoints") else "",
        )
        check_tracker(options.report_to)
        output.check_inputs([options.data, options.model, options.reference_samples])
        checkpoint = last_checkpoint(output.path) if options.resume else None
        samples = reference_samples_of(options)
        rows, summary = read(options)
        rows, validation, held_out = split(options, rows)
        parts = {"train": rows, "validation": validation, "held_out": held_out, "reference_samples": samples}
        record = manifest(
            "train",
            options.to_dict(),
            given=options.given(),
            defaults=stand_ins(options),
            objective=objective,
            prompts={name: len(part.unique("prompt_id")) for name, part in parts.items() if part is not None},
            processes=launched()[1],
            data=summary.to_dict(),
            fingerprint={name: _fingerprint(part) if part is not None else None for name, part in parts.items()},
        )
        if checkpoint is not None:
            record = _continued(options, output.path, record, step_of(checkpoint))
        seen = SeenPrompts.of(
            rows["prompt"],
            validation["prompt"] if validation is not None else (),
            earlier=SeenPrompts.of_model(options.model),
        )
        signals = StopOnSignal()
        return cls(options, rows, validation, held_out, samples, summary, output, record, seen, checkpoint, signals)

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        return self.output.path

    @property
    def evaluated(self) -> datasets.Dataset | None:
        """Rows to evaluate on while training: of the validation prompts, or without these of the held-out ones."""
        return self.held_out if self.validation is None else self.validation

    def callbacks(self, *measuring: Any) -> list[Any]:
        """For the trainer: metrics.jsonl, saving by time, signals, validation metrics, then early stopping."""
        timed = [SaveByTime(self.options.save_minutes)] if self.options.save_minutes else []
        found: list[Any] = [MetricsFile(self.folder), *timed, self.signals, *measuring]
        if self.options.patience:
            found.append(EarlyStoppingCallback(early_stopping_patience=self.options.patience))
        return found

    def train(self, trainer: CheckedTrainer) -> str | None:
        """Train, from the last checkpoint if asked to, and save the model; the name of a signal that stopped it.

        Call `save` again if the model is changed afterwards.

        Raises:
            DivergenceError: losses, gradients or weights are not finite; the last finite state is a checkpoint.
        """
        if trainer.is_world_process_zero():
            self._open()
        log_lines(trainer, bar=bars())
        steps = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())[-1]
        trainer.args.warmup_steps = warmup_steps(self.options, steps)
        checkpoint = self.checkpoint
        if checkpoint is not None:
            logger.info("resumed from step %d (%s)", step_of(checkpoint), checkpoint)
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
        except DivergenceError as error:
            saved = trainer.save_last_good()
            then = f"saved in {saved}; continue from there by --resume --allow-changed lr" if saved else "not saved"
            raise DivergenceError(f"{error}\nThe last finite state is {then}.") from error
        if self.signals.received is not None:
            return self.signals.received.name
        self.save(trainer)
        return None

    def save(self, trainer: CheckedTrainer) -> None:
        """Save the model, and list its files; they are listed once more when the report is written, which may fail."""
        trainer.save_model(str(self.folder / "model"))
        if trainer.is_world_process_zero():
            use_umask(self.folder / "model")
            self.output.close()

    def _open(self) -> None:
        """Write what is known before training: the manifest, the held-out rows, and hashes of the training prompts."""
        self.output.open()
        write_json(self.folder / MANIFEST, self.record)
        self.seen.save(self.folder / PROMPTS)
        for name, part in ((HELD_OUT, self.held_out), (SELECTION, self.validation)):
            if part is not None:
                write_jsonl(self.folder / name, _rows(part))


@contextmanager
def no_empty_folders(folder: Path) -> Iterator[None]:
    """Remove the folder of checkpoints, which transformers creates with every trainer, where it is empty.

    The same holds for the folder of the run, if it is new. The first checkpoint creates them again.
    """
    made = [folder / "checkpoints", *([] if folder.exists() else [folder])]
    try:
        yield
    finally:
        for path in made:
            if launched()[0] == 0 and path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def check_tracker(name: str) -> None:
    """Raise ConfigError for a tracker that transformers does not know, or that is not installed."""
    if name == "none":
        return
    if name not in INTEGRATION_TO_CALLBACK:
        raise ConfigError(f"report_to is {name!r}; choose from none, {', '.join(sorted(INTEGRATION_TO_CALLBACK))}.")
    if name not in get_available_reporting_integrations():
        raise ConfigError(f"report_to is {name}, which is not installed. Install it: pip install {name}")


def split(
    options: TrainConfig, rows: datasets.Dataset
) -> tuple[datasets.Dataset, datasets.Dataset | None, datasets.Dataset | None]:
    """Rows to train on, to validate on, and held out."""
    held_out = validation = None
    to_report, to_select = held_out_sizes(options, len(rows.unique("prompt_id")))
    if to_report:
        rows, held_out = split_by_prompt(rows, test_prompts=to_report, seed=options.seed)
    if to_select:
        rows, validation = split_by_prompt(rows, test_prompts=to_select, seed=options.seed)
    return rows, validation, held_out


def held_out_sizes(options: TrainConfig, prompts: int) -> tuple[int, int]:
    """Numbers of prompts to report on and to select settings by, of `prompts` in all."""
    to_report, to_select = options.test_prompts, options.validation_prompts
    if to_report is None:
        to_report = min(max(prompts // 4, 1), 400)
    if to_select is None:
        to_select = min(max(prompts // 8, 1), 200)
        needed = options.selects() or options.measured() or options.lr == "auto"
        unread = options.strength == "off" or options.objective == REWARD_MODEL or not to_report
        if not needed and (unread or to_select < FEWEST_TO_SELECT):
            to_select = 0
    return to_report, to_select


def _rows(dataset: datasets.Dataset) -> Iterator[dict[str, Any]]:
    for row in dataset.remove_columns("prompt_id"):
        yield written_row(row)  # type: ignore[arg-type]  # rows are mappings


def _continued(options: TrainConfig, folder: Path, record: dict[str, Any], step: int) -> dict[str, Any]:
    """The manifest of a resumed run: that of its start, with changed options, and with one entry per resumption."""
    earlier = earlier_record(folder)
    changed = check_same_run(options, earlier, record)
    now = {"step": step, **{name: record[name] for name in ("started", "commit", "versions", "machine")}}
    now |= {"changed": changed} if changed else {}
    config = earlier["config"] | {name: new for name, (_, new) in changed.items()}
    return earlier | {"config": config, "resumed": [*earlier.get("resumed", []), now]}


def _fingerprint(rows: datasets.Dataset) -> str:
    extra = [name for name in ("pair_id", "desirable") if name in rows.column_names]
    return fingerprint({name: rows[name] for name in ("prompt", "response", "reward", *extra)})


def warmup_steps(options: TrainConfig, steps: int) -> int:
    """Warm-up of a run of so many steps: as given, or else 10 steps, at most a fifth of all."""
    return min(WARMUP, steps // 5) if options.warmup_steps is None else options.warmup_steps


def shared_arguments(options: TrainConfig) -> dict[str, Any]:
    """Fields of transformers' TrainingArguments from the options."""
    return {
        "output_dir": str(Path(options.out) / "checkpoints"),
        "num_train_epochs": options.epochs,
        "max_steps": options.max_steps,
        "learning_rate": 0.0 if options.lr == "auto" else options.lr,  # auto: found once the trainer is made
        "warmup_steps": WARMUP if options.warmup_steps is None else options.warmup_steps,
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
        "on_divergence": options.on_divergence,
        "logging_steps": options.logging_steps,
        "logging_first_step": True,
        "disable_tqdm": not bars(),
        "report_to": [] if options.report_to == "none" else [options.report_to],
    }
