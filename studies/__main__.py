"""python -m studies exact|small|paper|frontier: run what the study lacks, then write its page."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from studies.options import StudyExactConfig, StudyFrontierConfig, StudyPaperConfig, StudySmallConfig
from valuefree.cli.main import exit_with_message
from valuefree.cli.options import Options
from valuefree.cli.parse import parse_options, unknown


def _say(text: str) -> None:
    print(text, flush=True)


def exact(options: StudyExactConfig) -> None:
    """Run the study of the exact world and say where its page is."""
    from studies.exact import run

    result = run.study(options, say=_say)
    if result is not None:
        print(f"rows: {result.rows}, of which without a result: {result.failed}\npage: {result.page}")


def small(options: StudySmallConfig) -> None:
    """Run the study of tiny language models and say where its page is."""
    from studies.small import run

    result = run.study(options, say=_say)
    if result is not None:
        print(f"rows: {result.rows}, of which failed: {result.failed}\npage: {result.page}")


def paper(options: StudyPaperConfig) -> None:
    """Run the paper's experiments and say where their report is."""
    from studies.paper import run

    result = run.study(options, say=_say)
    if result is not None:
        print(f"runs: {result.rows}, of which failed: {result.failed}\nreport: {result.report}")
        print(*([f"page: {result.page}"] if result.page else []), *result.findings, sep="\n")


def frontier(options: StudyFrontierConfig) -> None:
    """Run objectives as shipped on the demo's task and say where the page is."""
    from studies.frontier import run

    print(f"page: {run.study(options, say=_say)}")


STUDIES: dict[str, tuple[type[Options], Callable[[Any], None]]] = {
    "exact": (StudyExactConfig, exact),
    "small": (StudySmallConfig, small),
    "paper": (StudyPaperConfig, paper),
    "frontier": (StudyFrontierConfig, frontier),
}


def run(arguments: Sequence[str]) -> None:
    """Carry out a command line; raises `valuefree.errors.ValueFreeError` on any fault of the user's."""
    if not arguments or arguments[0] in ("-h", "--help"):
        listed = "\n".join(f"  {name:<10} {options.about}" for name, (options, _) in STUDIES.items())
        print(f"usage: python -m studies {{{','.join(STUDIES)}}} [options]\n\n{listed}")
        return
    name, *rest = arguments
    if name not in STUDIES:
        raise unknown("study", name, list(STUDIES))
    options, study = STUDIES[name]
    study(parse_options(f"python -m studies {name}", options, rest))


if __name__ == "__main__":
    exit_with_message(lambda: run(sys.argv[1:]), name="studies")
