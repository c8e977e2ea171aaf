"""Which tool made an export: by the fields of its records."""

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from valuefree.data.exports import (
    argilla,
    label_studio,
    langfuse,
    langsmith,
    open_webui,
    openai,
    otel,
    phoenix,
    plain,
    trl,
)
from valuefree.data.exports.account import Record
from valuefree.errors import DataError

# A reader has KINDS, the fields that tell each kind of its records, and `read`. Of two that fit equally, the first.
READERS: dict[str, ModuleType] = {
    "open-webui": open_webui,
    "langfuse": langfuse,
    "langsmith": langsmith,
    "otel": otel,
    "phoenix": phoenix,
    "argilla": argilla,
    "label-studio": label_studio,
    "trl": trl,
    "openai": openai,
    "csv": plain,
}

HEAD = 20  # records of a file that recognition looks at


def has(record: Any, path: str) -> bool:
    """Whether a record has a dotted path, null or not. ``*.x``: a name that ends so. ``!x``: no such path."""
    if path.startswith("!"):
        return not has(record, path[1:])
    if not isinstance(record, Mapping):
        return False
    if path.startswith("*"):
        return any(str(key).endswith(path[1:]) for key in record)
    if path in record or any(str(key).startswith(f"{path}.") for key in record):
        return True
    parts = path.split(".")
    heads = (".".join(parts[:size]) for size in range(1, len(parts)))
    return any(head in record and has(record[head], path[len(head) + 1 :]) for head in heads)


def kind_of(record: Record, tool: str) -> str | None:
    """The kind of a record among those of a tool."""
    return next((kind for kind, fields in READERS[tool].KINDS.items() if all(has(record, f) for f in fields)), None)


def tables_of(records: Sequence[tuple[str, Record]], tool: str) -> tuple[dict[str, list[Record]], list[str]]:
    """The records by kind, and the files of which no record is of any kind. records: (file, record).

    A record that lacks fields, as where a tool leaves out nulls, is of the kind of the file's first record.
    """
    by_file: dict[str, str] = {}
    tables: dict[str, list[Record]] = {}
    for file, record in records:
        kind = kind_of(record, tool)
        if kind is not None:
            by_file.setdefault(file, kind)
        tables.setdefault(kind or by_file.get(file, ""), []).append(record)
    tables.pop("", None)
    return tables, [file for file in dict.fromkeys(file for file, _ in records) if file not in by_file]


def recognise(records: Sequence[tuple[str, Record]]) -> tuple[str, str]:
    """The tool that made the records, and the fields that say so. records: (file, record).

    Raises:
        DataError: no tool fits; lists what was looked for, and the nearest format.
    """
    heads: dict[str, list[Record]] = {}
    for file, record in records:
        if len(heads.setdefault(file, [])) < HEAD:
            heads[file].append(record)
    votes = {tool: _kinds(heads.values(), tool) for tool in READERS if tool != "csv"}
    best = max(votes, key=lambda tool: len(votes[tool]))
    if votes[best]:
        kinds = dict.fromkeys(votes[best])
        fields = [field for kind in kinds for field in READERS[best].KINDS[kind] if not field.startswith("!")]
        return best, ", ".join(dict.fromkeys(fields))
    raise DataError(_unrecognised([record for head in heads.values() for record in head]))


def _kinds(heads: Iterable[Sequence[Record]], tool: str) -> list[str]:
    """For each file that has one, the kind of its first records."""
    found = (next((kind for record in head if (kind := kind_of(record, tool))), None) for head in heads)
    return [kind for kind in found if kind]


def _unrecognised(records: Sequence[Record]) -> str:
    lines, nearest = [], (0.0, "", [""])
    for tool in (name for name in READERS if name != "csv"):
        kinds = {kind: [f for f in fields if not f.startswith("!")] for kind, fields in READERS[tool].KINDS.items()}
        lines.append(f"  {tool}: {'; or '.join(', '.join(wanted) for wanted in kinds.values())}")
        for kind, wanted in kinds.items():
            for record in records:
                missing = [field for field in wanted if not has(record, field)]
                share = 1 - len(missing) / len(wanted)
                if share > nearest[0]:
                    nearest = (share, f"{tool}, {kind}", missing)
    there = ", ".join(dict.fromkeys(str(name) for record in records for name in record))
    near = f"The nearest is {nearest[1]}, but there is no {', '.join(nearest[2])}. " if nearest[1] else ""
    return "\n".join(
        [
            f"this is no export that is recognised: its fields are {there}. Looked for:",
            *lines,
            f"{near}For a plain table give --from csv (in Python from_='csv').",
        ]
    )
