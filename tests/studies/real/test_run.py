"""The order of the study's runs, and what it refuses before any; nothing is trained here."""

import pytest

from studies.harness.cells import Row, read_rows
from studies.options import StudyRealConfig
from studies.real import run
from studies.real.cells import Cell, tuning_cells
from studies.real.methods import METHODS, settings_of
from studies.real.models import MODELS
from studies.real.records import add_records, restore
from valuefree.errors import ConfigError, DataError

SETTINGS = settings_of(METHODS["rpo"])
REPORTED = ("sentiment", "on-policy", "rpo", *SETTINGS[0], 0, "report")
TITLE = MODELS["smollm2"].title
WORLDS = ("sentiment:on-policy", "reading:thumbs")


def study(tmp_path, **options):
    return run.study(StudyRealConfig(**{"worlds": WORLDS, "out": str(tmp_path)} | options), say=lambda _: None)


def measured(cell):
    """A row in which the second setting of each method is the best by reward, and the first by the log."""
    second = cell.strength in (12.0, 0.1)
    point = {"gains": [0.2 + 0.1 * second, 0.3], "log": {"ranking_accuracy": 0.6 - 0.1 * second}, "texts": ["a", "b"]}
    point["device"] = "a CPU"
    return Row(cell, [point | {"kl": 1.0, "length": 9.0, "distinct": 0.5, "off_task": 0.1}], None, 1.0, 1.0, "abc")


def test_one_world_is_tuned_and_reported_before_the_next(tmp_path, monkeypatch):
    calls = []

    def run_cells(measure, *, cells, named, **_):
        calls.append((named, len(cells), {cell.group[:2] for cell in cells}))
        return [measured(cell) for cell in cells]

    monkeypatch.setattr(run, "run_cells", run_cells)
    readme = tmp_path / "README.md"
    readme.write_text("top\n<!-- real:begin -->\n<!-- real:end -->\n")
    result = study(tmp_path, methods="rpo-auto,rpo,kto", seeds=2, readme=str(readme))
    sentiment, reading = ("sentiment", "on-policy"), ("reading", "thumbs")
    assert calls == [
        ("tuning runs of sentiment, on-policy", 8, {sentiment}),
        ("reported runs of sentiment, on-policy", 2 + 2 + 4 + 4, {sentiment}),  # and as many shuffled of the first
        ("tuning runs of reading, thumbs", 8, {reading}),
        ("reported runs of reading, thumbs", 2 + 2 + 4 + 4, {reading}),
    ]
    text = result.page.read_text()
    assert "sentiment, on-policy" in text
    assert "reading, thumbs" in text
    assert (result.rows, result.failed) == (40, 0)
    assert readme.read_text().splitlines()[2:] == [
        "| method | sentiment, on-policy | reading, thumbs |",
        "|---|---|---|",
        "| rpo-auto | +0.250 [-0.385, +0.885], 1.0 nats | +0.250 [-0.385, +0.885], 1.0 nats |",
        "| rpo | +0.300, 1.0 nats | +0.300, 1.0 nats |",
        "| kto | +0.300, 1.0 nats | +0.300, 1.0 nats |",
        "<!-- real:end -->",
    ]


def planned(tmp_path, cells):
    """What a dry run says of two methods of four settings each, two seeds, when the runs of `cells` are there."""
    said = []
    for cell in cells:
        measured(cell).write(tmp_path)
    options = {"worlds": WORLDS[:1], "methods": "rpo,kto", "shuffled": "none", "seeds": 2, "workers": 2}
    run.study(StudyRealConfig(**options, dry_run=True, out=str(tmp_path)), say=said.append)
    return said[0]


def test_a_dry_run_counts_what_is_left(tmp_path):
    """Tuned, rpo is reported at its second setting by reward and its first by the log: 4 runs, 1 of them there."""
    tuning = tuning_cells([("sentiment", "on-policy", "rpo")], {"rpo": SETTINGS})
    assert planned(tmp_path, tuning[:3]) == (
        "2 groups; to do: 5 of 8 tuning runs, and at least 4 reported runs; about 0.8 core-hours, 2 workers"
    )
    assert planned(tmp_path, [*tuning, Cell(*REPORTED)]) == (
        "2 groups; to do: 4 of 8 tuning runs, and at least 5 reported runs; about 0.8 core-hours, 2 workers"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "gpt"}, "gpt.*smollm2"),
        ({"worlds": ("chess:on-policy",)}, "chess"),
        ({"worlds": ("reading:weekly",)}, "weekly"),
        ({"model": "gemma3"}, "has no rows of gemma3 yet. Run: python -m studies real --sample --model gemma3"),
    ],
)
def test_what_is_not_there_is_named_before_any_run(options, words, tmp_path, monkeypatch):
    monkeypatch.setattr("studies.real.rows.KEPT", tmp_path)
    with pytest.raises(ConfigError, match=words):
        study(tmp_path, **options)


def test_the_page_is_written_again_from_the_records(tmp_path, monkeypatch):
    """Elsewhere, where no run can be carried out, the records give the same page but for its first section."""
    pages = []
    for place in ("here", "elsewhere"):
        folder, page = tmp_path / place, tmp_path / f"{place}.md"
        tuning = tuning_cells([("sentiment", "on-policy", "rpo")], {"rpo": SETTINGS})
        reported = [Cell(*REPORTED[:2], "rpo", *setting, 0, "report") for setting in SETTINGS[:2]]
        for cell in [*tuning, *reported] if place == "here" else ():
            measured(cell).write(folder)
        options = {"worlds": WORLDS[:1], "methods": "rpo", "shuffled": "none", "seeds": 1, "workers": 1}
        study(folder, **options, page=str(page), records=str(tmp_path / "runs.jsonl"))
        results = page.read_text().partition("## What it says")[2].partition("```json")[0]
        pages.append(results.replace(f"({place}/", "("))  # of its figures
    assert pages[0] == pages[1]
    assert "lr 0.0005, target_std 12" in pages[0]
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 6


def test_a_page_of_the_runs_that_are_there_says_what_is_missing(tmp_path):
    """Of two methods with four settings: one is tuned, and has two of the four runs that it is reported by."""
    for cell in tuning_cells([("sentiment", "on-policy", "rpo")], {"rpo": SETTINGS}):
        measured(cell).write(tmp_path)
    for seed in (0, 1):
        measured(Cell(*REPORTED[:3], *SETTINGS[1], seed, "report")).write(tmp_path)
    options = {"worlds": WORLDS[:1], "methods": "rpo,kto", "shuffled": "none", "seeds": 2}
    result = study(tmp_path, **options, page_only=True)
    assert result.rows == 6
    text = result.page.read_text()
    assert (
        "Not finished: 6 of 12 runs are missing: 4 of sentiment, on-policy, kto, tune; "
        "2 of sentiment, on-policy, rpo, report." in text
    )
    assert "| rpo | reward | lr 0.0005, target_std 12 |" in text
    with pytest.raises(ConfigError, match="give one of them"):
        StudyRealConfig(page_only=True, dry_run=True)


def test_an_interrupted_study_keeps_its_runs(tmp_path, monkeypatch):
    def interrupted(measure, *, cells, folder, **_):
        for cell in cells[:3]:
            measured(cell).write(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_cells", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path, methods="rpo", records=str(tmp_path / "runs.jsonl"))
    assert restore(tmp_path / "runs.jsonl", tmp_path / "elsewhere", TITLE) == 3


def test_records_keep_the_runs_of_other_worlds_and_one_text_of_each(tmp_path):
    file = tmp_path / "runs.jsonl"
    first, second = Cell(*REPORTED), Cell("reading", *REPORTED[1:])
    add_records(file, [measured(first), Row(second, None, "ValueError: no", 1.0, 1.0, "abc")], TITLE)
    add_records(file, [measured(second)], TITLE)
    assert restore(file, tmp_path / "other", TITLE) == 2
    assert restore(file, tmp_path / "other", TITLE) == 0
    assert [row.end["texts"] for row in read_rows([first, second], tmp_path / "other")] == [["a"], ["a"]]
    assert read_rows([first], tmp_path / "other")[0].end["gains"] == measured(first).end["gains"]


def test_a_line_of_another_version_is_refused(tmp_path):
    (tmp_path / "runs.jsonl").write_text('{"cell": {"task": "sentiment"}}\n')
    with pytest.raises(DataError, match="no run of this version"):
        restore(tmp_path / "runs.jsonl", tmp_path, TITLE)


def test_runs_of_another_model_are_refused(tmp_path):
    add_records(tmp_path / "runs.jsonl", [measured(Cell(*REPORTED))], "another model")
    with pytest.raises(DataError, match=r"holds runs of another model, and the study is of SmolLM2"):
        study(tmp_path, records=str(tmp_path / "runs.jsonl"))
