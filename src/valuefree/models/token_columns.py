"""What the scoring pass keeps of the predicted distributions, per response: names and layout. No torch.

Notation: p is the distribution that predicts a token, scored by the sampler of the pass; p_β ∝ p^β is the same
distribution at 1/β of its temperature; y is the token of the response.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

BETAS = (0.4, 0.63, 1.0, 1.58, 2.5, 4.0)  # inverse temperatures of the subsample, relative to the sampler of the pass
RANKS = (10, 20, 50, 100)  # bounds on top-k that are looked for
MASSES = (0.8, 0.9, 0.95, 0.98)  # bounds on top-p that are looked for
EVERY = 24  # of so many tokens one is in the subsample; with 24 it costs less than the passes over all tokens
BOUNDS = len(RANKS) + len(MASSES)

SHAPES: dict[str, tuple[int, ...]] = {
    # Sums over all tokens of the response.
    "entropy": (),  # H = −E_p[log p], in nats
    "variance": (),  # Var_p[log p], in nats²
    "hits": (),  # 1 if y is a most probable token
    "top1": (),  # probability q of the most probable token
    "top1_variance": (),  # q(1 − q)
    # The same of the last token alone, and its log p(y).
    "last_logp": (),
    "last_entropy": (),
    "last_variance": (),
    "last_hits": (),
    "last_top1": (),
    "last_top1_variance": (),
    # Over the subsample, which never holds the last token: counts and sums at each of BETAS.
    "sampled": (),
    "means": (len(BETAS),),  # E_{p_β}[log p]
    "variances": (len(BETAS),),  # Var_{p_β}[log p]
    "top1s": (len(BETAS),),  # probability of the most probable token under p_β
    # Over the subsample: maxima; then, for each of RANKS and MASSES, tokens beyond the bound, and their number expected
    # under p_β. A token is beyond rank k if k tokens are more probable, beyond mass c if the more probable tokens have
    # a probability of at least c together. A position whose c is not reached within KEPT tokens counts in neither.
    "largest_rank": (),  # 1 + tokens that are more probable than y
    "largest_mass": (),  # probability of the tokens that are more probable than y
    "beyond": (BOUNDS,),
    "tails": (len(BETAS), BOUNDS),
}
KEPT = 256  # most probable tokens that a position of the subsample is sorted by
MAXIMA = ("largest_rank", "largest_mass")
WIDTH = sum(math.prod(shape) for shape in SHAPES.values())
LAYOUT = repr((SHAPES, BETAS, RANKS, MASSES, EVERY, KEPT))


def _slices() -> dict[str, slice]:
    slices, start = {}, 0
    for name, shape in SHAPES.items():
        slices[name] = slice(start, start + math.prod(shape))
        start += math.prod(shape)
    return slices


SLICES = _slices()


@dataclass(frozen=True)
class TokenStatistics:
    """Statistics of R responses; ``statistics[name]`` has shape (R, *SHAPES[name]), float64."""

    values: Float[np.ndarray, "R W"]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.values[:, SLICES[name]].reshape(len(self.values), *SHAPES[name]).astype(np.float64)

    def __len__(self) -> int:
        return len(self.values)
