"""How one try ended, and the table of many."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from valuefree.report.model import Table

IDENTICAL = "result identical to that of the undisturbed run"
REFUSED = "refused in one message"
MENDED = "refused in one message; done after mending"
SILENT = "fault not named"
OTHER = "another result"
MEMORY = "more memory than 1 GB"
TRACEBACK = "traceback"
HANG = "no end within the time limit"
PARTIAL = "an input changed, or a part of the output left"
ACCEPTED = "accepted, with another result"
GOOD = (IDENTICAL, REFUSED, MENDED, ACCEPTED)  # a damage may give another valid input


@dataclass(frozen=True)
class Outcome:
    """kind: file of `faults`; fault: what was done; ended: one of the constants above; words: detail for a reader."""

    kind: str
    fault: str
    ended: str
    words: str

    @property
    def good(self) -> bool:
        """Whether nothing was lost and nothing was hidden."""
        return self.ended in GOOD


def table_of(outcomes: Iterable[Outcome]) -> Table:
    """Tries by kind, fault and end."""
    outcomes = list(outcomes)
    counts = Counter((item.kind, item.fault, item.ended) for item in outcomes)
    rows = [[*key, str(count)] for key, count in sorted(counts.items())]
    bad = [item for item in outcomes if not item.good]
    note = f"{len(outcomes)} tries, {len(bad)} of them bad."
    return Table("", ["kind", "fault", "how it ended", "tries"], rows, note)
