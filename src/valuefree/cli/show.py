"""What several verbs print: tables, settings, a policy beside its reference."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from valuefree.data.prompts import as_text
from valuefree.report.gains import evaluation_rows, on_which_prompts
from valuefree.report.held_out import strength_sentences


def table(title: str, rows: Sequence[tuple[str, ...]], header: Sequence[str] = ()) -> None:
    """Print a table; without a header its two columns have no names."""
    print(table_text(title, rows, header))


def table_text(title: str, rows: Sequence[tuple[str, ...]], header: Sequence[str] = ()) -> str:
    """A table as text, as wide as the terminal."""
    grid = Table(title=title, title_justify="left", show_header=bool(header))
    for name in header or ("", ""):
        grid.add_column(name)
    for row in rows:
        grid.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 110)
    with console.capture() as captured:
        console.print(grid)
    return captured.get().rstrip("\n")


def settings(options: Any, *found: str) -> None:
    """Print the options that differ from their defaults, as in a recipe; then what was found, one line each."""
    given = {name: value for name, value in options.given().items() if name != "dry_run"}
    head = "settings; all others are at their defaults (--help)"
    lines = [f"  {name}: {' '.join(value) if isinstance(value, tuple) else value}" for name, value in given.items()]
    print("\n".join([f"{head}:" if lines else head, *lines, *found]))


def assessment(found: Any) -> None:
    """Print what the held-out rows say of a trained policy."""
    said = [*found.learned.sentences(), *strength_sentences(found.to_dict())]
    print("\n".join([*said, found.origin] if found.origin else said))


def closing(title: str, findings: Sequence[str], **lists: Mapping[str, str]) -> str:
    """The last lines of a command: findings under a title, then lists of files or commands with what each is for."""
    lines = [f"\n{title}", *(f"  - {finding}" for finding in findings)] if findings else []
    for head, entries in lists.items():
        width = max(map(len, entries))
        lines += [f"\n{head}", *(f"  {name:<{width}}  {text}" for name, text in entries.items())]
    return "\n".join(lines)


def evaluation(found: Any) -> None:
    """Print what a policy gained over its reference, and some of the responses of both."""
    report = found.to_dict()
    table(f"{on_which_prompts(report)} (95 % intervals over prompts)", evaluation_rows(report))
    for sample in found.samples:
        print(f"\nprompt     {as_text(sample['prompt'])}")
        for who in ("reference", "policy"):
            print(f"{who:<10} [{sample[f'{who}_reward']:.3f}] {sample[who]}")
