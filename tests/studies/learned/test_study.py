"""The whole study on a tiny scale: its cells, its page, resumed without a new run."""

import pytest

from studies.learned.coverage import CoverageScale
from studies.learned.exact import ExactScale, WorldSettings
from studies.learned.grid import Scale
from studies.learned.run import measured_folder, study
from studies.learned.small import SmallScale
from studies.options import StudyLearnedConfig
from studies.small.scale import Scale as World
from valuefree.errors import ConfigError

STRENGTHS = (0.5, 1.0, 2.0)
EXACT = ExactScale(32, 64, 8, (2, 4), (0.003, 0.01), STRENGTHS, WorldSettings(length=4, alphabet=3, features=2))
WORLD = World(reference_steps=3, reference_batch=8, behaviour_steps=1, train_prompts=6, batch=12, warmup_steps=0)
SMALL = SmallScale(WORLD, 48, 1, 4, (1, 2), (1e-3, 3e-3), (0.5, 1.0))
TINY = Scale(("RPO()",), SMALL, EXACT, CoverageScale((20,), 3, 40, EXACT), 1)


def options(out, **given):
    return StudyLearnedConfig(worlds="small,exact", seeds=1, choose_seeds=1, workers=1, out=str(out), **given)


@pytest.mark.slow
def test_the_study_is_run_resumed_and_written(tmp_path):
    """Per seed and world one method at 2 rates and a shuffled run. Choosing 2 × 3, reported 3 × 3, coverage 1."""
    said: list[str] = []
    result = study(options(tmp_path), say=said.append, scale=TINY)
    assert result is not None
    assert (result.rows, result.failed) == (16, 0)
    text = result.page.read_text()
    for heading in ("In short", "Where a measure misleads", "Coverage on repeated data sets", "World small"):
        assert heading in text
    assert text.count("(used)") == 4  # a measure for each kind of choice but that of the method
    for figure in ("measures-small", "strength-exact"):
        assert (tmp_path / "learned" / f"{figure}.svg").exists()
    assert len(list(measured_folder(tmp_path).glob("cells/*.json"))) == 15
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("cells/*.json")}
    study(options(tmp_path), say=said.append, scale=TINY)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("cells/*.json")} == before
    with pytest.raises(ConfigError, match="differs in scale"):
        study(options(tmp_path), say=said.append, scale=Scale())


def test_a_dry_run_counts_and_writes_nothing(tmp_path):
    said: list[str] = []
    options_ = StudyLearnedConfig(out=str(tmp_path / "out"), dry_run=True, workers=1)
    assert study(options_, say=said.append) is None
    # choosing 19 + 19, reported 10 + 76 + 95, coverage 3 × 3
    assert said == ["214 runs, 9 cells of the coverage; 1 workers"]
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="unknown world 'smal'"):
        study(StudyLearnedConfig(worlds="smal", workers=1), say=said.append)
