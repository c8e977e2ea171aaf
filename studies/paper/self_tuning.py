"""The row that tunes itself: learning rate and strength are chosen on logged responses that it does not train on."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import datasets
from torch import nn

from studies.paper.scales import Scale
from valuefree.data import split_by_prompt
from valuefree.evaluation.held_out.logged_responses import LoggedResponses
from valuefree.evaluation.held_out.measure import quick_measures
from valuefree.evaluation.held_out.strength_choice import StrengthChoice, choose_strength, rows_at_scales
from valuefree.evaluation.metrics.registry import HELD_OUT_DEFAULT
from valuefree.models.strength import strength_of
from valuefree.training.learning_rate import ADAPTER_RATES, FULL_RATES, SearchResult, search_learning_rate
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
    return "the rows are SmolLM2's at temperature 0.7 with top-k 50, not the reference's at temperature 1"


@dataclass(frozen=True)
class Chosen:
    """What was chosen, for the row of a run.

    Attributes:
        selection_prompts: number of prompts that it was chosen by.
        learning_rate: with all trials in `trials`.
        at_edge: whether the rate is the smallest or largest of those tried.
        scale: strength of the policy; 1 is the policy as trained.
        reason: for the strength, in a sentence.
        seconds: of the search for the rate and of the choice of the strength.
    """

    selection_prompts: int
    learning_rate: float
    at_edge: bool
    trials: list[dict[str, Any]]
    scale: float
    reason: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """For the file of the row."""
        return asdict(self)


class SelfTuning:
    """The choices of one run: `find_rate` before training, `find_strength` after it, then `chosen`.

    Args:
        selection: rows to choose by. scale: of the study. seed: of the resamples behind the choice of the strength.
    """

    def __init__(self, selection: datasets.Dataset, scale: Scale, *, seed: int):
        self._selection, self._scale, self._seed = selection, scale, seed
        self._responses: LoggedResponses | None = None
        self._search: SearchResult | None = None
        self._strength: StrengthChoice | None = None
        self._seconds = 0.0

    def find_rate(self, trainer: PolicyTrainer) -> None:
        """Score the selection rows by the reference, and give the trainer the learning rate that does best on them."""
        start = time.perf_counter()
        responses = self._responses = LoggedResponses.prepare(self._selection, trainer.scorer)
        self._search = search_learning_rate(trainer, rates_of(self._scale), _measure(responses, self._scale))
        trainer.args.learning_rate = self._search.rate
        self._seconds += time.perf_counter() - start

    def find_strength(self, trainer: PolicyTrainer, reference: nn.Module | None) -> None:
        """Choose the strength of the trained policy and apply it. reference: None for a policy with an adapter."""
        start = time.perf_counter()
        responses, strength = self._responses, strength_of(trainer.model, reference)
        if responses is None:
            raise ValueError("find_strength needs find_rate first, before training")
        rows = rows_at_scales(lambda: responses.rows(trainer.model), strength.at)
        self._strength = choose_strength(rows, sampled=rows_origin(self._scale), seed=self._seed)
        strength.apply(self._strength.scale)
        self._seconds += time.perf_counter() - start

    @property
    def chosen(self) -> Chosen:
        """Both choices."""
        search, strength = self._search, self._strength
        if search is None or strength is None:
            raise ValueError("nothing is chosen yet; call find_rate and find_strength")
        return Chosen(
            len(self._selection.unique("prompt_id")),
            search.rate,
            search.at_edge,
            [asdict(trial) for trial in search.trials],
            strength.scale,
            strength.reason,
            self._seconds,
        )


def _measure(responses: LoggedResponses, scale: Scale) -> Callable[[nn.Module], float]:
    """The measure that decides between learning rates."""
    return lambda policy: quick_measures(responses.rows(policy), sampled=rows_origin(scale))[HELD_OUT_DEFAULT]
