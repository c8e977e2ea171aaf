"""A report as Markdown for a repository, with links to its figures."""

import re
from collections.abc import Sequence

from valuefree.evaluation.markdown import escape_marks
from valuefree.report.json_text import indented
from valuefree.report.model import Completions, Report, Section, Table

SHOWN = 5  # completions
CLIP = 600  # characters of a text in them
_OPENING = re.compile(r"^(\s*)([-+#=]|\d+(?=[.)]))", re.MULTILINE)


def markdown_of(report: Report, *, figures: str) -> str:
    """The report as GitHub Markdown, with links into the folder `figures` and the first few completions."""
    parts = [f"# {escape(report.title)}"]
    if report.verdict:
        parts.append("\n>\n".join(f"> {escape(sentence)}" for sentence in report.verdict))
    for section in report.sections:
        parts += _section(section, figures)
    parts += _completions(report.completions)
    parts += ["## Where these numbers come from", _fenced(indented(report.manifest), "json")]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Plain text as one line of Markdown."""
    return _opened(escape_marks(" ".join(text.split())))


def escape_cell(text: str) -> str:
    """Plain text as the cell of a table, with its line breaks."""
    lines = text.strip().splitlines()
    return "<br>".join(escape_marks(line) for line in lines)


def _opened(text: str) -> str:
    """Escape characters that would begin a list, a heading or a rule."""
    return _OPENING.sub(lambda match: f"{match[1]}{_escaped_opening(match[2])}", text)


def _escaped_opening(mark: str) -> str:
    # "1." begins a list; an entity in place of the digit prevents that.
    return f"&#{ord(mark[0])};{mark[1:]}" if mark[0].isdigit() else f"\\{mark}"


def _section(section: Section, figures: str) -> list[str]:
    parts = [f"## {escape(section.title)}", *map(escape, section.paragraphs)]
    if section.items:
        parts.append("\n".join(f"- {escape(item)}" for item in section.items))
    for table in section.tables:
        parts += _table(table)
    for plot in section.plots:
        file, caption = f"{figures}/{plot.name}", escape(plot.caption)
        parts += [f"![{caption}]({file}.svg)", f"{caption} ([SVG]({file}.svg), [PNG]({file}.png))"]
    return parts


def markdown_table(table: Table) -> str:
    """One table as Markdown, for a file that other text surrounds."""
    return "\n\n".join(_table(table))


def _table(table: Table) -> list[str]:
    title = [f"### {escape(table.title)}"] if table.title else []
    lines = [_row(table.head), f"|{'---|' * len(table.head)}", *map(_row, table.rows)]
    return [*title, "\n".join(lines), *([escape(table.note)] if table.note else [])]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escape_cell, cells))} |"


def _completions(completions: Sequence[Completions]) -> list[str]:
    if not completions:
        return []
    parts = ["## Side by side"]
    for number, entry in enumerate(completions[:SHOWN], start=1):
        rewards = {name: f" (reward {value:.3f})" for name, value in entry.rewards.items()}
        head = ["prompt", *(name + rewards.get(name, "") for name in entry.responses)]
        texts = [_clipped(text) for text in (entry.prompt, *entry.responses.values())]
        parts += _table(Table(f"Prompt {number}", head, [texts]))
        if entry.verdicts:
            parts.append("\n".join(f"- {escape(str(verdict))}" for verdict in entry.verdicts))
    if len(completions) > SHOWN:
        parts.append(f"The HTML file contains all {len(completions)}, with a search.")
    return parts


def _clipped(text: str) -> str:
    return text if len(text) <= CLIP else f"{text[:CLIP]}… ({len(text)} characters)"


def _fenced(text: str, language: str) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"
