"""Rows of a cell as they are stored, and read again. No torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from valuefree.evaluation.held_out.rows import LoggedRows

SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # strengths at which a policy is measured


def logged_columns(rows: LoggedRows) -> dict[str, list[float]]:
    """The columns of rows as lists; log-ratios rounded to 1e-5 nats."""
    return {
        "logratios": np.round(rows.logratios, 5).tolist(),
        "rewards": rows.rewards.tolist(),
        "prompt_of": rows.prompt_of.tolist(),
        "lengths": np.asarray(rows.lengths, dtype=np.int64).tolist(),
    }


def logged_rows(columns: Mapping[str, Any]) -> LoggedRows:
    """The rows that `logged_columns` stored."""
    return LoggedRows(
        logratios=np.asarray(columns["logratios"], dtype=np.float64),
        rewards=np.asarray(columns["rewards"], dtype=np.float64),
        prompt_of=np.asarray(columns["prompt_of"], dtype=np.int64),
        lengths=np.asarray(columns["lengths"], dtype=np.int64),
    )
