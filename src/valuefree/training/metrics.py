"""Metrics that training logs: those of the objective, correlation of reward and log-ratio, speed, memory."""

import resource
import time
from collections.abc import Mapping
from typing import Any

import torch

from valuefree.batches.micro_batch import MicroBatch
from valuefree.objectives.base import ObjectiveInputs, ObjectiveOutput
from valuefree.partition import PartitionReport
from valuefree.training.distributed import all_reduce


def reduced(sums: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Sum over all processes of each number. Every process passes the same names."""
    names = sorted(sums)
    return dict(zip(names, all_reduce([sums[name] for name in names], device), strict=True))


class TrainingMetrics:
    """Sums over micro-batches since the last summary."""

    def __init__(self, device: torch.device):
        self.device = device
        self.restart()

    def restart(self) -> None:
        """Clear the sums, and measure throughput from now on."""
        self.sums: dict[str, float] = {}
        self._since = time.perf_counter()

    def add(self, output: ObjectiveOutput, batch: MicroBatch, given: ObjectiveInputs | None = None) -> None:
        """Add the counted rows of a micro-batch; `given` adds to the correlation of log-ratio and reward."""
        counted = batch.counted
        values = {"loss": output.losses, **output.metrics}
        sums: dict[str, Any] = {f"mean/{name}": value[:counted].detach().sum() for name, value in values.items()}
        sums["squared_loss"] = output.losses[:counted].detach().square().sum()
        sums |= {"responses": counted, "tokens": batch.response_tokens, "denominator": batch.loss_denominator}
        sums |= {"padding": batch.padding, "positions": batch.positions}
        if given is not None and given.reference_logps is not None:
            x = given.logratios()[:counted].detach()
            y = given.rewards[:counted]
            sums |= {"x": x.sum(), "y": y.sum(), "xx": (x * x).sum(), "yy": (y * y).sum(), "xy": (x * y).sum()}
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)

    def means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Means over all processes, the loss divided as in training, and the sums behind them."""
        total = reduced(self.sums, self.device)
        means = {name.removeprefix("mean/"): total[name] / total["responses"] for name in total if "mean/" in name}
        return means | {"loss": total["mean/loss"] / (total["denominator"] or 1.0)}, total

    def summary(self, report: PartitionReport | None) -> dict[str, float]:
        """The metrics of a log line, without the loss; clears the sums."""
        means, total = self.means()
        del means["loss"]  # transformers logs it
        seconds, n = time.perf_counter() - self._since, total["responses"]
        self.restart()
        spread = max(total["squared_loss"] - total["mean/loss"] ** 2 / n, 0.0)
        means["loss_standard_error"] = (spread * n / max(n - 1, 1)) ** 0.5 / (total["denominator"] or 1.0)
        if "xy" in total:
            spread = (total["xx"] - total["x"] ** 2 / n) * (total["yy"] - total["y"] ** 2 / n)
            together = total["xy"] - total["x"] * total["y"] / n
            means["logratio_reward_correlation"] = together / spread**0.5 if spread > 0 else 0.0
        if report is not None:
            quantiles = report.target_quantiles
            means |= {f"target_p{q * 100:02.0f}": quantiles[q] for q in (0.05, 0.5, 0.95)}
        means["padding_share"] = total["padding"] / total["positions"]
        speed = {"responses_per_second": n / seconds, "tokens_per_second": total["tokens"] / seconds}
        return {**means, **speed, "peak_memory_gb": _peak_memory() / 2**30}


def _peak_memory() -> int:
    """Peak memory in bytes: allocated on the GPU, or resident in the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
