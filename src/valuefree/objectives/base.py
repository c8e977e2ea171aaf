"""What an objective is: a pure function of tensors, and a frozen dataclass that binds its knobs."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, cast

from torch import Tensor

from valuefree.errors import ConfigError


def check_same_shape(**tensors: Tensor) -> None:
    """Raise ValueError unless all have the same one-dimensional shape; broadcasting would hide an index error."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected one value per response, all of the same shape (R,); got {listed}.")


STANDARDIZED = "standard deviations of the reward, unless standardize_rewards is off"  # unit of an objective's tau


def check_positive(unit: str, **knobs: float) -> None:
    """Raise ConfigError unless every knob is a positive number that float32 holds, as does its inverse."""
    for name, value in knobs.items():
        if not 1e-30 <= value <= 1e30:
            raise ConfigError(f"{name} is {value!r}; expected a positive number, in {unit}, from 1e-30 to 1e30.")


@dataclass(frozen=True)
class TrainingRows:
    """A whole data set, one value per response (R), as an objective may look at it before training.

    rewards: as they enter the target, float64. raw_rewards: as in the data. prompt_of: int64, prompts 0 … P−1. columns:
    what the data have of the objective's own `columns`. reference_rewards, reference_prompt_of: rewards of scored
    samples of the reference (S), if there are any.
    """

    rewards: Tensor
    raw_rewards: Tensor
    prompt_of: Tensor
    columns: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    reference_rewards: Tensor | None = None
    reference_prompt_of: Tensor | None = None


@dataclass(frozen=True)
class ObjectiveInputs:
    """One micro-batch, one value per response (R). What an objective does not require may be None.

    policy_logps, reference_logps: sums of token log-probabilities, in nats. tokens: response tokens. rewards: as they
    enter the target. values: V̂ of each row's prompt. value_outputs: outputs of the value network for each row's prompt,
    with gradient. prompt_of: which rows share a prompt. group_size: rows of that prompt in the whole training set.
    columns: what `Objective.precompute` gave for these rows. step_inputs: tensors that are computed once per optimizer
    step, by their name in `Objective.requires`; ``kl_estimate`` is the mean log-ratio, in nats, of the policy on
    mismatched pairs of the whole step, shape ().
    """

    policy_logps: Tensor
    tokens: Tensor
    rewards: Tensor
    prompt_of: Tensor
    group_size: Tensor
    reference_logps: Tensor | None = None
    values: Tensor | None = None
    value_outputs: Tensor | None = None
    step_inputs: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    columns: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def require(self, name: str) -> Tensor:
        """The field or step input `name`, which the objective requires.

        Raises:
            ConfigError: it is not there.
        """
        value = getattr(self, name, None) if name not in self.step_inputs else self.step_inputs[name]
        if value is None:
            raise ConfigError(f"this objective needs {name}; the trainer provides it to those that require it.")
        return value

    def logratios(self, *, per_token: bool = False) -> Tensor:
        """ρ = log π_θ − log π_ref, in nats, shape (R,); divided by the response tokens if `per_token`."""
        rho = self.policy_logps - self.require("reference_logps")
        return rho / self.tokens if per_token else rho


@dataclass(frozen=True)
class ObjectiveOutput:
    """`losses`, one per response; `metrics`, one value per response each, to be averaged over responses and logged."""

    losses: Tensor
    metrics: dict[str, Tensor]


class Objective(ABC):
    """An objective; subclasses are frozen dataclasses.

    Attributes:
        requires: names of what the trainer must provide: ``reference_logps`` (log π_ref of every row), ``values`` (V̂ of
            the partition that `partition` describes), ``value_outputs`` (of a value network), ``groups`` (a prompt's
            rows together), or a step input such as ``kl_estimate`` (see `valuefree.training.step_inputs`).
        loss_denominator: what divides the sum of the losses of the global batch: ``responses``, response ``tokens``, or
            the sum of one of the columns of `precompute`.
        columns: columns of the data that the objective reads where they exist.
    """

    loss_denominator: ClassVar[str] = "responses"
    columns: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def requires(self) -> frozenset[str]:
        """What the trainer must provide."""

    @abstractmethod
    def __call__(self, inputs: ObjectiveInputs) -> ObjectiveOutput:
        """Losses per response."""

    def partition(self) -> dict[str, Any] | None:
        """Fields of `valuefree.partition.PartitionSettings`, or None when no V̂ is needed."""
        return None

    def value_network(self) -> dict[str, Any] | None:
        """Keywords of `valuefree.models.value_network.ValueNetwork`, or None when none is needed."""
        return None

    def learning_rates(self, lr: float) -> dict[str, float]:
        """Learning rates of ``policy`` and ``value`` parameters, given that of the training arguments."""
        return {"policy": lr, "value": lr}

    def temperature(self) -> float | None:
        """τ, once `resolve`d, if the optimum is the reference times e^{r/τ}; None if it is not.

        In the unit of the rewards that the trainer sees.
        """
        return None

    def resolve(self, rows: TrainingRows) -> "Objective":
        """The objective with what it leaves to the data decided; by default itself."""
        return self

    def select(self, rows: TrainingRows) -> Tensor | None:
        """Which rows to train on, bool of shape (R,); None for all."""
        return None

    def selection(self, rows: TrainingRows, kept: Tensor) -> str:
        """What `select` has kept, for the log."""
        return f"{int(kept.sum())} of {len(kept)} rows"

    def precompute(self, rows: TrainingRows) -> dict[str, Tensor]:
        """Further values per row (R,), computed once over the selected rows; they come back as `inputs.columns`."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Name and knobs, for the manifest; infinities as text."""
        knobs = {f.name: getattr(self, f.name) for f in fields(cast("Any", self))}
        return {"name": type(self).__name__} | {k: "inf" if v == math.inf else v for k, v in knobs.items()}
