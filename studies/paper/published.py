"""What the paper (arXiv 2506.13702v1) printed and claims: its numbers, settings, examples, claims and contradictions.

``published.yaml`` has the numbers, ``statements.yaml`` the words. A number is found by table, row and column:

======  ====================  =================================================================================
table   row                   column
======  ====================  =================================================================================
II      name of a metric      method and size, "KTO Small"
IIIa/b  size                  baseline that RPO is compared with, "SFT"
IVa/b   size                  τ, "0.1"; RPO against SFT
V       name of a metric      variant, τ and size, "RPO 0.1 Small", "RPO-noNorm 5.0 XL"
VIa/b   size                  τ, "0.1"; RPO against RPO-noNorm
======  ====================  =================================================================================

a is the judgement by Mistral, b that by LLaMA. τ is ``str(tau)``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from valuefree.cli.parse import unknown
from valuefree.errors import ConfigError

SIZES = ("Small", "Large", "XL")
BASELINES = ("SFT", "KTO", "DRO")


@dataclass(frozen=True)
class Metric:
    """A row of Tables II and V: the paper's name, which values are better, and the metric's name in this package."""

    name: str
    better: Literal["higher", "lower"]
    ours: str


METRICS = (
    Metric("BERTScore", "higher", "bertscore"),
    Metric("ROUGE-L", "higher", "rougeL"),
    Metric("BLEU", "higher", "bleu"),
    Metric("SacreBLEU", "higher", "sacrebleu"),
    Metric("METEOR", "higher", "meteor"),
    Metric("Toxicity", "lower", "toxicity"),
)


@dataclass(frozen=True)
class Published:
    """One cell of a table; the module's docstring says how cells are named.

    value: in percent in Tables III, IV and VI, else in the unit of the metric. deviation: the number after ±.
    """

    table: str
    row: str
    column: str
    value: float
    deviation: float | None = None


@dataclass(frozen=True)
class Claim:
    """A statement of the paper that a run can support or contradict; where: sections, tables and equations."""

    key: str
    where: str
    text: str


@dataclass(frozen=True)
class Contradiction:
    """Two places that cannot both be right, or a statement and the cells that contradict it."""

    where: tuple[str, str]
    text: str


def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _cells(table: str, columns: list[str], rows: dict[str, list[Any]]) -> list[Published]:
    parts = {
        (row, column): str(cell).partition("±")
        for row, line in rows.items()
        for column, cell in zip(columns, line, strict=True)
    }
    return [
        Published(table, *place, float(value), float(after) if after else None)
        for place, (value, _, after) in parts.items()
    ]


_NUMBERS, _WORDS = _read("published.yaml"), _read("statements.yaml")
TABLES = tuple(_NUMBERS["tables"])
NUMBERS: tuple[Published, ...] = tuple(
    cell
    for table, entry in _NUMBERS["tables"].items()
    for columns in [entry.get("columns") or [f"{group} {size}" for group in entry["groups"] for size in SIZES]]
    for cell in _cells(table, columns, entry["rows"])
)
TABLE_I: dict[str, tuple[str, str]] = {name: (dro, rpo) for name, (dro, rpo) in _NUMBERS["table_i"].items()}
SETTINGS: dict[str, tuple[str | float | tuple[str, ...], str]] = {  # value, and the section that states it
    name: (tuple(value) if isinstance(value, list) else value, where)
    for name, (value, where) in _NUMBERS["settings"].items()
}
EXAMPLES: dict[str, dict[str, int]] = {  # prompts of Table VII: number of words in the answers of the XL models
    prompt: dict(zip(("RPO", "DRO", "KTO"), words, strict=True)) for prompt, *words in _NUMBERS["examples"]
}
CLAIMS = tuple(Claim(key, **entry) for key, entry in _WORDS["claims"].items())
UNSTATED: dict[str, str] = _WORDS["unstated"]
CONTRADICTIONS = tuple(Contradiction((one["here"], one["there"]), one["text"]) for one in _WORDS["contradictions"])
_CELLS = {(cell.table, cell.row, cell.column): cell for cell in NUMBERS}


def published(table: str, row: str, column: str) -> Published:
    """The cell of a table; the module's docstring says how tables, rows and columns are named.

    Raises:
        ConfigError: an unknown table, row or column, with the nearest and all known ones.
    """
    if (table, row, column) in _CELLS:
        return _CELLS[table, row, column]
    if table not in TABLES:
        raise ConfigError(f"no table {table!r} with numbers; choose from {', '.join(TABLES)}.")
    rows = list(dict.fromkeys(cell.row for cell in NUMBERS if cell.table == table))
    columns = list(dict.fromkeys(cell.column for cell in NUMBERS if cell.table == table))
    kind, name, known = ("column", column, columns) if row in rows else ("row", row, rows)
    raise ConfigError(f"{unknown(f'{kind} of table {table}', name, known)} It has {', '.join(known)}.")


def printed(table: str, row: str, column: str) -> Published | None:
    """As `published`, but None where the paper has no such cell, for example at another temperature."""
    return _CELLS.get((table, row, column))
