"""Figures: nothing is drawn outside of them."""

from valuefree.report.drawing import legend_above, panels


def test_the_legend_of_one_narrow_panel_stays_within_the_figure():
    figure, (panel,) = panels(1)
    for place in range(7):
        panel.plot([0, 1], [place, place], label=f"rpo-{place:>7}")
    legend_above(figure, panel)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 <= figure.bbox.x1
