"""From the options of the command line to rows that the model's chat template can render."""

import logging
from typing import Any

import numpy as np

from valuefree.batches.rendering import unrendered
from valuefree.cli.commands import reading
from valuefree.cli.commands.reading import Rows
from valuefree.data.summary import summarize
from valuefree.errors import DataError, number_of
from valuefree.models.load import base_of, load_tokenizer

logger = logging.getLogger(__name__)

REASON = "the chat template cannot render it"


def read(options: Any) -> Rows:
    """The rows, as `reading.read`; with ``on_bad="drop"`` without those that the chat template cannot render.

    Args:
        options: of a verb that reads rows for a model (`DataOptions` and `ModelOptions`).

    Raises:
        DataError: no row is left.
    """
    rows, summary = reading.read(options)
    if options.on_bad != "drop":
        return rows, summary
    name = base_of(options.model) or options.model
    tokenizer = load_tokenizer(name, trust_remote_code=options.trust_remote_code, needs_end=False)
    faults = unrendered(rows, tokenizer)
    if not faults:
        return rows, summary
    first = next(iter(faults.values()))
    if len(faults) == len(rows):
        raise DataError(f"the chat template of {name} can render none of {number_of(len(rows), 'row')}: {first}")
    logger.warning("%s dropped, which the chat template cannot render. %s", number_of(len(faults), "row"), first)
    kept = rows.select(np.setdiff1d(np.arange(len(rows)), list(faults)))
    return kept, summarize(kept, summary.dropped | {REASON: len(faults)})
