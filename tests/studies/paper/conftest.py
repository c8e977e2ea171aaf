"""What the tests of the paper's study share."""

from pathlib import Path

import pytest

from tests.studies.paper.made import Made, Make


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A study's folder that is filled by hand."""

    def made(**options: object) -> Made:
        return Made(tmp_path / "study", **options)  # type: ignore[arg-type]

    return made
