"""Objectives over pairs of responses to one prompt: DPO, IPO and SLiC."""

import logging
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from valuefree.errors import ConfigError, number_of
from valuefree.objectives.base import (
    Objective,
    ObjectiveInputs,
    ObjectiveOutput,
    TrainingRows,
    check_positive,
    check_same_shape,
)
from valuefree.objectives.knob import knob

logger = logging.getLogger(__name__)

Pairing = Literal["best_worst", "all", "adjacent"]
PAIRED: dict[str, str] = {
    "best_worst": "the best response to each prompt against the worst",
    "all": "every two responses to a prompt with different rewards",
    "adjacent": "neighbours in the order of a prompt's rewards",
}
FEW_PAIRS = 10


def dpo_loss(
    chosen_logratios: Float[Tensor, " N"], rejected_logratios: Float[Tensor, " N"], *, beta: float
) -> Float[Tensor, " N"]:
    r"""Direct preference optimisation, one loss per pair.

    .. math:: -\log\sigma(\beta\Delta),\qquad \Delta = \rho_c - \rho_r

    Args:
        chosen_logratios, rejected_logratios: ρ = log π_θ(y|x) − log π_ref(y|x), shape (N,), in nats.
        beta: strength of the pull to the reference, > 0, in 1/nats.

    Returns:
        Shape (N,).

    Raises:
        ValueError: shapes differ. ConfigError: β ≤ 0.

    Source: eq. 4 of the paper; Rafailov et al. 2023, arXiv 2305.18290.
    """
    return -F.logsigmoid(beta * _margin(chosen_logratios, rejected_logratios, beta))


def ipo_loss(
    chosen_logratios: Float[Tensor, " N"], rejected_logratios: Float[Tensor, " N"], *, beta: float
) -> Float[Tensor, " N"]:
    r"""Identity preference optimisation, one loss per pair: :math:`(\Delta - \tfrac{1}{2\beta})^2`, shape (N,).

    Arguments and errors as of `dpo_loss`. Its authors take log-ratios per token; pass those for that.

    Source: Azar et al. 2023, arXiv 2310.12036, eq. 17 with τ = β.
    """
    return (_margin(chosen_logratios, rejected_logratios, beta) - 1 / (2 * beta)).square()


def slic_loss(
    chosen_logratios: Float[Tensor, " N"], rejected_logratios: Float[Tensor, " N"], *, beta: float
) -> Float[Tensor, " N"]:
    r"""Hinge on the margin, one loss per pair: :math:`\max(0, 1 - \beta\Delta)`, shape (N,).

    Arguments and errors as of `dpo_loss`.

    Source: Zhao et al. 2023, arXiv 2305.10425, normalised by the reference as in Liu et al. 2023, arXiv 2309.06657.
    """
    return F.relu(1 - beta * _margin(chosen_logratios, rejected_logratios, beta))


def _margin(
    chosen_logratios: Float[Tensor, " N"], rejected_logratios: Float[Tensor, " N"], beta: float
) -> Float[Tensor, " N"]:
    check_same_shape(chosen_logratios=chosen_logratios, rejected_logratios=rejected_logratios)
    check_positive("1/nats", beta=beta)
    return chosen_logratios - rejected_logratios


# ----------------------------------------------------------------------------------------------------------- pairing


def pairs_within(
    rewards: Float[Tensor, " R"], group_of: Int[Tensor, " R"], pairing: Pairing
) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """Pairs of rows of one group with unlike rewards: (chosen, rejected), row numbers of shape (N,) each.

    ``best_worst`` gives the highest against the lowest reward of a group (of equals the first, and the last); ``all``
    every two rows; ``adjacent`` neighbours in the order of the rewards. Equal rewards give no pair.

    Args:
        rewards: shape (R,). group_of: equal numbers are one group, shape (R,).
    """
    if pairing not in get_args(Pairing):
        raise ConfigError(f"pairs is {pairing!r}; choose from {', '.join(get_args(Pairing))}.")
    by_reward = torch.argsort(rewards, descending=True, stable=True)
    order = by_reward[torch.argsort(group_of[by_reward], stable=True)]  # a group's rows together, best first
    counted = torch.unique_consecutive(group_of[order], return_counts=True)  # type: ignore  # torch has no type for it
    sizes = cast("tuple[Tensor, Tensor]", counted)[1]
    starts = sizes.cumsum(0) - sizes
    if pairing == "best_worst":
        chosen, rejected = order[starts], order[starts + sizes - 1]
    elif pairing == "adjacent":
        same = group_of[order][1:] == group_of[order][:-1]
        chosen, rejected = order[:-1][same], order[1:][same]
    else:
        parts: list[Tensor] = []
        for size in cast("list[int]", sizes.unique().tolist()):  # type: ignore  # torch has no type for it  # all groups of one size at once
            two = torch.combinations(torch.arange(size, device=order.device))
            parts.append((starts[sizes == size][:, None, None] + two).flatten(0, 1))
        index = torch.cat(parts) if parts else order.new_empty(0, 2)
        chosen, rejected = order[index[:, 0]], order[index[:, 1]]
    unlike = rewards[chosen] != rewards[rejected]
    return chosen[unlike], rejected[unlike]


# -------------------------------------------------------------------------------------------------------- objectives


@dataclass(frozen=True)
class _Pairwise(Objective):
    """What the pairwise objectives share: pairs within a prompt's rows, and the loss of a pair laid on its two rows.

    A row's loss is half of that of each of its pairs, so that rows sum to pairs; its gradient is the whole one with
    respect to its own log-ratio, so that a pair may be cut over two micro-batches that each see both.
    """

    loss_denominator: ClassVar[str] = "pairs"
    columns: ClassVar[tuple[str, ...]] = ("pair_id", "response")

    beta: float = knob(0.1, "strength of the pull to the reference, in 1/nats", minimum=1e-6, maximum=1e6)
    pairs: Pairing = knob(  # noqa: RUF009  a dataclass field; ruff does not see that the alias is of texts
        "best_worst", "which pairs to make of a prompt's responses by their rewards"
    )

    def __post_init__(self) -> None:
        check_positive("1/nats", beta=self.beta)
        if self.pairs not in get_args(Pairing):
            raise ConfigError(f"pairs is {self.pairs!r}; choose from {', '.join(get_args(Pairing))}.")

    @property
    def requires(self) -> frozenset[str]:
        """Reference scores, and a prompt's rows together."""
        return frozenset({"reference_logps", "groups"})

    @property
    def _per_token(self) -> bool:
        return False

    @abstractmethod
    def _loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """Loss per pair of log-ratios, shape (N,)."""

    def _pairs(self, rewards: Tensor, prompt_of: Tensor, columns: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """`_pairs_by_reward` without those whose two responses are one text."""
        chosen, rejected = self._pairs_by_reward(rewards, prompt_of, columns)
        if "response" not in columns:
            return chosen, rejected
        unlike = columns["response"][chosen] != columns["response"][rejected]
        return chosen[unlike], rejected[unlike]

    def _pairs_by_reward(
        self, rewards: Tensor, prompt_of: Tensor, columns: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """A user's own pairs where the data have pair_id, else those of the prompts' rows."""
        group_of, pairing = prompt_of, self.pairs
        if "pair_id" in columns:
            group_of, pairing = columns["pair_id"], "best_worst"
        if "place" not in columns:
            return pairs_within(rewards, group_of, pairing)
        order = torch.argsort(columns["place"])  # which of two equals is taken must not depend on the micro-batch
        chosen, rejected = pairs_within(rewards[order], group_of[order], pairing)
        return order[chosen], order[rejected]

    def _memberships(self, rows: TrainingRows) -> Tensor:
        chosen, rejected = self._pairs(rows.rewards, rows.prompt_of, rows.columns)
        return torch.bincount(torch.cat([chosen, rejected]), minlength=len(rows.rewards))

    def select(self, rows: TrainingRows) -> Tensor:
        """Rows that stand in a pair; pairs of one text twice are left out with a warning."""
        chosen, rejected = self._pairs(rows.rewards, rows.prompt_of, rows.columns)
        dropped = len(self._pairs_by_reward(rows.rewards, rows.prompt_of, rows.columns)[0]) - len(chosen)
        if dropped:
            logger.warning("%s left out: both responses are the same text", number_of(dropped, "pair"))
        across = int((rows.prompt_of[chosen] != rows.prompt_of[rejected]).sum())
        if across:
            raise ConfigError(
                f"{across} pairs of pair_id join responses to unlike prompts; a pair belongs to one prompt."
            )
        kept = self._memberships(rows) > 0
        if not kept.any():
            raise ConfigError(
                f"{type(self).__name__} finds no pair in {len(kept)} rows: no prompt has two different responses "
                "with unlike rewards. Use an objective that takes single responses, such as RPO or KTO."
            )
        if len(chosen) <= FEW_PAIRS:
            logger.warning("trains on %s: too few to say what it learns", number_of(len(chosen), "pair"))
        return kept

    def selection(self, rows: TrainingRows, kept: Tensor) -> str:
        """How many pairs, and which."""
        number = number_of(int(self._memberships(rows).sum()) // 2, "pair")
        which = "those of pair_id" if "pair_id" in rows.columns else PAIRED[self.pairs]
        return f"{number}: {which}; {len(kept) - int(kept.sum())} of {len(kept)} rows are in no pair and are not used"

    def precompute(self, rows: TrainingRows) -> dict[str, Tensor]:
        """``pairs``: half the pairs that a row stands in, so that rows sum to pairs; the place in the data."""
        place = torch.arange(len(rows.rewards))
        return {"pairs": self._memberships(rows).double() / 2, "place": place, **rows.columns}

    def __call__(self, inputs: ObjectiveInputs) -> ObjectiveOutput:
        """Losses per response; metrics are those of the pairs, laid on their rows."""
        rho = inputs.logratios(per_token=self._per_token)
        chosen, rejected = self._pairs(inputs.rewards, inputs.prompt_of, inputs.columns)
        held = rho.detach()
        loss_c = self._loss(rho[chosen], held[rejected])
        loss_r = self._loss(held[chosen], rho[rejected])
        zero = torch.zeros_like(rho)
        losses = zero.index_add(0, chosen, loss_c - 0.5 * loss_c.detach())
        losses = losses.index_add(0, rejected, loss_r - 0.5 * loss_r.detach())
        margin = held[chosen] - held[rejected]
        return ObjectiveOutput(
            losses,
            {
                "logratio": held,
                "logratio_margin": _on_rows(margin, chosen, rejected, held),
                "pair_accuracy": _on_rows((margin > 0).to(held), chosen, rejected, held),
            },
        )


def _on_rows(values: Tensor, chosen: Tensor, rejected: Tensor, like: Tensor) -> Tensor:
    """For each row the mean over its pairs, shape (R,); 0 for a row in none."""
    sums = torch.zeros_like(like).index_add(0, chosen, values).index_add(0, rejected, values)
    return sums / torch.bincount(torch.cat([chosen, rejected]), minlength=len(like)).clamp(min=1)


@dataclass(frozen=True)
class DPO(_Pairwise):
    """Direct preference optimisation on pairs made from scalar rewards; see `dpo_loss`.

    Args:
        beta: pull to the reference, in 1/nats.
        pairs: ``best_worst``, ``all`` or ``adjacent`` (`pairs_within`); not read when the data have pair_id.

    Raises:
        ConfigError: β ≤ 0; unknown pairing.
    """

    def _loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        return dpo_loss(chosen, rejected, beta=self.beta)


@dataclass(frozen=True)
class IPO(_Pairwise):
    """Identity preference optimisation; see `ipo_loss`. Arguments as of `DPO`.

    Args:
        length_normalize: log-ratios per token, as its authors do (and TRL); with sums the margin grows with length.
    """

    length_normalize: bool = knob(True, "token means of log-probabilities instead of sums")

    @property
    def _per_token(self) -> bool:
        return self.length_normalize

    def _loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        return ipo_loss(chosen, rejected, beta=self.beta)


@dataclass(frozen=True)
class SLiC(_Pairwise):
    """Sequence likelihood calibration, the hinge of `slic_loss`. Arguments as of `DPO`."""

    def _loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        return slic_loss(chosen, rejected, beta=self.beta)
