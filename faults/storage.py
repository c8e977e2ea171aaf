"""The outcomes of each kind in a file of its own, so that the kinds can be run one by one."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from faults.outcome import Outcome
from valuefree.runs.files import read_jsonl, write_jsonl

FOLDER = Path("outputs/faults")


@dataclass(frozen=True)
class Origin:
    """Of the outcomes of one kind: the command that made them, how long it took, commit and machine."""

    kind: str
    command: str
    seed: int
    minutes: float
    commit: str | None
    machine: str


@dataclass(frozen=True)
class Stored:
    """The outcomes of one kind, and their origin."""

    origin: Origin
    outcomes: tuple[Outcome, ...]


def store(folder: Path, origin: Origin, outcomes: Iterable[Outcome]) -> None:
    """Write the origin and then one line per outcome; former outcomes of the kind are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    seed = {"seed": origin.seed, "commit": origin.commit}
    write_jsonl(folder / f"{origin.kind}.jsonl", [asdict(origin), *(asdict(item) | seed for item in outcomes)])


def read_stored(folder: Path, kinds: Iterable[str]) -> list[Stored]:
    """What is stored of these kinds, in their order."""
    files = [file for kind in kinds if (file := folder / f"{kind}.jsonl").exists()]
    return [_read(file) for file in files]


def _read(file: Path) -> Stored:
    origin, *rows = read_jsonl(file)
    names = Outcome.__dataclass_fields__
    return Stored(Origin(**origin), tuple(Outcome(**{name: row[name] for name in names}) for row in rows))
