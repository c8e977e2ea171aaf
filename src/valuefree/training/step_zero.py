"""Rounding error of the log-ratio before training, where it is zero in exact arithmetic."""

import torch

from valuefree.errors import ConfigError
from valuefree.training.trainer import PolicyTrainer


def step_zero_noise(trainer: PolicyTrainer, batches: int = 2) -> dict[str, float]:
    """Largest |ρ| before training, in nats, over some micro-batches, and largest |log π|: the rounding error."""
    worst, scale = 0.0, 0.0
    dataset = trainer.train_dataset
    for _, inputs in zip(range(batches), trainer.get_train_dataloader(), strict=False):
        if dataset.step_inputs:
            (inputs,) = trainer._with_step_inputs(trainer.model, [inputs], dataset, 0)
        with torch.no_grad(), trainer.compute_loss_context_manager():
            given, _ = trainer._apply(trainer.model, trainer._prepare_inputs(inputs))
        if given.reference_logps is None:
            raise ConfigError(f"{type(trainer.objective).__name__} has no reference to compare with.")
        worst = max(worst, float((given.policy_logps - given.reference_logps).abs().max()))
        scale = max(scale, float(given.policy_logps.abs().max()))
    return {"rho_max": worst, "logp_max": scale}
