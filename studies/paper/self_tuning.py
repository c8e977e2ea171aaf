"""The row that tunes itself: learning rate and strength are chosen on logged responses that it does not train on."""

import time
from dataclasses import asdict
from typing import Any

import datasets
from torch import nn

from studies.paper.scales import Scale
from valuefree.data import split_by_prompt
from valuefree.evaluation.held_out.logged_responses import LoggedResponses
from valuefree.evaluation.held_out.measure import quick_measures
from valuefree.evaluation.held_out.strength_choice import choose_strength, rows_at_scales
from valuefree.evaluation.metrics.registry import HELD_OUT_DEFAULT
from valuefree.models.strength import strength_of
from valuefree.training.learning_rate import ADAPTER_RATES, FULL_RATES, search_learning_rate
from valuefree.training.trainer import PolicyTrainer

SHARE, FEWEST, MOST = 8, 20, 200  # selection prompts: an eighth of the training prompts, within these bounds


def selection_size(prompts: int) -> int:
    """Number of selection prompts, of `prompts` training prompts."""
    return min(max(prompts // SHARE, FEWEST), MOST)


def split_selection(rows: datasets.Dataset, *, seed: int) -> tuple[datasets.Dataset, datasets.Dataset]:
    """(rows to train on, rows to select by), without a common prompt."""
    return split_by_prompt(rows, test_prompts=selection_size(len(rows.unique("prompt_id"))), seed=seed)


def rates_of(scale: Scale) -> tuple[float, ...]:
    """The learning rates that are tried: those of ``valuefree train --lr auto``."""
    return ADAPTER_RATES if scale.lora_rank else FULL_RATES


def rows_origin(scale: Scale) -> str:
    """Why importance weights cannot estimate a gain: at no scale did the reference write the rows at temperature 1."""
    if scale.feedback != "demo":
        return "other models wrote the rows, so they are no samples of the reference"
    return "SmolLM2 wrote the rows at temperature 0.7 with top-k 50; the reference at temperature 1 did not"


class SelfTuning:
    """The choices of one run: `find_rate` before training, `find_strength` after it.

    Args:
        selection: rows to choose by. scale: of the study. seed: of the resamples behind the choice of the strength.

    Attributes:
        chosen: number of selection prompts; learning rate, whether it is the smallest or largest of those tried, and
            all trials; strength of the policy (scale, 1 is the policy as trained) and the reason for it in a sentence;
            seconds of both choices.
    """

    def __init__(self, selection: datasets.Dataset, scale: Scale, *, seed: int):
        self._selection, self._scale, self._seed = selection, scale, seed
        self._responses: LoggedResponses | None = None
        self.chosen: dict[str, Any] = {}

    def find_rate(self, trainer: PolicyTrainer) -> None:
        """Score the selection rows by the reference, and give the trainer the learning rate that does best on them."""
        start = time.perf_counter()
        responses = self._responses = LoggedResponses.prepare(self._selection, trainer.scorer)
        sampled = rows_origin(self._scale)

        def measure(policy: nn.Module) -> float:
            return quick_measures(responses.rows(policy), sampled=sampled)[HELD_OUT_DEFAULT]

        search = search_learning_rate(trainer, rates_of(self._scale), measure)
        trainer.args.learning_rate = search.rate
        self.chosen = {
            "selection_prompts": len(self._selection.unique("prompt_id")),
            "learning_rate": search.rate,
            "at_edge": search.at_edge,
            "trials": [asdict(trial) for trial in search.trials],
            "seconds": time.perf_counter() - start,
        }

    def find_strength(self, trainer: PolicyTrainer, reference: nn.Module | None) -> None:
        """Choose the strength of the trained policy and apply it. reference: None for a policy with an adapter."""
        start, responses = time.perf_counter(), self._responses
        if responses is None:
            raise ValueError("find_strength needs find_rate first, before training")
        strength = strength_of(trainer.model, reference)
        rows = rows_at_scales(lambda: responses.rows(trainer.model), strength.at)
        choice = choose_strength(rows, sampled=rows_origin(self._scale), seed=self._seed)
        strength.apply(choice.scale)
        seconds = self.chosen["seconds"] + time.perf_counter() - start
        self.chosen |= {"scale": choice.scale, "reason": choice.reason, "seconds": seconds}
