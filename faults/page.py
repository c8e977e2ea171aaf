"""The Markdown page made from stored outcomes: origin of each kind, tries by fault and end, bad tries."""

from collections import Counter
from collections.abc import Sequence

from faults.outcome import table_of
from faults.storage import Stored
from valuefree.report.markdown import escape, markdown_table
from valuefree.report.model import Table

INTRODUCTION = """# Reliability: faults made on purpose, and how each ended

This page is written by `make faults`. The command kills running commands, damages checkpoints and input files, fills
disks, starts two runs in one folder, and trains with learning rates that diverge. The first table says for each kind of
fault how it was run, the second counts how the tries ended, and every bad try is listed. A try is bad if something was
lost, if something changed without a message, or if the user saw a traceback.

To repeat one kind with another seed, run `python -m faults --only KIND --seed S --page docs/reliability.md`. The
outcomes replace those that `outputs/faults/` holds for that kind; the page is made from all that it holds."""


def page_of(stored: Sequence[Stored]) -> str:
    """Introduction, table of the kinds, table of the faults, bad tries."""
    outcomes = [item for kind in stored for item in kind.outcomes]
    bad = Counter((item.kind, item.fault, item.ended, item.words) for item in outcomes if not item.good)
    lines = [f"- {count} × {escape(': '.join(key))}" for key, count in bad.items()]
    parts = [INTRODUCTION, markdown_table(_origins(stored)), markdown_table(table_of(outcomes))]
    parts += ["## Bad tries", "\n".join(lines)] if bad else []
    return "\n\n".join(parts) + "\n"


def _origins(stored: Sequence[Stored]) -> Table:
    rows = [
        [
            kind.origin.kind,
            str(len(kind.outcomes)),
            str(sum(not item.good for item in kind.outcomes)),
            str(kind.origin.seed),
            f"{kind.origin.minutes:.1f}",
            kind.origin.command,
            (kind.origin.commit or "unknown")[:12],
            kind.origin.machine,
        ]
        for kind in stored
    ]
    return Table("", ["kind", "tries", "bad", "seed", "minutes", "command", "commit", "machine"], rows)
