"""Agreement of ``valuefree judge`` with verdicts on disk: those of another run, or of people."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuefree.data.validation import RowError, check_there, prompt_of, prompt_text
from valuefree.errors import DataError
from valuefree.evaluation.judging.result import overall
from valuefree.evaluation.stats import Agreement, cohen_kappa
from valuefree.runs.files import read_text
from valuefree.runs.json_values import parse_json

EXPECTED = (
    "Expected the folder or verdicts.jsonl of another judge, or JSON lines with prompt and score: 1 where the first "
    "system won, 0.5, 0 where it lost, null for no verdict."
)
Labels = dict[tuple[Any, ...], str | None]  # (run, systems,) prompt, how often it came before → win, loss, neutral


@dataclass(frozen=True)
class Verdicts:
    """Verdicts of `file`. named: whether its rows say of which systems they are."""

    file: Path
    named: bool
    labels: Labels


def read_verdicts(source: str) -> Verdicts:
    """The verdicts of a run's folder or of a file, checked.

    Raises:
        DataError: no such file, no rows, or faults, each with its line: no JSON, no prompt, a score outside [0, 1].
    """
    file = Path(source) / "verdicts.jsonl" if Path(source).is_dir() else Path(source)
    try:
        lines = read_text(file).splitlines()
    except (OSError, DataError) as error:
        raise DataError(f"--agreement {source}: {file} cannot be read ({error}). {EXPECTED}") from error
    rows: list[Mapping[str, Any]] = []
    faults = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            rows.append(_checked(line))
        except RowError as fault:
            faults.append(f"{file}:{number}: {fault}")
    named = {"systems" in row for row in rows}
    if len(named) > 1:
        faults.append("some rows name their systems, others do not")
    if faults:
        raise DataError.from_faults(f"--agreement {source} holds no verdicts:", faults, EXPECTED)
    if not rows:
        raise DataError(f"--agreement {source}: {file} is empty. {EXPECTED}")
    return Verdicts(file, named.pop(), labels_of(rows))


def _checked(line: str) -> Mapping[str, Any]:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise RowError("not JSON", f": {error}") from error
    if not isinstance(row, dict):
        raise RowError("not an object with prompt and score")
    check_there(row, "prompt")
    prompt_of(row, "prompt")
    if "score" not in row:
        check_there(row, "score")
    score = row["score"]
    if score is not None and (not isinstance(score, (int, float)) or not 0 <= score <= 1):
        raise RowError(f"score is {score!r}, expected a number from 0 to 1, or null")
    return row


def labels_of(rows: Iterable[Mapping[str, Any]]) -> Labels:
    """Labels of rows as verdicts.jsonl has them; the k-th row of a prompt is another one."""
    times: Counter[tuple[Any, ...]] = Counter()
    found: Labels = {}
    for row in rows:
        named = (row.get("run", 0), tuple(row["systems"])) if "systems" in row else ()
        pair = (*named, prompt_text(row["prompt"]))
        found[(*pair, times[pair])] = overall(row["score"])
        times[pair] += 1
    return found


def agreement_with(theirs: Verdicts, rows: Sequence[Mapping[str, Any]], *, seed: int) -> Agreement:
    """κ of the rows of verdicts.jsonl with other verdicts on the same pairs.

    Raises:
        DataError: verdicts that name no systems, where several pairs of systems were judged; none in common.
    """
    mine = labels_of(rows)
    if not theirs.named:
        pairs = {key[:2] for key in mine}
        if len(pairs) > 1:
            raise DataError(
                f"{theirs.file} names no systems, and there are {len(pairs)} pairs of them; judge one pair."
            )
        mine = {key[2:]: label for key, label in mine.items()}
    shared = [key for key in mine if key in theirs.labels]
    if not shared:
        raise DataError(f"{theirs.file} holds no verdict on a pair that was judged here.")
    labels = ([labels[key] for key in shared] for labels in (mine, theirs.labels))
    return cohen_kappa(*labels, clusters=[key[-2] for key in shared], seed=seed)
