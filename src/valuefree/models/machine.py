"""What this machine has: cores, memory, GPU, and its speed in a matrix product."""

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container, which may have less memory than its host
REPEATS = 4
CPU_SIZE, GPU_SIZE = 1024, 8192  # rows and columns of the product


@dataclass(frozen=True)
class Machine:
    """The machine. Memory in bytes, of the GPU if there is one.

    memory: that could be used now. speed: FLOP/s of a matrix product, in bfloat16 on a GPU and float32 on a CPU.
    """

    cores: int
    ram: int
    gpu: str | None
    memory: int
    speed: float

    def __str__(self) -> str:
        where = f"GPU {self.gpu}, " if self.gpu else "no GPU, "
        return (
            f"{self.cores} cores, {self.ram / 1e9:.1f} GB of RAM, {where}{self.memory / 1e9:.1f} GB free; "
            f"{self.speed / 1e12:.3g} TFLOP/s measured"
        )

    def to_dict(self) -> dict[str, Any]:
        """All values."""
        return asdict(self)


def measure_machine() -> Machine:
    """Measure this machine; takes about a second."""
    ram = psutil.virtual_memory()
    total, free = ram.total, ram.available
    if CGROUP_LIMIT.exists() and (limit := CGROUP_LIMIT.read_text().strip()).isdigit():
        total, free = min(total, int(limit)), min(free, int(limit))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not torch.cuda.is_available():
        return Machine(cores, total, None, free, _speed(torch.device("cpu"), CPU_SIZE, torch.float32))
    speed = _speed(torch.device("cuda"), GPU_SIZE, torch.bfloat16)
    return Machine(cores, total, torch.cuda.get_device_name(), torch.cuda.mem_get_info()[0], speed)


def _speed(device: torch.device, size: int, dtype: torch.dtype) -> float:
    """FLOP/s of the fastest of a few products of two square matrices."""
    matrix = torch.ones(size, size, device=device, dtype=dtype)
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        product = matrix @ matrix
        float(product[0, 0])  # waits for the GPU
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
