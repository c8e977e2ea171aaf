"""Figures in one style. Without pyplot there is no global state, and a figure is freed with its report."""

from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

# Okabe and Ito (2008): distinguishable for colour-blind readers; without yellow, which is faint on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#8a949e"


def panels(count: int, *, columns: int = 3, width: float = 3.4, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, at most `columns` in a row; width and height of a panel in inches."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[count:]:
        empty.remove()
    for panel in axes[:count]:
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.25, linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes[:count]


@contextmanager
def stacked(figure: Figure, *, width: float = 3.8, height: float = 2.8) -> Iterator[None]:
    """Stack the panels of a figure for a narrow screen, and restore them afterwards."""
    before = [(panel, place) for panel in figure.axes if (place := panel.get_subplotspec()) is not None]
    size, grid = (figure.get_figwidth(), figure.get_figheight()), GridSpec(len(before), 1, figure=figure)
    columns = [(legend, vars(legend)["_ncols"]) for legend in figure.legends]  # matplotlib has no get_ncols
    for number, (panel, _) in enumerate(before):
        panel.set_subplotspec(grid[number])
    for legend in figure.legends:
        legend.set_ncols(1)
    figure.set_size_inches(width, height * len(before))
    try:
        yield
    finally:
        for panel, place in before:
            panel.set_subplotspec(place)
        for legend, number in columns:
            legend.set_ncols(number)
        figure.set_size_inches(*size)


@contextmanager
def laid_out(figure: Figure) -> Iterator[None]:
    """Place the panels once. Otherwise every format in which the figure is drawn places them anew, and draws twice."""
    figure.draw_without_rendering()
    engine = figure.get_layout_engine()
    figure.set_layout_engine("none")
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


def colour(number: int) -> str:
    """Colour of the n-th series; colours repeat, and `mark` then distinguishes the series."""
    return COLOURS[number % len(COLOURS)]


def mark(number: int) -> str:
    """Marker of the n-th series."""
    return MARKS[number % len(MARKS)]


def label(panel: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Set the title and the axis labels of a panel."""
    panel.set_title(title, fontsize=9, loc="left")
    panel.set_xlabel(x, fontsize=8)
    panel.set_ylabel(y, fontsize=8)


def legend_above(figure: Figure, panel: Axes, *, columns: int = 4) -> None:
    """One legend for all panels, with the series of `panel`; none for a single series.

    columns: at most so many, and at most one per 1.1 inches of the figure.
    """
    handles, names = panel.get_legend_handles_labels()
    if len(names) > 1:
        columns = min(columns, max(int(figure.get_figwidth() / 1.1), 1))
        figure.legend(handles, names, loc="outside upper left", ncols=columns, fontsize=8, frameon=False)
