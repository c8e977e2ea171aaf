"""One run where the true gain is known: train, then measure the policy on logged rows and by sampling, at strengths."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from studies.learned.points import logged_columns
from valuefree.batches.collate import Collator
from valuefree.evaluation.generation import Decoding, generate_ids
from valuefree.evaluation.held_out.logged_responses import LoggedResponses
from valuefree.evaluation.kl import as_reference
from valuefree.models.logprobs import response_logps
from valuefree.models.modules import evaluating

TRUTH_SEED = 20_000  # apart from the seeds that rows are drawn with


@dataclass(frozen=True)
class Cell:
    """A run. world: where it takes place. label: the objective as written in Python. shuffled: rewards permuted."""

    world: str
    label: str
    lr: float
    seed: int
    shuffled: bool = False

    @property
    def name(self) -> str:
        """Of the cell's file."""
        return f"{self.world}-{self.label}{'-shuffled' if self.shuffled else ''}-lr{self.lr:g}-seed{self.seed}"

    @property
    def family(self) -> str:
        """The world without its kind of model: ``small`` of ``small-t5``."""
        return self.world.split("-")[0]


@dataclass(frozen=True)
class Truth:
    """How the true gain is sampled: exact samples of policy and reference for the report prompts.

    reward: from texts of the responses to all prompts, `samples` each, to rewards. scored: samples of each prompt whose
    log-ratio is computed, for the KL; default: all.
    """

    tokenizer: Any
    prompts: Sequence[Any]
    reward: Callable[[list[Any], list[str]], Sequence[float]]
    decoding: Decoding
    samples: int
    scored: int | None = None

    def sample(self, model: nn.Module, seed: int) -> tuple[np.ndarray, list[list[int]], list[list[int]]]:
        """Mean reward of each prompt's samples, (P,), and the token ids of prompts and responses."""
        decoding = self.decoding.exact(seed=TRUTH_SEED + seed)
        asked, ids = generate_ids(model, self.tokenizer, self.prompts, decoding, samples=self.samples)
        texts = [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]
        repeated = [prompt for prompt in self.prompts for _ in range(self.samples)]
        rewards = np.asarray(self.reward(repeated, texts), dtype=np.float64)
        return rewards.reshape(len(self.prompts), self.samples).mean(axis=1), asked, ids

    def of_reference(self, model: nn.Module, reference: nn.Module | None, seed: int) -> np.ndarray:
        """Mean reward of the reference's samples by prompt, with another seed than the policy's."""
        other = model if reference is None else reference
        with as_reference(other, adapter_off=reference is None):
            return self.sample(other, seed + 1000)[0]

    def measure(
        self, policy: nn.Module, reference: nn.Module | None, collator: Collator, base_P: np.ndarray, seed: int
    ) -> dict[str, Any]:
        """The true gain by prompt, and log-ratios of samples of the policy, of which the mean is the KL."""
        rewards_P, asked, ids = self.sample(policy, seed)
        kept = [row for row in range(len(ids)) if row % self.samples < (self.scored or self.samples)]
        asked, ids = [asked[row] for row in kept], [ids[row] for row in kept]
        other = policy if reference is None else reference
        ratios: list[float] = []
        for start in range(0, len(ids), 64):
            part = slice(start, start + 64)
            batch = collator.tensors({"prompt_ids": asked[part], "response_ids": ids[part]})
            with evaluating(policy):
                own = response_logps(policy, batch).total.double()
            with evaluating(other), as_reference(other, adapter_off=reference is None):
                ratios += (own - response_logps(other, batch).total.double()).tolist()
        return {"true_gains": (rewards_P - base_P).tolist(), "sampled_logratios": ratios}


@dataclass(frozen=True)
class Measured:
    """What a policy is measured on: held-out and training rows of the log, and the truth."""

    policy: nn.Module
    report: LoggedResponses
    training: LoggedResponses
    truth: Callable[[], dict[str, Any]]

    def point(self, scale: float = 1.0) -> dict[str, Any]:
        """A point of the curve, of the policy as it is now. scale: its strength."""
        rows = {"report": self.report, "training": self.training}
        logged = {name: logged_columns(part.rows(self.policy)) for name, part in rows.items()}
        return {"scale": scale, **logged, **self.truth()}

    def at_strengths(
        self, at: Callable[[float], AbstractContextManager[None]], scales: Sequence[float]
    ) -> list[dict[str, Any]]:
        """A point per strength."""
        curve = []
        for scale in scales:
            with at(scale):
                curve.append(self.point(scale))
        return curve
