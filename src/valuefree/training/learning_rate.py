"""A short search for the learning rate: successive halving on the run's own rows, from the same start each time."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback

from valuefree.errors import ConfigError, DataError, DivergenceError, number_of
from valuefree.training.trainer import PolicyTrainer

logger = logging.getLogger(__name__)

ADAPTER_RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3)
FULL_RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
SHARES = (1 / 8, 1 / 4)  # of the run's steps, in each round
FEWEST_STEPS = 4  # of a trial


@dataclass(frozen=True)
class Trial:
    """A learning rate that was tried: steps of the trial, and the measure of the policy after it; more is better.

    The measure is −∞ for a policy with log-probabilities that are not finite.
    """

    rate: float
    steps: int
    score: float


@dataclass(frozen=True)
class SearchResult:
    """The chosen rate, and all trials, the best of each round first.

    at_edge: whether the rate is the smallest or the largest of those tried.
    """

    rate: float
    trials: tuple[Trial, ...]
    at_edge: bool

    def __str__(self) -> str:
        tried = ", ".join(f"{trial.rate:g} ({trial.steps} steps): {trial.score:.3g}" for trial in self.trials)
        edge = ", at the end of those tried" if self.at_edge else ""
        return f"learning rate {self.rate:g} chosen{edge}. Measure by rate: {tried}."


def rounds(rates: Sequence[float], steps: int) -> list[tuple[int, int]]:
    """Number of trials and steps of each trial, by round: the better half goes on, to twice the steps.

    Source: Jamieson and Talwalkar (2016), Non-stochastic Best Arm Identification, arXiv 1502.07943.
    """
    found, count = [], len(rates)
    for share in SHARES:
        found.append((count, max(round(share * steps), FEWEST_STEPS)))
        count = max(count // 2, 1)
    return found


def search_learning_rate(
    trainer: PolicyTrainer, rates: Sequence[float], measure: Callable[[nn.Module], float]
) -> SearchResult:
    """The rate, of `rates`, after whose short training `measure` is largest; the policy is as before afterwards.

    Every trial starts from the same weights, with the warm-up shortened to its length and a linear decay to zero. The
    budget is logged before the first trial.

    Args:
        trainer: before training, in one process.
        rates: peak learning rates, increasing.
        measure: of a policy, on prompts that are neither trained on nor reported; more is better.

    Raises:
        ConfigError: fewer than two rates; no trial has a finite measure.
    """
    if len(rates) < 2:
        raise ConfigError(f"{len(rates)} learning rates to choose from; expected at least 2.")
    total = _steps(trainer)
    plan = rounds(rates, total)
    budget = sum(count * steps for count, steps in plan)
    said = ", then ".join(f"{number_of(count, 'rate')} × {number_of(steps, 'step')}" for count, steps in plan)
    logger.info("learning rate search: %s; %d steps, %.1f times those of the run", said, budget, budget / total)
    start = {name: weight.detach().clone() for name, weight in _trained(trainer)}
    trials: list[Trial] = []
    left = list(rates)
    for count, steps in plan:
        done = [Trial(rate, steps, _attempt(trainer, rate, steps, measure, start)) for rate in left[:count]]
        done.sort(key=lambda trial: trial.score, reverse=True)
        if not math.isfinite(done[0].score):
            raise ConfigError("no learning rate of the search gave a finite policy; look at the data, or give --lr.")
        trials += done
        left = [trial.rate for trial in done]
    result = SearchResult(left[0], tuple(trials), left[0] in (min(rates), max(rates)))
    logger.info("%s", result)
    return result


def _steps(trainer: PolicyTrainer) -> int:
    return int(trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())[-1])


def _trained(trainer: PolicyTrainer) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, weight) for name, weight in trainer.model.named_parameters() if weight.requires_grad)


def _attempt(
    trainer: PolicyTrainer,
    rate: float,
    steps: int,
    measure: Callable[[nn.Module], float],
    start: dict[str, torch.Tensor],
) -> float:
    """The measure after a short training; the weights are then those of `start` again."""
    with _short_run(trainer, rate, steps):
        try:
            trainer.train()
            score = measure(trainer.model)
        except (DivergenceError, DataError):  # losses or log-probabilities that are not finite
            score = -math.inf
    with torch.no_grad():
        for name, weight in _trained(trainer):
            weight.copy_(start[name])
    return score if math.isfinite(score) else -math.inf


@contextmanager
def _short_run(trainer: PolicyTrainer, rate: float, steps: int) -> Iterator[None]:
    """Arguments of a trial, without logs, checkpoints and evaluations; those of the run are restored."""
    args: Any = trainer.args
    before, handler, state = dict(vars(args)), trainer.callback_handler, trainer.state
    args.learning_rate, args.max_steps = rate, steps
    args.warmup_steps = min(args.get_warmup_steps(steps), steps // 4)
    args.logging_strategy = args.save_strategy = args.eval_strategy = "no"
    args.load_best_model_at_end = False
    trainer.callback_handler = CallbackHandler(
        [DefaultFlowCallback(), *_that_stop(handler)], trainer.model, trainer.processing_class, None, None
    )
    _fresh(trainer)
    try:
        yield
    finally:
        vars(args).update(before)
        trainer.callback_handler, trainer.state = handler, replace(state)
        _fresh(trainer)


def _that_stop(handler: CallbackHandler) -> list[Any]:
    """The callbacks that react to a signal."""
    return [callback for callback in handler.callbacks if hasattr(callback, "received")]


def _fresh(trainer: PolicyTrainer) -> None:
    """Without optimizer and schedule, which the next training then makes."""
    trainer.optimizer = trainer.lr_scheduler = None  # type: ignore[assignment]  # as before the first training
