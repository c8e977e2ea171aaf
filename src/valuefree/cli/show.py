"""What several verbs print: tables, settings, a policy beside its reference."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from valuefree.data.prompts import as_text
from valuefree.report.gains import evaluation_rows, on_which_prompts, verdict
from valuefree.report.held_out import strength_sentences


def table(title: str, rows: Sequence[tuple[str, ...]], header: Sequence[str] = ()) -> None:
    """Print a table; without a header its two columns have no names."""
    grid = Table(title=title, title_justify="left", show_header=bool(header))
    for name in header or ("", ""):
        grid.add_column(name)
    for row in rows:
        grid.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 110).print(grid)


def settings(options: Any) -> None:
    """Print all options with their values, as JSON."""
    print(json.dumps(options.to_dict(), indent=2, ensure_ascii=False))


def assessment(found: Any) -> None:
    """Print what the held-out rows say of a trained policy."""
    said = [*found.learned.sentences(), *strength_sentences(found.to_dict())]
    print("\n".join([*said, found.origin] if found.origin else said))


def evaluation(found: Any) -> None:
    """Print what a policy gained over its reference, and some of the responses of both."""
    report = found.to_dict()
    table(f"{on_which_prompts(report)} (95 % intervals over prompts)", evaluation_rows(report))
    print(verdict(report))
    for sample in found.samples:
        print(f"\nprompt     {as_text(sample['prompt'])}")
        for who in ("reference", "policy"):
            print(f"{who:<10} [{sample[f'{who}_reward']:.3f}] {sample[who]}")
