"""The whole study on a very small scale: killed and gone on with, a run that fails, another choice of metrics."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from studies.harness.pool import WorkerDied
from studies.options import StudyPaperConfig
from studies.paper import run, timing
from studies.paper.cells import Cell, Pair, Row
from studies.paper.results import Results
from studies.paper.run import Plan, StudyResult, study
from studies.paper.scales import SCALES
from studies.paper.training import run_cell
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


def test_after_a_kill_exactly_the_missing_runs_are_made(done):
    after = stamps(done.folder)
    assert 3 <= len(done.before) < CELLS
    assert (done.result.rows, done.result.failed, len(after)) == (CELLS, 0, CELLS)
    assert {name: after[name] for name in done.before} == done.before
    assert f"{CELLS} runs, {len(done.before)} of them done; 2 workers" in done.said
    left = CELLS - len(done.before)
    assert any(line.startswith(f"{left} of {left} runs") for line in done.said)


def test_its_folder_holds_what_the_tables_are_made_of(done):
    results = Results(done.folder)
    assert len(results.rows) == CELLS
    for row in results.rows:
        answers = results.responses(row.cell)
        assert len(answers) == SMALL.test_prompts
        assert row.reward["value"] == pytest.approx(sum(a["reward"] for a in answers) / len(answers))
        assert row.length == pytest.approx(sum(a["tokens"] for a in answers) / len(answers))
        assert max(a["tokens"] for a in answers) <= SMALL.max_new_tokens
        trained = row.cell.method != "SFT"
        assert (row.kl is not None, row.steps > 0, bool(row.history)) == (trained,) * 3
    assert results.metric("RPO", 1.0, "rougeL").runs == 2
    assert results.metric("RPO", 1.0, "toxicity") is None
    assert results.judged("reward function", Pair("RPO", "KTO")).rate.runs == 2
    partition = results.runs("RPO")[0].partition
    assert {"level_share_unweighted", "median_log_coverage"} <= set(partition)
    assert results.runs("KTO")[0].partition is None


def test_the_same_prompts_and_rows_for_all_and_other_answers_by_seed(done):
    results = Results(done.folder)
    world = results.held_out
    assert all([a["prompt"] for a in results.responses(row.cell)] == world["prompts"] for row in results.rows)
    sft = [[a["response"] for a in results.responses(Cell("tiny", "SFT", None, seed))] for seed in range(2)]
    assert sft[0] != sft[1]


def test_its_report_says_what_it_supports(done):
    text = done.result.report.with_suffix(".md").read_text(encoding="utf-8")
    assert "tiny T5: of" in done.result.findings[0]
    assert done.result.findings[0] in text
    assert "Table III, tiny T5" in text
    assert done.result.page is None


def test_once_done_nothing_is_left_to_do(done):
    before = stamps(done.folder) | stamps(done.folder, "metrics") | stamps(done.folder, "judged")
    result, said = done.again()
    after = stamps(done.folder) | stamps(done.folder, "metrics") | stamps(done.folder, "judged")
    assert (result.rows, after) == (CELLS, before)
    assert not [line for line in said if "metrics of" in line or "min" in line.split()[-1:]]
    assert len(json.loads((done.folder / "study.json").read_text())["sessions"]) >= 2


def test_other_metrics_cost_no_training(copied, tmp_path):
    before = stamps(copied.folder)
    result, said = copied.again(workers=1, metrics="bleu,distinct1", page=str(tmp_path / "paper.md"))
    assert f"metrics of {CELLS} runs: bleu,distinct1" in said
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
        ({}, replace(SMALL, lr=1e-3), "tiny lr"),
        ({"decoding": "authors"}, replace(SMALL, epochs=2.0), "decoding, tiny epochs"),
    ],
)
def test_another_study_in_its_folder_is_refused(done, options, scale, named):
    before = (done.folder / "settings.json").read_bytes()
    with pytest.raises(ConfigError, match=f"differs in {named}, so its runs"):
        study(StudyPaperConfig(**OPTIONS, out=str(done.folder), **options), say=lambda _: None, scales=[scale])
    assert (done.folder / "settings.json").read_bytes() == before


def test_a_study_of_another_kind_is_refused(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"kind": "small"}))
    with pytest.raises(ConfigError, match="holds another study"):
        study(StudyPaperConfig(**OPTIONS, out=str(tmp_path)), say=lambda _: None, scales=[SMALL])
    assert [file.name for file in tmp_path.iterdir()] == ["study.json"]


def test_more_seeds_and_methods_go_on_with_what_is_there(done):
    options = StudyPaperConfig(**OPTIONS | {"seeds": 3, "methods": "RPO;KTO;DRO"}, out=str(done.folder))
    plan = Plan.of(options, [SMALL])
    run._claim(plan)  # not refused
    assert len(run.missing(plan.cells, done.folder)) == 3 * (4 + 3) - CELLS


def test_a_run_that_fails_is_a_row_with_its_error_and_is_still_missing(copied):
    """The rows to train on are spoilt while one run is made; those of others are not touched."""
    cell = Cell("tiny", "KTO", 1.0, 1)
    rows = copied.folder / "world" / "tiny" / "train.parquet"
    before = stamps(copied.folder)
    for file in (cell.file(copied.folder), cell.file(copied.folder, "responses", "jsonl")):
        file.unlink()
    rows.write_bytes(b"no rows")
    result, said = copied.again(workers=1)
    assert (result.rows, result.failed) == (CELLS, 1)
    failed = Row.read(cell.file(copied.folder))
    assert failed.error.startswith("pyarrow.lib.ArrowInvalid: ")
    assert f"failed: {cell.name}: {failed.error}" in said
    listed = result.report.with_suffix(".md").read_text(encoding="utf-8")
    assert f"{cell.name}: " in listed
    after = stamps(copied.folder)
    assert {name for name in after if after[name] != before[name]} == {cell.file(copied.folder).name}
    options = StudyPaperConfig(**OPTIONS, out=str(copied.folder))
    assert run.missing(Plan.of(options, [SMALL]).cells, copied.folder) == [cell]


# --------------------------------------------------------------------------------------------- workers that do not end


class Here:
    """In place of worker processes: carries tasks out in this one; None in place of a task is a worker that died."""

    def __init__(self, died: tuple[int, ...] = ()):
        self.died = died

    def run(self, tasks):
        for number, (function, arguments) in enumerate(tasks):
            yield number, WorkerDied("killed") if number in self.died else function(*arguments)


def test_a_worker_that_dies_is_a_row(tmp_path):
    plan = Plan.of(StudyPaperConfig(**OPTIONS, out=str(tmp_path)), [SMALL])
    said: list[str] = []
    (first, *rest) = plan.cells
    for cell in rest:
        Row(cell).write(tmp_path)
    rows = run._run_cells(plan, [first], Here(died=(0,)), said.append)
    assert [row.error for row in rows if row.error] == ["WorkerDied: killed"]
    assert said[0] == f"failed: {first.name}: WorkerDied: killed"
    assert len(rows) == CELLS


def test_a_world_whose_maker_died_ends_the_study():
    with pytest.raises(WorkerDied, match="killed"):
        run._whole(Here(died=(1,)).run([(len, ("a",)), (len, ("ab",))]))
    assert run._whole(iter([(1, "b"), (0, "a")])) == ["a", "b"]


def test_a_claim_that_fails_leaves_its_error_and_is_measured_again(tmp_path, monkeypatch):
    broken = True

    def rows(number):
        if number == 1 and broken:
            raise ValueError("no optimum")
        return [{"number": number}]

    monkeypatch.setattr(run, "claim_tasks", lambda scale: [(f"claim {n}", rows, (n,)) for n in range(3)])
    said: list[str] = []
    run._run_claims(tmp_path, Here(died=(2,)), said.append)
    assert said == [
        "3 of 3 runs behind Table I and section VI",
        "failed: claim 1: ValueError: no optimum",
        "failed: claim 2: killed",
    ]
    assert (tmp_path / "claims" / "claim 1.failed").read_text() == "ValueError: no optimum"
    broken = False
    run._run_claims(tmp_path, Here(), said.append)
    assert said[3] == "2 of 3 runs behind Table I and section VI"
    assert sorted(file.name for file in (tmp_path / "claims").iterdir()) == [f"claim {n}.json" for n in range(3)]


def test_timings_leave_out_the_repetition_that_warms_up_and_are_taken_once(tmp_path, monkeypatch):
    taken: list[int] = []

    def rows(setup, scale, repeat):
        taken.append(repeat)
        return [{"repeat": repeat, "scale": scale.name}]

    monkeypatch.setattr(run, "timed_runs", rows)
    monkeypatch.setattr(run, "Workers", lambda count: nullcontext(Here()))
    plan = Plan.of(StudyPaperConfig(**OPTIONS, out=str(tmp_path)), [SCALES["small"], SMALL])
    for _ in range(2):
        run._time(plan, lambda _: None)
    assert taken == [0, 1, 2, 3]
    assert json.loads((tmp_path / "timing.json").read_text()) == [{"repeat": n, "scale": "tiny"} for n in (1, 2, 3)]
    (tmp_path / "timing.json").unlink()
    run._time(replace(plan, scales=[SCALES["small"]]), lambda _: None)  # timed at the tiny scale alone
    assert len(taken) == 4
    monkeypatch.setattr(run, "Workers", lambda count: nullcontext(Here(died=(2,))))
    with pytest.raises(WorkerDied):
        run._time(plan, lambda _: None)
    assert not (tmp_path / "timing.json").exists()


# --------------------------------------------------------------------------------------------------------- slow to run


@pytest.mark.slow
def test_timings_are_of_the_same_steps_for_every_method(done, monkeypatch):
    monkeypatch.setattr(timing, "WIDTHS", {"width 16": 16})
    monkeypatch.setattr(timing, "STEPS", 2)
    setup = Setup(done.folder, "data")
    first, second = (timing.timed_runs(setup, SMALL, repeat) for repeat in range(2))
    assert [row["method"] for row in first] == list(timing.TIMED)
    assert [row["method"] for row in second] == [*timing.TIMED[1:], timing.TIMED[0]]
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
    row = run_cell(Cell("smol", "RPO", 1.0, 0), setup, scale, None)
    assert row.error is None
    assert row.steps == 1
    assert row.kl["n"] == 1
    assert row.reward["n"] == 2
