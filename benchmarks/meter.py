"""Measurements of one side between start and stop: seconds, memory, and the input shapes of its models."""

import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainerCallback

from benchmarks.bounds import Call, Shape, flops, forward
from benchmarks.rows import PAD
from valuefree.models import logprobs
from valuefree.models.packed_attention import PackedRows


class Recorder:
    """Records the input shapes of the stacks and the head of models by hooks, while `on`.

    Calls within a backward pass are not recorded, since they compute something for the second time.
    """

    def __init__(self, *models: Any):
        self.calls: list[Call] = []
        self.on = False
        for model in models:
            if model.config.is_encoder_decoder:
                for stack, name in ((model.get_encoder(), "encoder"), (model.get_decoder(), "decoder")):
                    self._watch(stack, name)
                    # Packed rows bypass the stack and go directly to its layers.
                    self._watch(stack.block[0], f"packed {name}")
            else:
                self._watch(getattr(model, model.base_model_prefix), "causal")
            model.get_output_embeddings().register_forward_pre_hook(lambda _, args: self.saw_head(args[0]))
        self._watch_linear_logps()

    def _watch(self, stack: nn.Module, name: str) -> None:
        stack.register_forward_pre_hook(lambda _, args, named: self._saw(name, args, named), with_kwargs=True)

    def _watch_linear_logps(self) -> None:
        """Record calls of `linear_logps`, which uses the head's weight without calling the head's module."""
        original = logprobs.linear_logps

        def watched(hidden: Tensor, *rest: Any) -> Tensor:
            self.saw_head(hidden)
            return original(hidden, *rest)

        logprobs.linear_logps = watched

    def _note(self, call: Call) -> None:
        if self.on and torch._C._current_graph_task_id() == -1:
            self.calls.append(call)

    def _saw(self, stack: str, args: tuple, named: dict[str, Any]) -> None:
        packed = named.get("packed_rows")
        if packed is not None:
            self._saw_packed(stack.removeprefix("packed "), packed, args)
        elif not stack.startswith("packed"):
            self._saw_rows(stack, args, named)

    def _saw_packed(self, stack: str, packed: PackedRows, args: tuple) -> None:
        """Record packed rows: one row without padding in the linear layers, ordinary rows in attention."""
        tokens = len(packed.pack)
        attended = [sum(rows * width**2 for rows, width in packed.blocks)]
        source = (0, 0)
        if packed.key_blocks is not None:
            both = zip(packed.blocks, packed.key_blocks, strict=True)
            attended.append(sum(rows * width * keys for (rows, width), (_, keys) in both))
            source = args[3].shape[:2]
        self._note(Call(stack, 1, tokens, torch.is_grad_enabled(), tokens, *source, tuple(attended)))

    def _saw_rows(self, stack: str, args: tuple, named: dict[str, Any]) -> None:
        ids: Tensor = named["input_ids"] if named.get("input_ids") is not None else args[0]
        rows, width = ids.shape
        real = int((ids != PAD).sum())
        if stack != "decoder":
            self._note(Call(stack, rows, width, torch.is_grad_enabled(), real))
            return
        source = named["encoder_hidden_states"]
        # The first input token of each decoder row is the padding token but is not padding.
        self._note(Call(stack, rows, width, torch.is_grad_enabled(), real + rows, *source.shape[:2]))

    def saw_head(self, hidden: Tensor) -> None:
        """Record that the head runs on `hidden`, shape (…, d)."""
        positions = hidden.numel() // hidden.shape[-1]
        last = self.calls[-1] if self.calls else None
        if self.on and last is not None and last.stack == "head" and last.grad == torch.is_grad_enabled():
            if torch._C._current_graph_task_id() == -1:
                self.calls[-1] = Call("head", last.rows + positions, 1, last.grad)
            return
        self._note(Call("head", positions, 1, torch.is_grad_enabled()))


def padding_share(calls: list[Call]) -> float:
    """Share of padding among the positions that enter the stacks."""
    fed = sum(call.rows * call.width for call in calls if call.stack != "head")
    return 1 - sum(call.real for call in calls) / fed if fed else 0.0


def peak_mb() -> float:
    """Peak resident size of this process in MB (VmHWM; ru_maxrss would include the parent's size before exec)."""
    return _status("VmHWM")


def resident_mb() -> float:
    """Current resident size in MB."""
    return _status("VmRSS")


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {name}; memory is measured on Linux only.")


class Meter:
    """Time, memory and recorded calls of one side; an optional profiler runs from start to stop, too."""

    def __init__(self, shape: Shape, *models: PreTrainedModel, profiler: Any = None):
        self.shape, self.profiler = shape, profiler
        self.recorder = Recorder(*models)
        self.seconds = self.before_mb = self.peak_before_mb = 0.0

    def start(self) -> None:
        """Start measuring."""
        self.before_mb, self.peak_before_mb = resident_mb(), peak_mb()
        if self.profiler is not None:
            self.profiler.start()
        self.recorder.on = True
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Stop measuring."""
        self.seconds += time.perf_counter() - self._since
        self.recorder.on = False
        if self.profiler is not None:
            self.profiler.stop()

    def measured(self, responses: int) -> dict[str, Any]:
        """All measurements: seconds, MB, floating-point operations, calls."""
        calls = self.recorder.calls
        heads = [call for call in calls if call.stack == "head"]
        return {
            "responses": responses,
            "seconds": self.seconds,
            "responses_per_second": responses / self.seconds,
            "flops": flops(self.shape, calls),
            "padding_share": padding_share(calls),
            "head_positions": sum(call.rows for call in heads),
            "head_flops": flops(self.shape, heads),
            "head_forward_flops": sum(forward(self.shape, call) for call in heads),
            "resident_before_mb": self.before_mb,
            "peak_before_mb": self.peak_before_mb,
            "peak_mb": peak_mb(),
            "threads": torch.get_num_threads(),
            "calls": [astuple(call) for call in calls],
        }


class MeterCallback(TrainerCallback):
    """Starts and stops a meter with the training loop."""

    def __init__(self, meter: Meter):
        self.meter = meter

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the meter before the first step."""
        self.meter.start()

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop the meter after the last step."""
        self.meter.stop()
