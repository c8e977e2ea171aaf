"""A report on disk: one HTML file that needs nothing else, Markdown, and the figures as SVG and PNG."""

import io
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from valuefree.report.drawing import stacked
from valuefree.report.html import html_of
from valuefree.report.markdown import markdown_of
from valuefree.report.model import Report

FIGURES = "figures"
DPI = 144


def write_report(report: Report, folder: Path, *, name: str = "report") -> Path:
    """Write ``name.html``, ``name.md`` and ``figures/PLOT.svg`` and ``.png`` into `folder`, made if needed.

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
    folder.mkdir(parents=True, exist_ok=True)
    for plot, (svg, png) in drawn.items():
        (folder / FIGURES).mkdir(exist_ok=True)
        (folder / FIGURES / f"{plot}.svg").write_bytes(svg)
        (folder / FIGURES / f"{plot}.png").write_bytes(png)
    _write(folder / f"{name}.md", markdown_of(report, figures=FIGURES))
    return _write(folder / f"{name}.html", html_of(report, drawn, narrow))


def _drawn(figure: Figure, salt: str) -> tuple[bytes, bytes]:
    return svg_of(figure, salt), png_of(figure)


def _write(file: Path, text: str) -> Path:
    # Model text can hold half a surrogate pair, which UTF-8 cannot; line ends stay \n, which the hashes are of.
    file.write_bytes(text.encode("utf-8", errors="replace"))
    return file


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
