"""Trainer callbacks: metrics file, warnings of a rising loss and of a short run, save by time, stop on a signal."""

import logging
import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import IntervalStrategy, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from valuefree.errors import number_of
from valuefree.runs.files import json_line, write_jsonl
from valuefree.training.distributed import broadcast

logger = logging.getLogger(__name__)


class MetricsFile(TrainerCallback):
    """Append every log to ``metrics.jsonl`` in `folder`, one JSON object per line. Only the first process writes.

    When training resumes, the file is first cut to the logs that the checkpoint knows.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Of a resumed run: write the logs up to its checkpoint."""
        if state.is_world_process_zero and state.global_step:
            write_jsonl(self.folder / "metrics.jsonl", ({"step": row["step"], **row} for row in state.log_history))

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs=None, **kwargs: Any
    ) -> None:
        """Write one line."""
        if not state.is_world_process_zero or not logs:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json_line({"step": state.global_step, **logs}))


class RisingLoss(TrainerCallback):
    """Warn once when the training loss has risen by a tenth and by three standard errors of the difference.

    Log lines are averaged over windows of at least `WINDOW` steps, because a batch may hold one prompt. Every window
    is compared with the first one. The log lines carry the standard errors.

    Attributes:
        warning: the warning, or None.
    """

    WINDOW = 8

    def __init__(self) -> None:
        self.warning: str | None = None
        self._start = 0
        self._lines: list[tuple[int, float, float]] = []  # steps, loss, standard error
        self._first: tuple[int, float, float] | None = None  # last step, loss, standard error

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start a new comparison; a resumed run compares with its own first steps."""
        self.warning, self._start, self._lines, self._first = None, state.global_step, [], None

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs=None, **kwargs: Any
    ) -> None:
        """Add a log line; compare the window with the first one when it is full."""
        if not logs or "loss_standard_error" not in logs or self.warning is not None:
            return
        seen = sum(steps for steps, _, _ in self._lines)
        self._lines.append((state.global_step - self._start - seen, logs["loss"], logs["loss_standard_error"]))
        total = sum(steps for steps, _, _ in self._lines)
        if total < self.WINDOW:
            return
        loss = sum(steps * value for steps, value, _ in self._lines) / total
        error = math.hypot(*(steps * value for steps, _, value in self._lines)) / total
        first = self._first = self._first or (state.global_step, loss, error)
        self._start, self._lines = state.global_step, []
        rise = loss - first[1]
        if rise > 0.1 * abs(first[1]) and rise > 3 * math.hypot(error, first[2]):
            self.warning = (
                f"the training loss rose from {first[1]:.3g} (up to step {first[0]}) to {loss:.3g} (up to step "
                f"{state.global_step}): the updates overshoot the targets. Lower the learning rate, or take more "
                "responses per step."
            )
            logger.warning("%s", self.warning)


class ShortRun(TrainerCallback):
    """Log the last step, and warn if half of the steps or more are warm-up.

    Attributes:
        warning: the warning, or None.
    """

    def __init__(self) -> None:
        self.warning: str | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Compare the number of warm-up steps with that of all steps."""
        steps, warmup = state.max_steps, min(args.get_warmup_steps(state.max_steps), state.max_steps)
        self.warning = None
        if warmup and 2 * warmup >= steps:
            self.warning = (
                f"{warmup} of {number_of(steps, 'step')} are warm-up steps with a rising learning rate. "
                "Train for more steps (more rows or epochs, smaller batches), or lower --warmup-steps."
            )
            logger.warning("%s", self.warning)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Log after the last step, whatever logging_steps is."""
        if state.global_step >= state.max_steps and args.logging_strategy != IntervalStrategy.NO:
            control.should_log = True


class SaveByTime(TrainerCallback):
    """Request a checkpoint when so many minutes have passed since the last one, and after the last step.

    The clock of the first process decides for all.

    Args:
        minutes: between checkpoints, above 0. clock: seconds, as `time.monotonic`.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic):
        self.seconds, self.clock = 60 * minutes, clock
        self._saved = clock()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._saved = self.clock()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Request a checkpoint if it is time."""
        if broadcast(self.clock() - self._saved >= self.seconds) or state.global_step >= state.max_steps:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Start the clock anew after every checkpoint, whoever requested it."""
        self._saved = self.clock()


class StopOnSignal(TrainerCallback):
    """On SIGTERM or SIGINT finish the step, save a checkpoint and stop. A second signal goes to the previous handler.

    Handlers are set while training runs and restored afterwards. The main thread must make this object.
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
        """After a signal, request a checkpoint and the end of training."""
        if self.received is not None:
            control.should_save = True
            control.should_training_stop = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Restore the previous handlers."""
        self._restore()
