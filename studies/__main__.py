"""python -m studies exact|small|paper|frontier|learned|memorisation|real: run what it lacks, then write its page."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109  pathlib would import more modules
    sys.path.append(sys.path.pop(0))  # `studies` may be there, and nothing there shadows another module

from collections.abc import Sequence
from importlib import import_module

from studies.options import (
    StudyExactConfig,
    StudyFrontierConfig,
    StudyLearnedConfig,
    StudyMemorisationConfig,
    StudyPaperConfig,
    StudyRealConfig,
    StudySmallConfig,
)
from valuefree.cli.main import exit_with_message
from valuefree.cli.options import Options
from valuefree.cli.parse import parse_options, unknown

# The module studies.NAME.run carries out the study NAME.
STUDIES: dict[str, type[Options]] = {
    "exact": StudyExactConfig,
    "small": StudySmallConfig,
    "paper": StudyPaperConfig,
    "frontier": StudyFrontierConfig,
    "learned": StudyLearnedConfig,
    "memorisation": StudyMemorisationConfig,
    "real": StudyRealConfig,
}


def _say(text: str) -> None:
    print(text, flush=True)


def run(arguments: Sequence[str]) -> None:
    """Carry out a command line; raises `valuefree.errors.ValueFreeError` on any fault of the user's."""
    if not arguments or arguments[0] in ("-h", "--help"):
        listed = "\n".join(f"  {name:<12} {options.about}" for name, options in STUDIES.items())
        print(f"usage: python -m studies {{{','.join(STUDIES)}}} [options]\n\n{listed}")
        return
    name, *rest = arguments
    if name not in STUDIES:
        raise unknown("study", name, list(STUDIES))
    options = parse_options(f"python -m studies {name}", STUDIES[name], rest)
    result = import_module(f"studies.{name}.run").study(options, say=_say)  # imports torch only when needed
    if result is None:  # after a dry run
        return
    print(f"runs: {result.rows}, of which failed: {result.failed}")
    if result.said:
        print(*result.said, sep="\n")
    if result.page is not None:
        print(f"page: {result.page}")


if __name__ == "__main__":
    exit_with_message(lambda: run(sys.argv[1:]), name="studies")
