"""Problems of the claims: worlds with a tilted reference, and data without the best or the unusual responses."""

from dataclasses import replace

import torch
from torch import Tensor

from studies.exact.problems import Problem, Regime, draw_problem
from studies.exact.world import Prompts, World, WorldSettings, make_world, sample, score
from studies.paper.claims.plan import WORLDS, Setting

POOL = 128  # draws per prompt, from which the best are left out


def make_claim_problem(setting: Setting, seed: int) -> Problem:
    """Data of one seed; equal responses to a prompt share an index in `response_of`."""
    length, alphabet = WORLDS[setting.world]
    world = with_reference(make_world(WorldSettings(length=length, alphabet=alphabet), seed), setting.reference)

    def draw(prompts: Prompts, count: int, generator: torch.Generator) -> Tensor:
        if setting.missing:
            return without_best(prompts, count, setting.missing, generator)
        behaviour = prompts.reference
        if setting.sharpness != 1:
            behaviour = torch.log_softmax(setting.sharpness * behaviour, dim=-1)
        return sample(behaviour, count, generator)

    regime = Regime("claims", responses=setting.responses, prompts=setting.prompts, noise=setting.noise)
    problem = draw_problem(world, regime, seed, held_out=setting.held_out, draw=draw)
    _, response_of = torch.unique(problem.tokens.flatten(0, 1), dim=0, return_inverse=True)
    return replace(problem, response_of=response_of.view_as(problem.rewards))


def with_reference(world: World, tilt: float) -> World:
    """The world with reference ∝ π_ref·exp(tilt · reward); exact, as positions are independent."""
    return replace(world, reference=world.reference + tilt * world.reward)


def without_best(prompts: Prompts, count: int, share: float, generator: torch.Generator) -> Tensor:
    """Responses (P, count, T) of the reference without the `share` with the highest rewards, from 128 draws each."""
    pool = sample(prompts.reference, POOL, generator)
    order = score(prompts.reward, pool).argsort(dim=1)[:, : round((1 - share) * POOL)]
    chosen = order.gather(1, torch.rand(order.shape, generator=generator).argsort(dim=1)[:, :count])
    return pool.gather(1, chosen[..., None].expand(-1, -1, pool.shape[-1]))
