"""The strength of a fine-tuned policy: its adapter scaled, or its weights interpolated between reference and policy.

Strength 0 is the reference and 1 the policy as trained (Wortsman et al., 2022, Robust Fine-Tuning of Zero-Shot Models,
arXiv 2109.01903).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from valuefree.errors import ConfigError
from valuefree.models.adapters import check_reference, has_adapter


class Strength(ABC):
    """How far a policy is moved from its reference."""

    @contextmanager
    def at(self, scale: float) -> Iterator[None]:
        """Context in which the policy has this strength; afterwards it is as before, to the last bit."""
        before = self._state()
        self._set(scale)
        try:
            yield
        finally:
            self._restore(before)

    def apply(self, scale: float) -> None:
        """Give the policy this strength, relative to its present one, also in what is saved of it.

        Raises:
            ConfigError: not a positive, finite number.
        """
        if not (scale > 0 and math.isfinite(scale)):
            raise ConfigError(f"the scale is {scale!r}; expected a positive number: 1 is the policy as trained.")
        self._set(scale)

    @abstractmethod
    def _state(self) -> Any:
        """What `_restore` needs."""

    @abstractmethod
    def _set(self, scale: float) -> None:
        """Multiply the distance from the reference by `scale`."""

    @abstractmethod
    def _restore(self, state: Any) -> None:
        """Undo `_set`."""


class AdapterStrength(Strength):
    """Of a peft model with a LoRA adapter: the factor on the product of its two matrices.

    `apply` also multiplies ``lora_alpha`` in the adapter's configuration. So the saved adapter has the strength in any
    program that loads it.
    """

    def __init__(self, policy: Any):
        configs = dict(policy.peft_config)
        for name, config in configs.items():
            trained = getattr(config, "modules_to_save", None) or getattr(config, "bias", "none") not in ("none", None)
            if not hasattr(config, "lora_alpha") or trained:
                raise ConfigError(
                    f"adapter {name!r} ({type(config).__name__}) cannot be scaled: only LoRA can, and "
                    "without modules_to_save and trained biases, because the factor must move all that was trained."
                )
        self._policy, self._configs = policy, configs

    def _layers(self) -> list[Any]:
        return [module for module in self._policy.modules() if isinstance(getattr(module, "scaling", None), dict)]

    def _state(self) -> list[tuple[Any, dict[str, float]]]:
        return [(layer, dict(layer.scaling)) for layer in self._layers()]

    def _set(self, scale: float) -> None:
        for layer in self._layers():
            layer.scaling = {name: factor * scale for name, factor in layer.scaling.items()}

    def _restore(self, state: list[tuple[Any, dict[str, float]]]) -> None:
        for layer, factors in state:
            layer.scaling = factors

    def apply(self, scale: float) -> None:
        """Give the policy this strength, and write it into the adapter's configuration."""
        super().apply(scale)
        for config in self._configs.values():
            config.lora_alpha *= scale
            config.alpha_pattern = {name: alpha * scale for name, alpha in (config.alpha_pattern or {}).items()}


class WeightStrength(Strength):
    """Of a policy whose weights were all trained: reference + scale · (policy − reference), weight by weight.

    The difference is kept in memory, as large as the model.
    """

    def __init__(self, policy: nn.Module, reference: nn.Module):
        check_reference(policy, reference)
        origin = dict(reference.named_parameters())
        self._moved: list[tuple[Tensor, Tensor, Tensor]] = []
        for name, weight in policy.named_parameters():
            if name not in origin or origin[name].shape != weight.shape:
                raise ConfigError(f"the reference has no weight {name} of shape {tuple(weight.shape)}; give the model "
                                  "that the policy was trained from.")  # fmt: skip
            start = origin[name].detach().to(weight.device)
            self._moved.append((weight, start, weight.detach() - start))

    def _state(self) -> list[Tensor]:
        return [weight.detach().clone() for weight, _, _ in self._moved]

    def _set(self, scale: float) -> None:
        with torch.no_grad():
            for weight, start, difference in self._moved:
                weight.copy_(start + scale * difference)

    def _restore(self, state: list[Tensor]) -> None:
        with torch.no_grad():
            for (weight, _, _), before in zip(self._moved, state, strict=True):
                weight.copy_(before)


def strength_of(policy: nn.Module, reference: nn.Module | None = None) -> Strength:
    """The strength of `policy`.

    Args:
        policy: a peft model with LoRA, or a model of which all weights were trained.
        reference: the model that the policy was trained from; not read for an adapter.

    Raises:
        ConfigError: an adapter that has no factor; neither an adapter nor a reference; weights that do not match.
    """
    if has_adapter(policy):
        return AdapterStrength(policy)
    if reference is None:
        raise ConfigError("the policy has no adapter; give its reference, the model that it was trained from.")
    return WeightStrength(policy, reference)
