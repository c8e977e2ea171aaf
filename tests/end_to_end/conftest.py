"""Figures are blank in whole runs: drawing them takes most of the time of a run on a tiny model."""

from contextlib import nullcontext

import pytest

from valuefree.report import write

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.fixture(autouse=True)
def blank_figures(request, monkeypatch):
    """No figure is drawn, except in tests with the marker `figures`."""
    if "figures" not in request.keywords:
        monkeypatch.setattr(write, "laid_out", lambda figure: nullcontext())
        monkeypatch.setattr(write, "svg_of", lambda figure, salt: SVG)
        monkeypatch.setattr(write, "png_of", lambda figure: b"")
