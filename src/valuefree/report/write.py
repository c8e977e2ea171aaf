"""Write a report: one self-contained HTML file, Markdown, and the figures as SVG and PNG."""

import io
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from valuefree.report.drawing import laid_out, stacked
from valuefree.report.html import html_of
from valuefree.report.markdown import markdown_of
from valuefree.report.model import Report
from valuefree.runs.files import atomic_write

FIGURES = "figures"
DPI = 144
SVG_LIMIT = 400_000  # bytes; of a larger figure the PNG is inlined


def write_report(report: Report, folder: Path, *, name: str = "report") -> Path:
    """Write ``name.html``, ``name.md`` and ``figures/PLOT.svg`` and ``.png`` into `folder`, which is created.

    The same report gives the same bytes.

    Returns:
        The HTML file.
    """
    wide, narrow, contents = {}, {}, {}
    for plot in report.plots:
        with laid_out(plot.figure):
            svg, png = svg_of(plot.figure, plot.name), png_of(plot.figure)
        contents |= {f"{FIGURES}/{plot.name}.svg": svg, f"{FIGURES}/{plot.name}.png": png}
        wide[plot.name] = ("svg+xml", svg) if len(svg) <= SVG_LIMIT else ("png", png)
        if len(plot.figure.axes) > 1:
            with stacked(plot.figure), laid_out(plot.figure):
                svg = svg_of(plot.figure, f"{plot.name}-narrow")
                narrow[plot.name] = ("svg+xml", svg) if len(svg) <= SVG_LIMIT else ("png", png_of(plot.figure))
    # Model text can contain half of a surrogate pair, which UTF-8 cannot encode.
    contents[f"{name}.md"] = markdown_of(report, figures=FIGURES).encode("utf-8", errors="replace")
    contents[f"{name}.html"] = html_of(report, wide, narrow).encode("utf-8", errors="replace")
    for file, content in contents.items():
        with atomic_write(folder / file) as stream:
            stream.write(content)
    return folder / f"{name}.html"


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
