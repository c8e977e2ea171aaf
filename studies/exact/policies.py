"""Policies of several worlds and runs at once, and their J* − J, reward and KL on held-out prompts."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from studies.exact.problems import Problem
from studies.exact.world import cells, expectation, kl_divergence, optimum, rewards_of, sample

POLICY_SAMPLES = 128  # of every policy per prompt, for E r where it has no closed form
DTYPE = torch.float32  # of the policies in training; they are evaluated in float64


@dataclass(frozen=True)
class Outcome:
    """Means over held-out prompts, per seed (S) and learning rate (L): J* − J in reward units, E r, KL in nats."""

    gap: Tensor
    reward: Tensor
    kl: Tensor


class Batch:
    """All seeds of a regime stacked, for one forward pass over every policy."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = list(problems)
        train = [problem.train for problem in problems]
        self.features = torch.stack([prompts.features for prompts in train]).to(DTYPE)  # (S, P, F)
        self.reference = torch.stack([prompts.reference for prompts in train]).to(DTYPE)  # (S, P, T, C, A)
        contexts, alphabet = self.reference.shape[-2:]
        tokens = torch.stack([problem.tokens for problem in problems])
        self.cells = cells(tokens, contexts, alphabet).transpose(-1, -2)  # (S, P, T, n)
        table = torch.stack([prompts.reference for prompts in train]).flatten(-2)
        self.reference_logps = table.gather(-1, self.cells).sum(-2)  # (S, P, n), float64

    def of(self, prompts: Tensor) -> "Batch":
        """The training rows of some prompts (S, p), with all held-out prompts."""
        chosen = copy.copy(self)
        seed = torch.arange(len(prompts))[:, None]
        for name in ("features", "reference", "cells", "reference_logps"):
            setattr(chosen, name, getattr(self, name)[seed, prompts])
        return chosen

    def tables(self, weights: Tensor, features: Tensor, reference: Tensor) -> Tensor:
        """Policies (S, L, P, T, C, A) of weights (S, L, F, T, C, A)."""
        shift = torch.einsum("spf,slftca->slptca", features, weights)
        scores = reference[:, None] + shift
        scores = scores - scores.detach().amax(-1, keepdim=True)
        # Over so few tokens torch's log_softmax takes three times as long.
        return scores - scores.exp().sum(-1, keepdim=True).log()

    def logps(self, tables: Tensor, cells_: Tensor) -> Tensor:
        """Log-probabilities (S, L, P, n) of the responses at `cells_`, (S, P, T, n)."""
        flat = tables.flatten(-2)
        index = cells_[:, None].expand(-1, flat.shape[1], -1, -1, -1)
        return flat.gather(-1, index).sum(-2)

    def outcome(self, weights: Tensor, part: str) -> Outcome:
        """The outcome of policies, given by their weights, on the held-out prompts of a part."""
        held = [problem.yardsticks[part].prompts for problem in self.problems]
        features = torch.stack([prompts.features for prompts in held])
        reference = torch.stack([prompts.reference for prompts in held])
        return self.worth(self.tables(weights.double(), features, reference), part)

    def worth(self, policy: Tensor, part: str) -> Outcome:
        """The outcome of policies (S, L, P, T, C, A) on the held-out prompts of a part."""
        held = [problem.yardsticks[part] for problem in self.problems]
        reference = torch.stack([y.prompts.reference for y in held])
        if self.exact:
            reward = torch.stack([y.prompts.reward for y in held])
            offset = torch.stack([y.prompts.offset for y in held])
            gained = expectation(policy, reward[:, None]) + offset[:, None]
        else:
            gained = self._sampled(policy, part)
        values = torch.stack([y.values for y in held])
        kl = kl_divergence(policy, reference[:, None])
        gap = values[:, None] - gained + self.problems[0].regime.tau * kl
        return Outcome(gap.mean(-1), gained.mean(-1), kl.mean(-1))

    @property
    def exact(self) -> bool:
        """Whether E r and V* have closed forms."""
        return self.problems[0].world.settings.reward == "additive"

    def _sampled(self, policy: Tensor, part: str) -> Tensor:
        """E_π r (S, L, P) from samples."""
        every = []
        for s, problem in enumerate(self.problems):
            prompts = problem.yardsticks[part].prompts
            tables = policy[s].flatten(0, 1)  # (L·P, T, C, A)
            rates = policy.shape[1]
            tokens = sample(tables, POLICY_SAMPLES, torch.Generator().manual_seed(2))
            drawn = tokens.unflatten(0, (rates, -1)).transpose(0, 1).flatten(1, 2)  # (P, L·n, T)
            rewards = rewards_of(problem.world, prompts, drawn).unflatten(1, (rates, -1))
            every.append(rewards.mean(-1).T)
        return torch.stack(every)


def reference_points(batch: Batch, part: str) -> dict[str, Outcome]:
    """π_ref, and π* where it is known, on held-out prompts, (S, 1) each."""
    held = [problem.yardsticks[part] for problem in batch.problems]
    tables = {"π_ref": torch.stack([y.prompts.reference for y in held])}
    if batch.exact:
        tables["π*"] = torch.stack([y.best for y in held])
    return {name: batch.worth(table[:, None], part) for name, table in tables.items()}


def frontier(batch: Batch, part: str, taus: Sequence[float]) -> list[tuple[float, float]]:
    """(KL, E r) of the optimum at each temperature, means over seeds and prompts: no policy lies above this curve."""
    points = []
    for tau in taus:
        held = [problem.yardsticks[part].prompts for problem in batch.problems]
        best = torch.stack([optimum(prompts.reference, prompts.reward, tau)[0] for prompts in held])
        worth = batch.worth(best[:, None], part)
        points.append((float(worth.kl.mean()), float(worth.reward.mean())))
    return points
