"""Write a report: one self-contained HTML file, Markdown, and the figures as SVG and PNG."""

import io
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from valuefree.report.drawing import stacked
from valuefree.report.html import html_of
from valuefree.report.markdown import markdown_of
from valuefree.report.model import Report
from valuefree.runs.files import atomic_write

FIGURES = "figures"
DPI = 144


def write_report(report: Report, folder: Path, *, name: str = "report") -> Path:
    """Write ``name.html``, ``name.md`` and ``figures/PLOT.svg`` and ``.png`` into `folder`, which is created.

    The same report gives the same bytes.

    Returns:
        The HTML file.
    """
    drawn = {plot.name: _drawn(plot.figure, plot.name) for plot in report.plots}
    narrow = {}
    for plot in report.plots:
        if len(plot.figure.axes) > 1:
            with stacked(plot.figure):
                narrow[plot.name] = _drawn(plot.figure, f"{plot.name}-narrow")
    contents = {f"{FIGURES}/{plot}.svg": svg for plot, (svg, _) in drawn.items()}
    contents |= {f"{FIGURES}/{plot}.png": png for plot, (_, png) in drawn.items()}
    # Model text can contain half of a surrogate pair, which UTF-8 cannot encode.
    contents[f"{name}.md"] = markdown_of(report, figures=FIGURES).encode("utf-8", errors="replace")
    contents[f"{name}.html"] = html_of(report, drawn, narrow).encode("utf-8", errors="replace")
    for file, content in contents.items():
        with atomic_write(folder / file) as stream:
            stream.write(content)
    return folder / f"{name}.html"


def _drawn(figure: Figure, salt: str) -> tuple[bytes, bytes]:
    return svg_of(figure, salt), png_of(figure)


def svg_of(figure: Figure, salt: str) -> bytes:
    """The figure as SVG: text as outlines, no date, ids that depend on `salt` alone."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def png_of(figure: Figure) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
