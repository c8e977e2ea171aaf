"""Worlds in which the optimum is known: token policies with additive rewards, exact by recursion for any length.

A policy is a table of log-probabilities of shape (…, P, T, C, A): for prompt, position and context the distribution of
the next token. The context is the previous token (first-order Markov, C = A, the first is 0) or nothing (factorised,
C = 1). Seeds (S) and runs (L) stand in front where there are several.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from valuefree.errors import ConfigError

Structure = Literal["factorised", "markov"]
RewardKind = Literal["additive", "saturating"]


@dataclass(frozen=True)
class WorldSettings:
    """The parameters of a world.

    structure: of reference and policies. length: tokens of a response, T. alphabet: different tokens, A. features:
    numbers that describe a prompt, the first of them 1. entropy: scale of the reference's logits; larger is more
    predictable. between: standard deviation over prompts of the offset of a prompt's rewards; within a prompt the
    rewards of the reference's responses have a standard deviation of about 1. reward: ``additive`` over (t, y_{t−1},
    y_t), or ``saturating``: 2·tanh(·/2) of that sum, whose optimum has no closed form.
    """

    structure: Structure = "factorised"
    length: int = 20
    alphabet: int = 6
    features: int = 4
    entropy: float = 1.0
    between: float = 1.0
    reward: RewardKind = "additive"

    def __post_init__(self) -> None:
        for name in ("length", "alphabet", "features"):
            if getattr(self, name) < 2:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 2.")


@dataclass(frozen=True)
class World:
    """One world: weights over the features of a prompt (F), which determine everything at a prompt.

    reference, reward, other: (F, T, C, A), of log-probabilities before normalisation, of the reward, and of a direction
    independent of it. offset: (F,), of what is added to every reward of a prompt.
    """

    settings: WorldSettings
    reference: Tensor
    reward: Tensor
    other: Tensor
    offset: Tensor


@dataclass(frozen=True)
class Prompts:
    """Prompts of a world: features (P, F); reference log-probabilities, rewards and other direction (P, T, C, A)."""

    features: Tensor
    reference: Tensor
    reward: Tensor
    other: Tensor
    offset: Tensor


def make_world(settings: WorldSettings, seed: int) -> World:
    """A world drawn at random, its rewards scaled to a within-prompt standard deviation of 1 under the reference."""
    generator = torch.Generator().manual_seed(1000 + seed)
    contexts = settings.alphabet if settings.structure == "markov" else 1
    shape = (settings.features, settings.length, contexts, settings.alphabet)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    share = settings.features**-0.5  # so that logits and rewards do not grow with the number of features
    world = World(
        settings,
        settings.entropy * share * draw(*shape),
        share * draw(*shape),
        share * draw(*shape),
        settings.between * share * draw(settings.features),
    )
    probe = make_prompts(world, 256, seed=seed, part="probe")
    deviation = _additive_variance(probe.reference, probe.reward).mean().sqrt()
    deviation_other = _additive_variance(probe.reference, probe.other).mean().sqrt()
    return replace(world, reward=world.reward / deviation, other=world.other / deviation_other)


def make_prompts(world: World, count: int, *, seed: int, part: str) -> Prompts:
    """`count` prompts; parts (train, validation, test, probe) of one seed have different ones."""
    number = ("train", "validation", "test", "probe").index(part)
    generator = torch.Generator().manual_seed(10_000 * (number + 1) + seed)
    rest = torch.randn(count, world.settings.features - 1, generator=generator, dtype=torch.float64)
    features = torch.cat([torch.ones(count, 1, dtype=torch.float64), rest], dim=1)
    weights = (world.reference, world.reward, world.other)
    reference, reward, other = (torch.einsum("pf,ftca->ptca", features, weight) for weight in weights)
    reference = torch.log_softmax(reference, dim=-1)
    return Prompts(features, reference, reward, other, features @ world.offset)


def expectation(policy: Tensor, gains: Tensor) -> Tensor:
    """E_π Σ_t gains[t, y_{t−1}, y_t], shape (…, P): by forward recursion over the marginals of the context."""
    probabilities = policy.exp()
    contexts = policy.shape[-2]
    marginal = torch.zeros_like(probabilities[..., 0, :, 0])
    marginal[..., 0] = 1.0
    total = torch.zeros_like(marginal[..., 0])
    for t in range(policy.shape[-3]):
        joint = marginal[..., None] * probabilities[..., t, :, :]
        total = total + (joint * gains[..., t, :, :]).sum((-1, -2))
        marginal = joint.sum(-2) if contexts > 1 else joint.sum((-1, -2))[..., None]
    return total


def kl_divergence(policy: Tensor, other: Tensor) -> Tensor:
    """KL(π‖other) in nats, shape (…, P)."""
    return expectation(policy, policy - other)


def optimum(reference: Tensor, reward: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """π* (…, P, T, C, A) and V* − offset (…, P) of an additive reward: by backward recursion."""
    contexts = reference.shape[-2]
    steps = reference.shape[-3]
    ahead = torch.zeros_like(reference[..., 0, :, 0])  # (…, P, C): log Z of the remaining tokens, by their context
    tables = []
    for t in reversed(range(steps)):
        following = ahead[..., None, :] if contexts > 1 else ahead[..., None]
        scores = reference[..., t, :, :] + reward[..., t, :, :] / tau + following
        ahead = torch.logsumexp(scores, dim=-1)
        tables.append(scores - ahead[..., None])
    return torch.stack(tables[::-1], dim=-3), tau * ahead[..., 0]


def _additive_variance(reference: Tensor, reward: Tensor) -> Tensor:
    """Var_ref of the additive reward per prompt, (P,): by 512 samples for a Markov chain, else exact."""
    if reference.shape[-2] > 1:
        tokens = sample(reference, 512, torch.Generator().manual_seed(0))
        return score(reward, tokens).var(-1)
    probabilities = reference.exp()
    mean = (probabilities * reward).sum(-1, keepdim=True)
    return (probabilities * (reward - mean).square()).sum((-1, -2, -3))


def sample(policy: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Token ids (P, count, T) drawn from a table (P, T, C, A)."""
    prompts, steps, contexts, _ = policy.shape
    context = torch.zeros(prompts, count, dtype=torch.int64)
    tokens = []
    for t in range(steps):
        table = policy[:, t].exp()
        chosen = table.gather(1, context[..., None].expand(-1, -1, table.shape[-1]))
        token = torch.multinomial(chosen.reshape(prompts * count, -1), 1, generator=generator).reshape(prompts, count)
        tokens.append(token)
        context = token if contexts > 1 else context
    return torch.stack(tokens, dim=-1)


def cells(tokens: Tensor, contexts: int, alphabet: int) -> Tensor:
    """Flat position of each token in its table of (C, A), same shape as `tokens`."""
    if contexts == 1:
        return tokens
    before = torch.cat([torch.zeros_like(tokens[..., :1]), tokens[..., :-1]], dim=-1)
    return before * alphabet + tokens


def score(table: Tensor, tokens: Tensor) -> Tensor:
    """Σ_t table[t, y_{t−1}, y_t] of each response: (P, T, C, A) and (P, n, T) give (P, n)."""
    flat = table.flatten(-2)  # (P, T, C·A)
    index = cells(tokens, table.shape[-2], table.shape[-1]).transpose(-1, -2)  # (P, T, n)
    return flat.gather(-1, index).sum(-2)


def tilted(prompts: Prompts, tilt: float) -> Tensor:
    """The behaviour policy ∝ π_ref·exp(tilt·(r + u)/√2), u a direction independent of the reward."""
    return optimum(prompts.reference, tilt * (prompts.reward + prompts.other) / 2**0.5, 1.0)[0]


def rewards_of(world: World, prompts: Prompts, tokens: Tensor) -> Tensor:
    """True rewards (P, n)."""
    total = score(prompts.reward, tokens)
    if world.settings.reward == "saturating":
        total = 2 * torch.tanh(total / 2)
    return total + prompts.offset[:, None]
