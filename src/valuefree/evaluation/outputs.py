"""Systems' outputs on disk: JSON lines of prompt and response, or alpaca_eval's outputs.json."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuefree.data.rendering import Prompt, as_text
from valuefree.data.sources import Row, rows_of
from valuefree.data.validation import Bad, check_there, prompt_key, prompt_of, unreadable
from valuefree.errors import DataError

ALPACA = ("instruction", "output", "generator")


@dataclass(frozen=True)
class Outputs:
    """Responses of one system, in the order of the file; a prompt may come more than once."""

    name: str
    prompts: list[Prompt]
    responses: list[str]


def read_outputs(file: str, *, name: str | None = None, prompt: str = "prompt", response: str = "response") -> Outputs:
    """Outputs of a system from a JSONL, JSON, CSV or Parquet file.

    Rows of alpaca_eval (``instruction``, ``output``, ``generator``) are known by their columns.

    Args:
        name: default: the generator that the file names, if it is one for all rows, else the file's stem.
        prompt, response: columns of other files.

    Raises:
        DataError: faults, each with its line; no rows.
    """
    prompts: list[Prompt] = []
    responses, faults, generators = [], [], set()
    for row in rows_of(file, None):
        alpaca = prompt not in row.values and {"instruction", "output"} <= row.values.keys()
        columns = ALPACA[:2] if alpaca else (prompt, response)
        try:
            asked, answer = answered(row, *columns)
        except Bad as fault:
            faults.append(f"{row.where}: {fault}")
            continue
        prompts.append(asked)
        responses.append(answer)
        generators.add(row.values.get("generator") if alpaca else None)
    if faults:
        raise DataError.from_faults(f"{len(faults)} rows of {file} cannot be compared:", faults, "Mend these rows.")
    if not prompts:
        raise DataError(f"{file} holds no outputs.")
    own = generators.pop() if len(generators) == 1 else None
    return Outputs(name or (own if isinstance(own, str) and own else Path(file).stem), prompts, responses)


def answered(row: Row, prompt: str, response: str) -> tuple[Prompt, str]:
    """Prompt and response in these columns of a row; an empty response is one. Raises `Bad`."""
    if row.fault:
        raise unreadable(row.fault)
    check_there(row.values, prompt)
    check_there(row.values, response)
    if not isinstance(row.values[response], str):
        raise Bad(f"{response} is not text")
    return prompt_of(row.values, prompt), row.values[response]


def write_outputs(file: Path, prompts: Sequence[Prompt], responses: Sequence[str], *, name: str) -> None:
    """Write a system's outputs: as alpaca_eval reads them if the file ends in ``.json``, else JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pairs = list(zip(prompts, responses, strict=True))
    if file.suffix == ".json":
        rows: list[dict[str, Any]] = [dict(zip(ALPACA, (as_text(p), r, name), strict=True)) for p, r in pairs]
        file.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    lines = (json.dumps({"prompt": p, "response": r}, ensure_ascii=False) + "\n" for p, r in pairs)
    with file.open("w", encoding="utf-8") as stream:
        stream.writelines(lines)


@dataclass(frozen=True)
class Aligned:
    """Prompts that all systems answered, and their responses to them; how many prompts were left out of any."""

    prompts: list[Prompt]
    responses: dict[str, list[str]]
    left_out: int


def align(systems: Sequence[Outputs], *, common: bool = False) -> Aligned:
    """The systems' responses side by side, in the order of the first; the k-th answer to a prompt goes with the k-th.

    Args:
        common: leave out what some system did not answer, and count it, in place of raising.

    Raises:
        DataError: two systems of one name; prompts that not all answered; none that all did.
    """
    names = [system.name for system in systems]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"two systems are called {', '.join(twice)}; name them: NAME=FILE.")
    tables = [dict(_numbered(system)) for system in systems]
    anywhere = set().union(*tables)
    everywhere = anywhere.intersection(*tables)
    if everywhere != anywhere and not common:
        raise DataError.from_faults(
            "the systems did not answer the same prompts:",
            [
                _lacking(name, sorted(anywhere - set(table)), anywhere)
                for name, table in zip(names, tables, strict=True)
            ],
            "Give the same prompts to all, or leave out what some lack (--common).",
        )
    if not everywhere:
        raise DataError("the systems have no prompt in common.")
    keys = [key for key in tables[0] if key in everywhere]
    prompts = [tables[0][key][0] for key in keys]
    responses = {name: [table[key][1] for key in keys] for name, table in zip(names, tables, strict=True)}
    return Aligned(prompts, responses, len(anywhere) - len(keys))


def _numbered(system: Outputs) -> Iterable[tuple[tuple[str, int], tuple[Prompt, str]]]:
    times: Counter[str] = Counter()
    for prompt, response in zip(system.prompts, system.responses, strict=True):
        # alpaca_eval's files hold text where others hold messages
        key = prompt_key(as_text(prompt))
        yield (key, times[key]), (prompt, response)
        times[key] += 1


def _lacking(name: str, missing: Sequence[tuple[str, int]], of: Sized) -> str:
    said = f"{name}: lacks {len(missing)} of {len(of)} prompts"
    return f"{said}, such as {missing[0][0][:60]!r}" if missing else said
