"""Held-out measures at every evaluation of a training run."""

import logging
import math
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.held_out.logged_responses import LoggedResponses
from valuefree.evaluation.held_out.measure import quick_measures
from valuefree.evaluation.metrics.registry import HELD_OUT_MEASURES

logger = logging.getLogger(__name__)


class HeldOutMetrics(TrainerCallback):
    """Measures at every evaluation how the policy ranks logged responses, without sampling.

    The values are logged as ``eval_<measure>`` and added to the result of `Trainer.evaluate`, by which transformers
    chooses the best checkpoint and stops early. So this callback must be placed before `EarlyStoppingCallback`.

    Attributes:
        trainer: does the logging; must be set before training.
    """

    def __init__(self) -> None:
        self.trainer: Trainer | None = None
        self._responses: LoggedResponses | None = None
        self._tau: float | None = None
        self._sampled: str | None = None

    def measure_on(self, responses: LoggedResponses, *, tau: float | None, sampled: str | None) -> None:
        """Set the responses to measure on, before training.

        tau: temperature of the objective in the unit of the logged rewards, or None. sampled: as in `measure`.
        """
        self._responses, self._tau, self._sampled = responses, tau, sampled

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Measure, log, and add to `metrics`, the dict from which transformers then selects."""
        if self.trainer is None or self._responses is None:
            raise ConfigError(
                "HeldOutMetrics lacks its trainer or responses; set `trainer` and call `measure_on` before training."
            )
        try:
            rows = self._responses.rows(kwargs["model"])
            values = quick_measures(rows, tau=self._tau, sampled=self._sampled)
        except DataError as error:  # a policy whose log-probabilities are not finite is never the best
            logger.warning("step %d: no held-out measures: %s", state.global_step, error)
            values = dict.fromkeys(HELD_OUT_MEASURES, math.nan)
        self.trainer.log({f"eval_{name}": value for name, value in values.items() if math.isfinite(value)})
        if metrics is not None:
            metrics |= {f"eval_{name}": value for name, value in values.items()}
