"""One Markdown table. Whole pages are written by `valuefree.report`, which imports this package and not vice versa."""

import re
from collections.abc import Iterable, Sequence

# Characters that GitHub's Markdown would interpret: marks; an entity; emphasis by _ (not within a word); a bracket that
# opens a footnote or an alert, or that ends the text of a link (the bracket of an interval does not).
_SPECIAL = re.compile(r"([\\`*<>|~$]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])|\[(?=[!^ xX])|\](?=[(\[:]))")
_BAR = re.compile(r"(?<!\\)\|")  # that is not escaped


def escape_marks(text: str) -> str:
    """Plain text with the marks of Markdown escaped, except those that only begin a line."""
    return _SPECIAL.sub(r"\\\1", text)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table without a line break at its end; cells may hold Markdown, a ``|`` in them is escaped."""
    lines = ([_BAR.sub(r"\\|", cell) for cell in cells] for cells in (head, ["---"] * len(head), *rows))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
