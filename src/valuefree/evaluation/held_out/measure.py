"""What a policy has learned, from held-out rows of a feedback log."""

from valuefree.evaluation.held_out.learned import Gain, Learned, Needed
from valuefree.evaluation.held_out.rows import LoggedRows

__all__ = ["Gain", "Learned", "Needed", "measure"]


def measure(
    rows: LoggedRows,
    *,
    train: LoggedRows | None = None,
    tau: float | None = None,
    sampled: str | None = None,
    seed: int = 0,
) -> Learned:
    """Measure what a policy has learned on held-out `rows`."""
    raise NotImplementedError
