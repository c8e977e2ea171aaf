"""Base of the trainers: a `transformers.Trainer` that checks every step, and whose checkpoints are whole."""

import logging
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import rotate_checkpoints

from valuefree.errors import ConfigError, DivergenceError
from valuefree.models.value_network import network_of, save
from valuefree.runs.checkpoints import UNFINISHED, fault_of, newest_whole, seal
from valuefree.runs.files import read_json, write_json
from valuefree.training.distributed import all_gather, all_reduce
from valuefree.training.divergence import MOST_IN_A_ROW, LossMeter, diverged, weights_are_finite

logger = logging.getLogger(__name__)


class CheckedTrainer(Trainer):
    """A `transformers.Trainer` in which nothing is lost and no failure is silent.

    - Loss and gradient norm are checked before every update, on all processes. A step that is not finite stops the run
      or, with ``args.on_divergence == "skip"``, is left out and counted. Weights are checked before they are saved.
    - A checkpoint is written into a folder of another name, gets checksums, and is renamed when every process has
      written. ``resume_from_checkpoint=True`` takes the newest whole one.
    - A checkpoint holds the sums behind the next log line, so that a resumed run logs what an undisturbed one does.

    Attributes:
        meter: losses of the steps, and how many steps were skipped.

    Raises (in `train` and `save_model`):
        DivergenceError: a step or the weights are not finite. The weights are then those before the step.
    """

    # `Trainer` declares these more widely.
    args: Any  # with on_divergence
    model: Any  # PreTrainedModel, or a peft model around one

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.is_deepspeed_enabled and self.args.on_divergence == "skip":
            raise ConfigError("on_divergence skip does not work with DeepSpeed, which updates in the backward pass.")
        self.meter = LossMeter()
        self._step_loss: Tensor | float = 0.0
        self._batches: list[Any] = []
        self._sums_before: dict[str, float] = {}
        self._unfinished = False

    # ------------------------------------------------------------------------------------- what a subclass brings

    def metric_sums(self) -> dict[str, float]:
        """The sums of this process behind the next log line; the object itself, which the trainer may change."""
        raise NotImplementedError

    def prompts_of(self, batch: Any) -> Mapping[int | str, str]:
        """The texts of the prompts in a micro-batch, by their ids."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------------------- steps

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train as `transformers.Trainer` does; True means the newest whole checkpoint in ``args.output_dir``."""
        if resume_from_checkpoint is True:
            checkpoint, faults = newest_whole(Path(self.args.output_dir))
            if checkpoint is None:
                raise ConfigError(f"no whole checkpoint in {self.args.output_dir}: {faults or 'there is none'}.")
            resume_from_checkpoint = str(checkpoint)
        self.meter, self._step_loss = LossMeter(), 0.0
        if resume_from_checkpoint:
            self._resume_sums(Path(resume_from_checkpoint))
        try:
            output = super().train(resume_from_checkpoint, *args, **kwargs)
        except DivergenceError:
            self.is_in_train = False
            self.callback_handler.on_train_end(self.args, self.state, self.control)
            raise
        return output._replace(training_loss=output.metrics["train_loss"])

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The micro-batches of a step; none after the last step, where `transformers.Trainer` would resume with one."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return [], None
        samples, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._batches, self._sums_before = samples, dict(self.metric_sums())
        return samples, count

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward pass of a micro-batch."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._step_loss = self._step_loss + loss
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """The gradient norm; `transformers.Trainer` asks for it once per step, right before the update."""
        norm: Any = super()._get_grad_norm(model, grad_norm=grad_norm)
        size = 0.0 if norm is None else float(norm)  # DeepSpeed may know none
        loss, self._step_loss = float(self._step_loss), 0.0
        # A scaler of float16 meets gradients that are not finite, and skips these steps itself.
        checked = [loss] if self.accelerator.scaler is not None else [loss, size]
        broken = not all(map(math.isfinite, checked))
        if all_reduce([float(broken)], self.args.device, how="max")[0] == 0:
            self.meter.add(loss)
            return norm
        model.zero_grad()  # without gradients an optimizer changes nothing
        self._set_sums(self._sums_before)
        step = self.state.global_step + 1
        if self.args.on_divergence == "skip" and self.meter.in_a_row < MOST_IN_A_ROW:
            self.meter.skip()
            logger.warning("step %d skipped: loss %.4g, gradient norm %.4g", step, loss, size)
            return norm
        found = all_gather({name: text for batch in self._batches for name, text in self.prompts_of(batch).items()})
        prompts = {name: text for part in found for name, text in part.items()}
        raise diverged(step, loss, size, prompts, rate=self._get_learning_rate())

    def _set_sums(self, sums: Mapping[str, float]) -> None:
        own = self.metric_sums()
        own.clear()
        own.update(sums)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the mean loss of the steps that were applied, across a resumption too."""
        device, processes = self.args.device, self.args.world_size
        if "loss" in logs:
            loss = self.meter.mean_since_log(device, processes)
            dropped = {"loss"} | ({"grad_norm"} if self.meter.in_a_row else set())  # of a step that was left out
            logs = {name: value for name, value in logs.items() if name not in dropped}
            logs = ({"loss": loss} if loss is not None else {}) | logs
            logs |= {"skipped_steps": self.meter.skipped} if self.meter.skipped else {}
        if "train_loss" in logs:
            logs["train_loss"] = self.meter.mean(device, processes)  # in place: it is also what `train` returns
        super().log(logs, start_time)

    # ------------------------------------------------------------------------------------------------- checkpoints

    def check_weights(self) -> None:
        """Raise DivergenceError unless all trained weights are finite."""
        if not weights_are_finite(self.model, self.args.device):
            raise DivergenceError(
                f"training diverged: after step {self.state.global_step} some weights are not finite; they are not "
                "saved. Lower --lr."
            )

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model if its weights are finite; a checkpoint also holds the value network, in a separate file."""
        self.check_weights()
        super().save_model(output_dir, _internal_call)
        network = network_of(self.model) if _internal_call else None
        if network is not None:
            weights = network.whole()
            if self.args.should_save:
                save(weights, output_dir or str(self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        network = network_of(self.model)
        if network is not None:
            network.load(resume_from_checkpoint)

    def save_last_good(self) -> Path | None:
        """After a DivergenceError: a checkpoint of the weights before the step; None without a step or finite weights.

        Every process calls this.
        """
        step = self.state.global_step
        if not step or not weights_are_finite(self.model, self.args.device):
            return None
        checkpoint = Path(self._get_output_dir(None)) / f"checkpoint-{step}"
        if not checkpoint.exists():
            self._save_checkpoint(self.model, None)
        return checkpoint

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return str(Path(folder) / UNFINISHED) if self._unfinished else folder

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write the checkpoint under another name, seal it, rename it, and remove the oldest ones."""
        folder = Path(self._get_output_dir(trial))
        name = f"checkpoint-{self.state.global_step}"
        with self._written_apart(folder):
            super()._save_checkpoint(model, trial)
            written, state = folder / UNFINISHED / name, self.state
            rank = self.args.process_index
            write_json(written / f"meter_{rank}.json", {"losses": asdict(self.meter), "sums": self.metric_sums()})
            if state.best_global_step == state.global_step:
                state.best_model_checkpoint = str(folder / name)
            if self.args.should_save:
                state.save_to_json(str(written / TRAINER_STATE_NAME))
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                seal(written)
                if (folder / name).exists():  # a damaged one, which the run did not resume from
                    (folder / name).rename(folder / UNFINISHED / "replaced")
                written.rename(folder / name)
        if self.args.should_save:
            limit, best = self.args.save_total_limit, self.state.best_model_checkpoint
            rotate_checkpoints(str(folder), limit, best, use_mtime=True)
        self.accelerator.wait_for_everyone()

    @contextmanager
    def _written_apart(self, folder: Path) -> Iterator[None]:
        """Within the block, checkpoints go to the folder for unfinished ones, which is empty before and gone after."""
        if self.args.should_save:
            shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self._unfinished = True
        try:
            yield
        finally:
            self._unfinished = False
            if self.args.should_save:
                shutil.rmtree(folder / UNFINISHED, ignore_errors=True)

    def _resume_sums(self, checkpoint: Path) -> None:
        file = checkpoint / f"meter_{self.args.process_index}.json"
        if file.exists():  # not in checkpoints of other trainers, or of fewer processes
            found = read_json(file)
            self.meter = LossMeter(**found["losses"])
            self._set_sums(found["sums"])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load both; intervals and learning rates of these arguments hold where the checkpoint has others."""
        rates = list(getattr(self.lr_scheduler, "base_lrs", []))
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        self.state.compute_steps(self.args, self.state.max_steps)
        schedule: Any = self.lr_scheduler
        if rates and hasattr(schedule, "lr_lambdas"):
            schedule.base_lrs = rates
            factors = [factor(schedule.last_epoch) for factor in schedule.lr_lambdas]
            schedule._last_lr = [rate * factor for rate, factor in zip(rates, factors, strict=True)]
            for group, base, rate in zip(schedule.optimizer.param_groups, rates, schedule._last_lr, strict=True):
                group["initial_lr"], group["lr"] = base, rate

    def _load_best_model(self) -> None:
        best = Path(str(self.state.best_model_checkpoint))
        fault = fault_of(best)
        if fault is not None:
            raise ConfigError(f"the best checkpoint cannot be loaded: {best}: {fault}. Others are in {best.parent}.")
        super()._load_best_model()
