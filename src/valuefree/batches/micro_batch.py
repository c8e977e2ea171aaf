"""The type of a micro-batch, which the collator makes and the trainer and the objective read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from torch import Tensor

TokenBatch = Mapping[str, Tensor]  # input of `valuefree.models.logprobs.response_logps`


@dataclass(frozen=True)
class MicroBatch:
    """The rows that one process runs at a time: R rows with gradient, and C other rows of their prompts without.

    Attributes:
        row_numbers: numbers of the R rows in the data set.
        counted: number of rows that enter the loss, which are the first of the R rows. The others have weight zero
            and keep the processes synchronised.
        response_tokens: trained response tokens of the counted rows.
        loss_denominator: contribution of the counted rows to the divisor of the loss; see
            `Objective.loss_denominator`.
        batch: tokens of the R rows.
        context: tokens of the C rows, in batches of at most R.
        prompt_of, group_size: prompt of each row, and the number of rows with that prompt in the data set, int64,
            (R + C,).
        rewards: rewards that enter the target, float64, (R + C,).
        reference_logps, values: log π_ref and V̂ of each row, float64, (R + C,); None if not required.
        columns: outputs of `Objective.precompute`, (R + C,) each.
        prompts: tokens of the P distinct prompts, for a value network; None without one.
        prompt_row: index of each row's prompt among the P prompts, int64, (R + C,).
        padding, positions: padding positions and all positions that `batch` sends through the linear layers.
        step_inputs: inputs that are computed once per optimizer step; see `valuefree.training.step_inputs`.
    """

    row_numbers: list[int]
    counted: int
    response_tokens: int
    loss_denominator: float
    batch: TokenBatch
    context: list[TokenBatch]
    prompt_of: Tensor
    group_size: Tensor
    rewards: Tensor
    reference_logps: Tensor | None
    values: Tensor | None
    columns: Mapping[str, Tensor]
    prompts: TokenBatch | None
    prompt_row: Tensor | None
    padding: int
    positions: int
    step_inputs: Mapping[str, Tensor] = field(default_factory=dict)

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> "MicroBatch":
        """The micro-batch with `function` applied to each of its tensors."""
        return replace(self, **{item.name: _mapped(getattr(self, item.name), function) for item in fields(self)})

    def pin_memory(self) -> "MicroBatch":
        """The micro-batch in page-locked memory; a `DataLoader` calls this."""
        return self.map_tensors(Tensor.pin_memory)


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {name: _mapped(item, function) for name, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, function) for item in value]
    return value
