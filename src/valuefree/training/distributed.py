"""Collective operations over the processes of a run; no-ops in a single process."""

from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

Value = TypeVar("Value")


def rank_and_size() -> tuple[int, int]:
    """Rank of this process, and the number of processes."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def all_gather(value: Value) -> list[Value]:
    """The value of every process, by rank; any object that can be pickled."""
    _, size = rank_and_size()
    if size == 1:
        return [value]
    gathered: list[Any] = [None] * size
    dist.all_gather_object(gathered, value)
    return gathered


def broadcast(value: Value) -> Value:
    """The value of the first process."""
    _, size = rank_and_size()
    if size == 1:
        return value
    shared: list[Any] = [value]
    dist.broadcast_object_list(shared, src=0)
    return shared[0]


def all_reduce(values: list[float], device: torch.device, *, how: str = "sum") -> list[float]:
    """Sum (or ``max``) of each number over processes, in float64 where the device supports it."""
    _, size = rank_and_size()
    if size == 1:
        return values
    dtype = torch.float32 if device.type == "mps" else torch.float64
    tensor: Tensor = torch.tensor(values, dtype=dtype, device=device)
    dist.all_reduce(tensor, dist.ReduceOp.MAX if how == "max" else dist.ReduceOp.SUM)
    return tensor.tolist()


def missing_calls(done: int, device: torch.device) -> int:
    """How many more forward passes another process makes. Each is a collective call, which every process must join."""
    return int(all_reduce([float(done)], device, how="max")[0]) - done
