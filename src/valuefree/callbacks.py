"""Trainer callbacks: a file of metrics, a warning when the loss rises, and an orderly stop on a signal."""

import json
import logging
import math
import signal
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)


class MetricsFile(TrainerCallback):
    """Append every log to ``metrics.jsonl`` in `folder`, one JSON object a line, by the first process alone."""

    def __init__(self, folder: Path):
        self.folder = folder

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs=None, **kwargs: Any
    ) -> None:
        """Write one line."""
        if not state.is_world_process_zero or not logs:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **logs}) + "\n")


class RisingLoss(TrainerCallback):
    """Warn, once, when the training loss of a log line lies above that of the first one beyond chance and by a tenth.

    A log line has the mean loss of its steps and its standard error over responses. Beyond chance: by more than three
    standard errors of the difference.

    Attributes:
        warning: the sentence, once it was given.
    """

    def __init__(self) -> None:
        self.warning: str | None = None
        self._first: dict[str, float] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Compare with the first log line of this run, also where it resumes."""
        self.warning, self._first = None, None

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs=None, **kwargs: Any
    ) -> None:
        """Compare one line with the first."""
        if not logs or "loss_standard_error" not in logs or self.warning is not None:
            return
        now = {"step": state.global_step, "loss": logs["loss"], "error": logs["loss_standard_error"]}
        first = self._first = self._first or now
        rise = now["loss"] - first["loss"]
        if rise > 0.1 * abs(first["loss"]) and rise > 3 * math.hypot(now["error"], first["error"]):
            self.warning = (
                f"the training loss rose from {first['loss']:.3g} (step {first['step']}) to {now['loss']:.3g} (step "
                f"{now['step']}): the updates overshoot the targets. Lower the learning rate, or take more responses "
                "per step."
            )
            logger.warning("%s", self.warning)


class StopOnSignal(TrainerCallback):
    """At SIGTERM or SIGINT finish the step, save a checkpoint and stop; a second signal acts as ever.

    Handlers are set while training runs and put back after it. Must be made in the main thread.
    """

    def __init__(self, signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)):
        self.signals = signals
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        logger.warning("%s: stopping after this step, with a checkpoint", self.received.name)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the handlers."""
        self.received = None
        self._before = {number: signal.signal(number, self._handle) for number in self.signals}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a checkpoint and the end, if a signal came."""
        if self.received is not None:
            control.should_save = True
            control.should_training_stop = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the former handlers back."""
        self._restore()
