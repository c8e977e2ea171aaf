"""A trained policy measured on the logged responses that were held out, and on some of those it was trained on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import datasets
import numpy as np
from torch import nn

from valuefree.evaluation.held_out.learned import Learned
from valuefree.evaluation.held_out.logged_responses import LoggedResponses, Origin, needs_features, sample_prompts
from valuefree.evaluation.held_out.measure import measure
from valuefree.evaluation.held_out.rows import LoggedRows
from valuefree.evaluation.held_out.strength_choice import SCALES, StrengthChoice, choose_strength, rows_at_scales
from valuefree.models.strength import Strength
from valuefree.training.preparation import Scorer

TRAINING_PROMPTS = 300  # prompts of the training rows that are measured beside the report prompts
SHOWN_POINTS = 1000  # rows of each kind that the picture shows


@dataclass(frozen=True)
class Assessment:
    """What a policy has learned, and what the picture of it needs.

    Attributes:
        learned: measured on the report prompts.
        points: by "report" and "training", the log-ratios and rewards of rows, each minus its mean over the prompt
            (over all rows where prompts have one response).
        strength: the choice of the policy's strength, if one was made before.
        origin: a sentence on who wrote the responses, if the scores tell.
        sampled, temperature: as in `measure`, and the temperature at which the models were compared.
    """

    learned: Learned
    points: dict[str, dict[str, list[float]]]
    strength: StrengthChoice | None = None
    origin: str | None = None
    sampled: str | None = None
    temperature: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """All of it, for metrics.json."""
        chosen = asdict(self.strength) if self.strength is not None else None
        return {
            "learned": self.learned.to_dict(),
            "points": self.points,
            "strength": chosen,
            "origin": self.origin,
            "sampled": self.sampled,
            "temperature": self.temperature,
        }


@dataclass(frozen=True)
class HeldOutResponses:
    """Logged responses by use: to report on, to select settings by (or None), and a sample of those trained on.

    All are scored as they were drawn, as far as `origin`, found on the training responses, tells.
    """

    report: LoggedResponses
    selection: LoggedResponses | None
    training: LoggedResponses
    origin: Origin

    @classmethod
    def prepare(
        cls,
        scorer: Scorer,
        *,
        report: datasets.Dataset,
        selection: datasets.Dataset | None,
        training: datasets.Dataset,
        seed: int,
    ) -> "HeldOutResponses":
        """Tokenise and score the rows, before the policy is trained."""
        sample = sample_prompts(training, TRAINING_PROMPTS, seed=seed)
        features = needs_features(report["prompt_id"])
        trained = LoggedResponses.prepare(sample, scorer, features=features)
        origin = Origin.of(trained)
        if origin.scorer is not scorer:
            trained = LoggedResponses.prepare(sample, origin.scorer, features=features)
        reported = LoggedResponses.prepare(report, origin.scorer, features=features)
        selected = LoggedResponses.prepare(selection, origin.scorer) if selection is not None else None
        return cls(reported, selected, trained, origin)

    def choose_strength(
        self,
        policy: nn.Module,
        strength: Strength,
        *,
        max_kl: float | None = None,
        scales: Sequence[float] = SCALES,
        seed: int = 0,
    ) -> StrengthChoice | None:
        """The scale that the selection rows support; None without selection rows."""
        selection = self.selection
        if selection is None:
            return None
        rows = rows_at_scales(lambda: selection.rows(policy), strength.at, scales)
        return choose_strength(rows, sampled=self.origin.sampled, max_kl=max_kl, seed=seed)

    def assess(
        self,
        policy: nn.Module,
        *,
        tau: float | None,
        strength: StrengthChoice | None = None,
        seed: int = 0,
    ) -> Assessment:
        """Measure the policy as it is. tau: as in `measure`."""
        settings: dict[str, Any] = {"tau": tau, "strength": strength, "seed": seed}
        return assessment_of(self.report.rows(policy), self.origin, training=self.training.rows(policy), **settings)


def assessment_of(
    rows: LoggedRows,
    origin: Origin,
    *,
    training: LoggedRows | None = None,
    tau: float | None = None,
    strength: StrengthChoice | None = None,
    seed: int = 0,
) -> Assessment:
    """The assessment from rows that are measured already."""
    learned = measure(rows, train=training, tau=tau, sampled=origin.sampled, seed=seed)
    points = {"report": _points(rows)} | ({"training": _points(training)} if training is not None else {})
    temperature = origin.scorer.sampler.temperature
    return Assessment(learned, points, strength, origin.sentence(), origin.sampled, temperature)


def _points(rows: LoggedRows) -> dict[str, list[float]]:
    """At most `SHOWN_POINTS` log-ratios and rewards of rows, centred."""
    shown = np.arange(len(rows))
    if len(shown) > SHOWN_POINTS:
        shown = np.sort(np.random.default_rng(0).choice(shown, SHOWN_POINTS, replace=False))
    columns = {"logratios": _centred(rows.logratios, rows), "rewards": _centred(rows.rewards, rows)}
    return {name: values[shown].tolist() for name, values in columns.items()}


def _centred(values: np.ndarray, rows: LoggedRows) -> np.ndarray:
    if rows.prompts == len(rows):
        return values - values.mean()
    return values - (np.bincount(rows.prompt_of, weights=values) / rows.counts)[rows.prompt_of]
