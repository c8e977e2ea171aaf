"""What a command prints and where: its result on stdout, progress on stderr, bars on a terminal only; no torch."""

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuefree.cli.options.groups import Options, ResultOptions
from valuefree.runs.manifest import launched

# Libraries whose notes on their own future are about code that the user of a command has not written.
LIBRARIES = ("transformers", "torch", "peft", "accelerate", "datasets", "huggingface_hub")


@dataclass(frozen=True)
class Result:
    """What a command ends in: lines for people, the same as values for ``--json``, and the exit code."""

    summary: str
    values: dict[str, Any]
    exit_code: int = 0


def ignore_library_warnings() -> None:
    """Ignore FutureWarning and DeprecationWarning of `LIBRARIES`; other warnings stay."""
    modules = rf"({'|'.join(LIBRARIES)})(\.|$)"
    for category in (FutureWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category, module=modules)


def bars() -> bool:
    """Whether to show progress bars: stderr is a terminal, and the command is not quiet."""
    return sys.stderr.isatty() and logging.getLogger("valuefree").isEnabledFor(logging.INFO)


def carry_out(load: Callable[[], Callable[[Any], Result | None]], options: Options) -> None:
    """Load a command, run it, and print its result: a summary, or with ``--json`` one JSON object.

    A result with an exit code ends the process with it. With ``--json`` everything else that the command prints goes to
    stderr; with ``--quiet`` to nowhere.
    """
    # tqdm takes a quarter of the time of `valuefree --help` to import, and only commands need it.
    from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415

    shared = options if isinstance(options, ResultOptions) else ResultOptions()
    to_stderr = shared.json and launched()[0] == 0  # the other processes of a launcher print nothing
    with _only_errors() if shared.quiet else nullcontext(), logging_redirect_tqdm():
        if not bars():  # read by datasets and transformers when they are imported
            os.environ |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        with _nowhere() if shared.quiet else redirect_stdout(sys.stderr) if to_stderr else nullcontext():
            result = load()(options)
    if result is not None:
        print(json.dumps(result.values, ensure_ascii=False) if shared.json else result.summary)
        if result.exit_code:
            sys.exit(result.exit_code)


@contextmanager
def _only_errors() -> Iterator[None]:
    """The package logs nothing below an error."""
    logger = logging.getLogger("valuefree")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _nowhere() -> Iterator[None]:
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield
