"""How tokens are drawn from logits: temperature, then top-k, then top-p, as transformers' `generate` does it."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import TopKLogitsWarper, TopPLogitsWarper

from valuefree.errors import ConfigError


class Sampler(NamedTuple):
    """Settings of a sampler; the default draws from the model itself.

    temperature: divides the logits, > 0. top_k: the k most probable tokens are kept, and tokens tied with the last of
    them; 0 keeps all. top_p: the fewest most probable tokens whose probabilities sum to at least p; 1 keeps all.

    It is a tuple because wrappers of a model (FSDP) take the arguments of its forward pass apart and build them again.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def check(self) -> "Sampler":
        """Itself.

        Raises:
            ConfigError: a setting outside its range.
        """
        if not 0 < self.temperature < math.inf or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ConfigError(
                f"temperature={self.temperature}, top_k={self.top_k}, top_p={self.top_p}: expected a finite "
                "temperature > 0, top_k ≥ 0 and 0 < top_p ≤ 1. A greedy sampler (temperature 0) gives every response "
                "but one probability zero, so it has no log-probabilities to compare."
            )
        return self

    @property
    def truncates(self) -> bool:
        """Whether tokens may have probability zero."""
        return self.top_k > 0 or self.top_p < 1

    def truncate(self, logits: Float[Tensor, "N V"]) -> Float[Tensor, "N V"]:
        """`logits`, already divided by the temperature, with −inf for every token that is never drawn."""
        ids: Tensor = None  # type: ignore[assignment]  # the warpers ignore the tokens so far
        if self.top_k > 0:
            logits = TopKLogitsWarper(self.top_k)(ids, logits)  # type: ignore[arg-type]
        if self.top_p < 1:
            logits = TopPLogitsWarper(self.top_p)(ids, logits)  # type: ignore[arg-type]
        return logits


PLAIN = Sampler()  # the model itself


class ScoringSettings(NamedTuple):
    """The arguments of `response_logps` that are no tensors; a tuple for the reason that `Sampler` is one."""

    chunk_tokens: int
    max_logit_bytes: int
    sampler: Sampler
    statistics: bool

    def check(self) -> "ScoringSettings":
        """Itself; ConfigError if the settings contradict each other."""
        sampler = self.sampler.check()
        if torch.is_grad_enabled() and (sampler.truncates or self.statistics):
            what = f"top_k={sampler.top_k} and top_p={sampler.top_p}" if sampler.truncates else "statistics=True"
            raise ConfigError(f"{what} have no gradient here. Call response_logps under torch.no_grad().")
        if sampler.truncates and self.statistics:
            raise ConfigError(
                f"statistics=True describes whole distributions, but top_k={sampler.top_k} and top_p={sampler.top_p} "
                "truncate them. Leave out one of the two."
            )
        return self
