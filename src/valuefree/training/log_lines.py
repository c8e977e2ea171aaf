"""One line per log of a training run, in place of transformers' dictionaries, and a bar on request."""

import logging
from collections.abc import Mapping
from typing import Any

from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

logger = logging.getLogger(__name__)

# Metric → its text. The loss shows the optimisation. The correlation of log-ratio and reward shows what is learned: it
# has the same meaning for every objective and temperature, unlike the mean log-ratio. The speed shows the cost.
TRAINING = {
    "loss": "loss {:.4g}",
    "logratio_reward_correlation": "correlation of log-ratio and reward {:+.2f}",
    "accuracy": "pairs ordered correctly {:.0%}",  # of a reward model
    "responses_per_second": "{:.0f} responses/s",
}
EVALUATION = {
    "eval_loss": "loss {:.4g}",
    "eval_ranking_accuracy": "ranked as the feedback does {:.0%}",
    "eval_accuracy": "pairs ordered correctly {:.0%}",
}


class LogLines(TrainerCallback):
    """Log ``step 20/38   loss 54.9   …`` with three numbers per line; metrics.jsonl has all of them."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs=None, **kwargs: Any
    ) -> None:
        """Log one line."""
        said = line(logs or {}, best=args.metric_for_best_model)
        if said and state.is_world_process_zero:
            total = str(state.max_steps)
            logger.info("step %s/%s   %s", str(state.global_step).rjust(len(total)), total, said)


class Bar(ProgressCallback):
    """The bar of transformers, with the time left; it writes no lines."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Write nothing."""


def line(logs: Mapping[str, Any], *, best: str | None = None) -> str:
    """The numbers of a log in words; empty for a log without any of them. best: metric that checkpoints are chosen by.

    A log of an evaluation starts with "evaluation:".
    """
    shown = {name: text.format(logs[name]) for name, text in (TRAINING | EVALUATION).items() if name in logs}
    if best is not None and best.startswith("eval_") and best in logs and best not in shown:
        shown[best] = f"{best.removeprefix('eval_')} {logs[best]:.4g}"
    said = "   ".join(shown.values())
    return f"evaluation: {said}" if any(name.startswith("eval_") for name in shown) else said


def log_lines(trainer: Trainer, *, bar: bool) -> None:
    """Let a trainer log these lines in place of dictionaries, and show a bar if `bar`."""
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(LogLines())
    if bar:
        trainer.add_callback(Bar())
