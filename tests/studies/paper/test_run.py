"""The whole study on a very small scale: killed and gone on with, a run that fails, another choice of metrics."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from studies.harness.cells import StudyResult, file_of, missing, read_row
from studies.options import StudyPaperConfig
from studies.paper import timing
from studies.paper.cells import Cell, Pair, TimingCell, responses_file
from studies.paper.results import Results
from studies.paper.run import Plan, study
from studies.paper.scales import SCALES
from studies.paper.training import measure_cell
from studies.paper.world import Setup, make_world
from tests.studies.paper.small import CELLS, OPTIONS, SMALL
from valuefree.errors import ConfigError

SCRIPT = """
from tests.studies.paper.small import OPTIONS, SMALL
from studies.options import StudyPaperConfig
from studies.paper.run import study
if __name__ == "__main__":
    study(StudyPaperConfig(**OPTIONS | {{"workers": 1}}, out={out!r}), say=print, scales=[SMALL])
"""


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def stamps(folder: Path, kind: str = "cells") -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.glob(f"{kind}/*.json")}


@dataclass(frozen=True)
class Done:
    """A study that was killed in the middle and gone on with."""

    folder: Path
    before: dict[str, int]
    said: list[str]
    result: StudyResult

    def again(self, **options: object) -> tuple[StudyResult, list[str]]:
        said: list[str] = []
        given = OPTIONS | {"out": str(self.folder)} | options
        result = study(StudyPaperConfig(**given), say=said.append, scales=[SMALL])
        assert result is not None
        return result, said


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("paper") / "study"
    script = folder.with_name("go.py")
    script.write_text(SCRIPT.format(out=str(folder)))
    path = os.pathsep.join([*map(str, Path(__file__).parents[2:4]), *sys.path])
    process = subprocess.Popen([sys.executable, str(script)], env=os.environ | {"PYTHONPATH": path})
    try:
        until(lambda: len(stamps(folder)) >= 3)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    time.sleep(0.5)  # its workers end with it
    before = stamps(folder)
    said: list[str] = []
    result = study(StudyPaperConfig(**OPTIONS, out=str(folder)), say=said.append, scales=[SMALL])
    assert result is not None
    return Done(folder, before, said, result)


@pytest.fixture
def copied(done: Done, tmp_path: Path) -> Done:
    """To be changed."""
    shutil.copytree(done.folder, tmp_path / "study")
    return replace(done, folder=tmp_path / "study")


@pytest.mark.slow
def test_after_a_kill_exactly_the_missing_runs_are_made(done):
    after = stamps(done.folder)
    assert 3 <= len(done.before) < CELLS
    assert (done.result.rows, done.result.failed, len(after)) == (CELLS, 0, CELLS)
    assert {name: after[name] for name in done.before} == done.before
    assert f"{CELLS} runs, {len(done.before)} of them done; 2 workers" in done.said
    left = CELLS - len(done.before)
    assert any(line.startswith(f"{left} of {left} runs,") for line in done.said)


def test_its_folder_holds_what_the_tables_are_made_of(done):
    results = Results(done.folder)
    assert len(results.rows) == CELLS
    for row in results.rows:
        answers = results.responses(row.cell)
        assert len(answers) == SMALL.test_prompts
        assert row.end["reward"]["value"] == pytest.approx(sum(a["reward"] for a in answers) / len(answers))
        assert row.end["length"] == pytest.approx(sum(a["tokens"] for a in answers) / len(answers))
        assert max(a["tokens"] for a in answers) <= SMALL.max_new_tokens
        trained = row.cell.method != "SFT"
        end = row.end
        assert (end["kl"] is not None, end.get("steps", 0) > 0, bool(end.get("history"))) == (trained,) * 3
    assert results.metric("RPO", 1.0, "rougeL").runs == 2
    assert results.metric("RPO", 1.0, "toxicity") is None
    assert results.judged("reward function", Pair("RPO", "KTO")).rate.runs == 2
    partition = results.runs("RPO")[0].end["partition"]
    assert {"level_share_unweighted", "median_log_coverage"} <= set(partition)
    assert results.runs("KTO")[0].end["partition"] is None


def test_the_same_prompts_and_rows_for_all_and_other_answers_by_seed(done):
    results = Results(done.folder)
    world = results.held_out
    assert all([a["prompt"] for a in results.responses(row.cell)] == world["prompts"] for row in results.rows)
    sft = [[a["response"] for a in results.responses(Cell("tiny", "SFT", None, seed))] for seed in range(2)]
    assert sft[0] != sft[1]


def test_its_report_says_what_it_supports(done):
    text = (done.folder / "report.md").read_text(encoding="utf-8")
    assert done.result.said[0] == f"report: {done.folder / 'report.html'}"
    assert "tiny T5: of" in done.result.said[1]
    assert done.result.said[1] in text
    assert "Table III, tiny T5" in text
    assert done.result.page is None


def test_once_done_nothing_is_left_to_do(done):
    before = stamps(done.folder) | stamps(done.folder, "metrics-*/cells") | stamps(done.folder, "judged")
    result, said = done.again()
    after = stamps(done.folder) | stamps(done.folder, "metrics-*/cells") | stamps(done.folder, "judged")
    assert (result.rows, after) == (CELLS, before)
    assert not [line for line in said if "measured by" in line or "min" in line.split()[-1:]]
    assert len(json.loads((done.folder / "notes.json").read_text())["sessions"]) >= 2


@pytest.mark.slow
def test_other_metrics_cost_no_training(copied, tmp_path):
    before = stamps(copied.folder)
    result, said = copied.again(workers=1, metrics="bleu,distinct1", page=str(tmp_path / "paper.md"))
    assert any(line.startswith(f"{CELLS} of {CELLS} runs measured by bleu,distinct1,") for line in said)
    assert stamps(copied.folder) == before
    results = Results(copied.folder)
    assert results.metric("RPO", 1.0, "distinct1").runs == 2
    assert results.metric("RPO", 1.0, "rougeL") is None  # of the settings from before
    assert result.page.exists()


@pytest.mark.parametrize(
    ("options", "scale", "named"),
    [
        ({"decoding": "authors"}, SMALL, "decoding"),
        ({"reward_function": "other:reward"}, SMALL, "reward_function"),
        ({}, replace(SMALL, lr=1e-3), "lr"),
        ({"decoding": "authors"}, replace(SMALL, epochs=2.0), "decoding, epochs"),
    ],
)
def test_another_study_in_its_folder_is_refused(done, options, scale, named):
    settings = done.folder / "world" / "tiny" / "study.json"
    before = settings.read_bytes()
    with pytest.raises(ConfigError, match=f"tiny holds a study that differs in {named}, so it cannot be resumed"):
        study(StudyPaperConfig(**OPTIONS, out=str(done.folder), **options), say=lambda _: None, scales=[scale])
    assert settings.read_bytes() == before


def test_a_study_of_another_kind_is_refused(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"kind": "small"}))
    with pytest.raises(ConfigError, match="differs in kind"):
        study(StudyPaperConfig(**OPTIONS, out=str(tmp_path)), say=lambda _: None, scales=[SMALL])
    assert [file.name for file in tmp_path.iterdir()] == ["study.json"]


def test_more_seeds_and_methods_go_on_with_what_is_there(done):
    options = StudyPaperConfig(**OPTIONS | {"seeds": 3, "methods": "RPO;KTO;DRO"}, out=str(done.folder))
    plan = Plan.of(options, [SMALL])
    plan.setup.claim(SMALL)  # not refused
    assert len(missing(plan.cells, done.folder)) == 3 * (4 + 3) - CELLS


def test_a_run_that_fails_is_a_row_with_its_error_and_is_still_missing(copied):
    """The rows to train on are spoilt while one run is made; those of others are not touched."""
    cell = Cell("tiny", "KTO", 1.0, 1)
    rows = copied.folder / "world" / "tiny" / "train.parquet"
    before = stamps(copied.folder)
    for file in (file_of(cell, copied.folder), responses_file(cell, copied.folder)):
        file.unlink()
    rows.write_bytes(b"no rows")
    result, said = copied.again(workers=1)
    assert (result.rows, result.failed) == (CELLS, 1)
    failed = read_row(cell, copied.folder)
    assert failed.error.startswith("ArrowInvalid: ")
    assert f"failed: {cell.name}: {failed.error}" in said
    listed = (copied.folder / "report.md").read_text(encoding="utf-8")
    assert f"{cell.name}: " in listed
    after = stamps(copied.folder)
    assert {name for name in after if after[name] != before[name]} == {file_of(cell, copied.folder).name}
    options = StudyPaperConfig(**OPTIONS, out=str(copied.folder))
    assert missing(Plan.of(options, [SMALL]).cells, copied.folder) == [cell]


# ------------------------------------------------------------------------------------------------------------- timings


def test_timings_leave_out_the_repetition_that_warms_up(tmp_path, monkeypatch):
    """Four repetitions of six methods at three sizes; the first repetition is not reported."""
    taken: list[int] = []

    def timed(setup, scale, size, width, method, repeat):
        taken.append(repeat)
        return {"repeat": repeat, "method": method}

    monkeypatch.setattr(timing, "_timed", timed)
    rows = timing.timed_runs(TimingCell(), Setup(tmp_path, "data"), SMALL)
    assert taken == sorted([0, 1, 2, 3] * 18)
    assert [row["repeat"] for row in rows] == sorted([1, 2, 3] * 18)


# --------------------------------------------------------------------------------------------------------- slow to run


@pytest.mark.slow
def test_timings_are_of_the_same_steps_for_every_method(done, monkeypatch):
    monkeypatch.setattr(timing, "WIDTHS", {"width 16": 16})
    monkeypatch.setattr(timing, "STEPS", 2)
    setup = Setup(done.folder, "data")
    monkeypatch.setattr(timing, "REPEATS", 2)
    rows = timing.timed_runs(TimingCell(), setup, SMALL)
    first, second = ([row for row in rows if row["repeat"] == repeat] for repeat in (1, 2))
    assert [row["method"] for row in first] == [*timing.TIMED[1:], timing.TIMED[0]]
    assert [row["method"] for row in second] == [*timing.TIMED[2:], *timing.TIMED[:2]]
    for row in (*first, *second):
        assert row["steps"] == 2
        assert min(row["train_seconds"], row["prepare_seconds"]) > 0
    assert len({row["rows"] for row in first}) == 1
    assert len({row["parameters"] for row in first}) == 1, "of the policy, without a value network"


@pytest.mark.slow
def test_a_cell_of_the_scale_smol(tmp_path):
    """SmolLM2 with an adapter: trained, answered, and its KL to the same weights without the adapter."""
    scale = replace(
        SCALES["smol"],
        epochs=1.0,
        train_prompts=2,
        test_prompts=2,
        kl_prompts=1,
        generation_batch=2,
        max_new_tokens=4,
        response_limit=8,
        warmup_steps=0,
    )
    setup = Setup(tmp_path, "data")
    make_world(setup, scale)
    (end,) = measure_cell(Cell("smol", "RPO", 1.0, 0), setup, {"smol": scale})
    assert end["steps"] == 1
    assert end["kl"]["n"] == 1
    assert end["reward"]["n"] == 2
