"""Systems' outputs on disk: JSON lines of prompt and response, or alpaca_eval's outputs.json."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuefree.data.prompts import Prompt, as_text
from valuefree.data.sources import RawRow, rows_of
from valuefree.data.validation import RowError, check_there, prompt_of, prompt_text, unreadable
from valuefree.errors import DataError, number_of
from valuefree.runs.files import write_json, write_jsonl

ALPACA = ("instruction", "output", "generator")


@dataclass(frozen=True)
class Outputs:
    """Responses of one system, in the order of the file; a prompt may come more than once."""

    name: str
    prompts: list[Prompt]
    responses: list[str]


def read_outputs(file: str, *, name: str | None = None, prompt: str = "prompt", response: str = "response") -> Outputs:
    """Outputs of a system from a JSONL, JSON, CSV or Parquet file.

    Rows of alpaca_eval are recognised by their columns (``instruction``, ``output``, ``generator``).

    Args:
        name: default: the generator, if all rows name the same one, else the file's stem.
        prompt, response: columns of other files.

    Raises:
        DataError: a column that no row has; faults, each with its line; no rows.
    """
    rows = list(rows_of(file, None))
    _check_columns(file, rows, prompt, response)
    prompts: list[Prompt] = []
    responses, faults, generators = [], [], set()
    for row in rows:
        alpaca = _of_alpaca(row, prompt)
        columns = ALPACA[:2] if alpaca else (prompt, response)
        try:
            asked, answer = answered(row, *columns)
        except RowError as fault:
            faults.append(f"{row.where}: {fault}")
            continue
        prompts.append(asked)
        responses.append(answer)
        generators.add(row.values.get("generator") if alpaca else None)
    if faults:
        raise DataError.from_faults(
            f"{number_of(len(faults), 'row')} of {file} cannot be compared:", faults, "Fix or remove what is named."
        )
    if not prompts:
        raise DataError(f"{file} holds no outputs.")
    own = generators.pop() if len(generators) == 1 else None
    return Outputs(name or (own if isinstance(own, str) and own else Path(file).stem), prompts, responses)


def _of_alpaca(row: RawRow, prompt: str) -> bool:
    return prompt not in row.values and {"instruction", "output"} <= row.values.keys()


def _check_columns(file: str, rows: Sequence[RawRow], prompt: str, response: str) -> None:
    """Raise one error for a column that no row has, instead of one per row."""
    plain = [row for row in rows if not row.fault and not _of_alpaca(row, prompt)]
    if len(plain) < len(rows) or not rows:
        return
    there = list(dict.fromkeys(name for row in plain for name in row.values))
    lacking = [(flag, name) for flag, name in (("--prompt", prompt), ("--response", response)) if name not in there]
    if lacking:
        raise DataError(
            f"{file} has no column {' nor '.join(repr(name) for _, name in lacking)}; it has {', '.join(there)}. "
            f"Name it by {' and '.join(f'{flag} (in Python {flag[2:]}=)' for flag, _ in lacking)}."
        )


def answered(row: RawRow, prompt: str, response: str) -> tuple[Prompt, str]:
    """Prompt and response in these columns of a row; an empty response is one. Raises `RowError`."""
    if row.fault:
        raise unreadable(row.fault)
    check_there(row.values, prompt)
    if response in row.values and row.values[response] is None:
        raise RowError(
            f"{response} is null", ": remove the row if there is no answer, or write an empty text if it is one"
        )
    check_there(row.values, response)
    if not isinstance(row.values[response], str):
        raise RowError(f"{response} is not text")
    return prompt_of(row.values, prompt), row.values[response]


def write_outputs(file: Path, prompts: Sequence[Prompt], responses: Sequence[str], *, name: str) -> None:
    """Write a system's outputs: as alpaca_eval reads them if the file ends in ``.json``, else JSON lines."""
    pairs = list(zip(prompts, responses, strict=True))
    if file.suffix == ".json":
        rows: list[dict[str, Any]] = [dict(zip(ALPACA, (as_text(p), r, name), strict=True)) for p, r in pairs]
        write_json(file, rows)
    else:
        write_jsonl(file, ({"prompt": p, "response": r} for p, r in pairs))


@dataclass(frozen=True)
class Aligned:
    """Prompts that all systems answered, and their responses.

    left_out: number of k-th answers to a prompt that some system lacks. lacking: that number for each system.
    """

    prompts: list[Prompt]
    responses: dict[str, list[str]]
    left_out: int
    lacking: dict[str, int]

    @property
    def omitted(self) -> str:
        """A sentence about what was left out."""
        total = self.left_out + len(self.prompts)
        lacking = [f"{name} lacks {count}" for name, count in self.lacking.items() if count]
        return f"{self.left_out} of {total} prompts (a k-th answer to one counts for itself): {', '.join(lacking)}."


def align(systems: Sequence[Outputs], *, common: bool = False) -> Aligned:
    """The systems' responses side by side, in the order of the first; k-th answers to a prompt are matched.

    Args:
        common: leave out, and count, what some system did not answer, instead of raising.

    Raises:
        DataError: two systems with one name; prompts that some system did not answer, or less often than others; no
            prompt that all answered.
    """
    names = [system.name for system in systems]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"two systems are called {', '.join(twice)}; name them: NAME=FILE.")
    tables = dict(zip(names, (dict(_numbered(system)) for system in systems), strict=True))
    anywhere = set().union(*tables.values())
    everywhere = anywhere.intersection(*tables.values())
    if everywhere != anywhere and not common:
        raise DataError.from_faults(
            "the systems did not answer the same prompts, each as often as the others:",
            [fault for name in names for fault in _lacking(name, tables)],
            "Give the same prompts to all, or leave out what some lack (--common).",
        )
    if not everywhere:
        raise DataError("the systems have no prompt in common.")
    first = tables[names[0]]
    keys = [key for key in first if key in everywhere]
    prompts = [first[key][0] for key in keys]
    responses = {name: [table[key][1] for key in keys] for name, table in tables.items()}
    lacking = {name: len(anywhere) - len(table) for name, table in tables.items()}
    return Aligned(prompts, responses, len(anywhere) - len(keys), lacking)


Key = tuple[str, int]  # the prompt's text, and the number of earlier answers to it


def _numbered(system: Outputs) -> Iterable[tuple[Key, tuple[Prompt, str]]]:
    times: Counter[str] = Counter()
    for prompt, response in zip(system.prompts, system.responses, strict=True):
        # alpaca_eval's files hold text where others hold messages
        key = prompt_text(as_text(prompt))
        yield (key, times[key]), (prompt, response)
        times[key] += 1


def _lacking(name: str, tables: Mapping[str, Mapping[Key, object]]) -> list[str]:
    """Sentences on the prompts that a system did not answer, and those it answered less often than others."""
    answers = {other: Counter(prompt for prompt, _ in table) for other, table in tables.items()}
    own = answers[name]
    prompts = sorted(set().union(*answers.values()))
    whole = [prompt for prompt in prompts if prompt not in own]
    fewer = [
        (prompt, other)
        for prompt in prompts
        if prompt in own and own[prompt] < answers[other := max(answers, key=lambda one: answers[one][prompt])][prompt]
    ]
    said = []
    if whole:
        said.append(f"{name}: lacks {len(whole)} of {len(prompts)} prompts, such as {whole[0][:60]!r}")
    if fewer:
        prompt, other = fewer[0]
        counts = f"{own[prompt]} to {prompt[:60]!r}, where {other} has {answers[other][prompt]}"
        said.append(f"{name}: has fewer answers to {len(fewer)} of {len(prompts)} prompts, such as {counts}")
    return said
