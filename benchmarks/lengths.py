"""Distributions of prompt and response lengths, and how lengths are drawn. Imports the standard library only."""

import math
import random
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class Lengths:
    """Lognormal lengths in tokens: medians, sigmas of the logarithm, maximum; defaults: as in UltraFeedback."""

    prompt_median: float = 110
    prompt_sigma: float = 0.9
    response_median: float = 230
    response_sigma: float = 0.6
    longest: int = 512

    def __str__(self) -> str:
        return (
            f"lognormal, prompts of median {self.prompt_median:g} tokens (sigma {self.prompt_sigma}), responses of "
            f"median {self.response_median:g} (sigma {self.response_sigma}), all cut at {self.longest}"
        )


LIKE_ULTRAFEEDBACK = Lengths()
SHORT = Lengths(prompt_median=8, response_median=10, longest=24)


def draw(median: float, sigma: float, longest: int, count: int, generator: random.Random) -> list[int]:
    """`count` lengths between 2 and `longest`: one from each of `count` slices of equal probability, shuffled.

    This stratified sample represents the distribution even for ten prompts; an independent sample rarely does.
    """
    normal = NormalDist()
    shares = [min(max((slot + generator.random()) / count, 1e-9), 1 - 1e-9) for slot in range(count)]
    lengths = [round(median * math.exp(sigma * normal.inv_cdf(share))) for share in shares]
    generator.shuffle(lengths)
    return [min(max(length, 2), longest) for length in lengths]
