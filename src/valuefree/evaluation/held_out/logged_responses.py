"""Logged responses with their reference scores, on which a policy is measured during and after training."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import datasets
import numpy as np
import torch
from torch import nn

from valuefree.batches.collate import scoring_batches
from valuefree.data.columns import factorize, lengths_of, list_numbers, to_numpy
from valuefree.data.triplets import selected
from valuefree.errors import DataError
from valuefree.evaluation.held_out.rows import LoggedRows
from valuefree.models.authorship import Authorship, authorship
from valuefree.models.logprobs import response_logps
from valuefree.models.modules import evaluating
from valuefree.models.sampler import Sampler
from valuefree.training.preparation import Scorer
from valuefree.training.reference_scores import ReferenceScores


@dataclass(frozen=True)
class LoggedResponses:
    """R rows of P prompts, tokenised and scored by the reference.

    Attributes:
        table: the rows with ``prompt_ids`` and ``response_ids``.
        rewards: as logged, float64, (R,). prompt_of: prompt of each row, 0 … P−1, int64, (R,).
        reference: scores of the reference.
        features: a vector per prompt, (P, d), where most prompts have one response; otherwise None.
        scorer: how the responses are scored.
    """

    table: datasets.Dataset
    rewards: np.ndarray
    prompt_of: np.ndarray
    reference: ReferenceScores
    features: np.ndarray | None
    scorer: Scorer

    @classmethod
    def prepare(cls, dataset: datasets.Dataset, scorer: Scorer, *, features: bool | None = None) -> "LoggedResponses":
        """Tokenise the rows and score them by the reference, which must still be what `scorer` holds.

        Args:
            dataset: as `valuefree.data.read_triplets` returns it.
            scorer: the reference; with an adapter, the adapter is switched off.
            features: whether to compute the features of the prompts; default: `needs_features`.

        Raises:
            DataError: no rows, or responses that are truncated to nothing. ScoringError: rows without a score.
        """
        if not len(dataset):
            raise DataError("there are no rows to measure the policy on.")
        table, _ = scorer.tokenize(dataset)
        prompt_of = factorize(to_numpy(table["prompt_id"], np.int64))
        reference = scorer.score(table)
        wanted = needs_features(prompt_of) if features is None else features
        first = np.unique(prompt_of, return_index=True)[1]
        vectors = scorer.features(table.select(first)["prompt_ids"]) if wanted else None
        rewards = to_numpy(dataset["reward"], np.float64)
        return cls(table, rewards, prompt_of, reference, vectors, scorer)

    @property
    def varied(self) -> bool:
        """Whether the rewards differ, so that there is something to rank."""
        return bool(np.ptp(self.rewards) > 0)

    def authorship(self) -> Authorship | None:
        """Whether the reference wrote the responses; None for scores of a sampler that truncates."""
        scores = self.reference
        if scores.statistics is None:
            return None
        return authorship(scores.statistics, scores.logps, scores.tokens, temperature=self.scorer.sampler.temperature)

    def rows(self, policy: nn.Module) -> LoggedRows:
        """What the policy says about the responses, beside the reference."""
        return LoggedRows(
            logratios=self._logps(policy) - self.reference.logps,
            rewards=self.rewards,
            prompt_of=self.prompt_of,
            lengths=self.reference.tokens,
            features=self.features,
        )

    def _logps(self, policy: nn.Module) -> np.ndarray:
        """Log-probability of every response under the policy as it is, float64, (R,)."""
        lengths = (lengths_of(self.table, "prompt_ids"), lengths_of(self.table, "response_ids"))
        numbers = list_numbers(self.table, "prompt_ids")
        collator, autocast = self.scorer.collator, self.scorer.autocast
        device = next(policy.parameters()).device
        casting: Any = torch.autocast(device.type, dtype=autocast) if autocast else nullcontext()
        found = np.empty(len(self.table))
        with evaluating(policy), casting:
            for rows in scoring_batches(collator, lengths, numbers, self.scorer.batch_tokens):
                batch = {name: tensor.to(device) for name, tensor in collator.batch(self.table, rows).items()}
                logps = response_logps(policy, batch, **self.scorer.sampler._asdict()).total
                found[rows] = logps.double().cpu().numpy()
        return found


@dataclass(frozen=True)
class Origin:
    """Who wrote logged responses, and what follows for the measures.

    Attributes:
        authorship: what the statistics of the scoring pass say, or None.
        scorer: scores the responses as they were drawn, where the reference drew them at another temperature.
        sampled: None if the responses may be taken as drawn from the reference as `scorer` scores it; else why not.
    """

    authorship: Authorship | None
    scorer: Scorer
    sampled: str | None

    @classmethod
    def of(cls, responses: LoggedResponses) -> "Origin":
        """The origin of these responses, and of others that were drawn in the same way."""
        found, scorer = responses.authorship(), responses.scorer
        if found is None:
            return cls(None, scorer, "nothing is known of who wrote the responses")
        if found.verdict == "temperature" and found.drawn_at is not None:
            drawn = Sampler(temperature=round(found.drawn_at, 2))
            return cls(found, replace(scorer, sampler=drawn), None)
        reasons = {
            "truncated": f"the responses look drawn with {found.bound}, and the policy cuts off other tokens there",
            "other": "this model did not write the responses as they are",
            "temperature": "the responses are nearly greedy, so they show little of the reference's distribution",
            "undecided": "it cannot be told whether this model wrote the responses",
        }
        return cls(found, scorer, reasons.get(found.verdict))

    def sentence(self) -> str | None:
        """Who wrote the responses, and at which temperature the models are compared."""
        if self.authorship is None:
            return None
        said = self.authorship.sentence()
        if self.scorer.sampler.temperature != self.authorship.scored_at:
            said += f" Both models are compared at temperature {self.scorer.sampler.temperature:g}."
        return said


def needs_features(prompt_of: Any) -> bool:
    """Whether fewer than half of the prompts have two responses or more, so that rows of different prompts compare.

    prompt_of: prompt of each row, (R,); an array or the column of a data set.
    """
    return bool((np.unique(to_numpy(prompt_of, np.int64), return_counts=True)[1] > 1).mean() < 0.5)


def sample_prompts(dataset: datasets.Dataset, prompts: int, *, seed: int) -> datasets.Dataset:
    """The rows of at most `prompts` prompts, drawn at random."""
    ids_R = to_numpy(dataset["prompt_id"], np.int64)
    every: Sequence[int] = np.unique(ids_R).tolist()
    if len(every) <= prompts:
        return dataset
    drawn = np.random.default_rng(seed).choice(every, size=prompts, replace=False)
    return selected(dataset, ids_R, np.isin(ids_R, drawn))
