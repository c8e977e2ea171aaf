"""`valuefree report` as people call it, on folders that `valuefree judge` made."""

import json
import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from studies.paper.page import report_of
from valuefree.cli import main as cli
from valuefree.cli.commands.report import READERS, write
from valuefree.cli.options.report import ReportConfig
from valuefree.errors import ConfigError, DataError, JudgeError
from valuefree.report import Report, read_report

JUDGES = """
from valuefree.errors import JudgeError

def length(prompts, responses):
    return [len(text) for text in responses]

def brief(prompts, responses):
    return [-len(text) for text in responses]

def first(question):
    return "A"

def sometimes(question):
    if "question 4" in question:
        raise JudgeError("overloaded")
    return "Neutral"
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with three systems' outputs, each twice to the same prompt, and a module of judges."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report_judges.py").write_text(JUDGES)
    for name, extra in (("long", 5), ("mid", 3), ("short", 1)):
        rows = [{"prompt": f"question {i // 2}", "response": name[0] * (extra + i)} for i in range(12)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    yield tmp_path
    sys.modules.pop("report_judges", None)


def judged(out, *arguments, systems=("long", "short")):
    files = [f"{name}.jsonl" for name in systems]
    cli.run(["judge", *files, *arguments, "--out", out])


def test_two_judges_stand_beside_each_other(here, capsys):
    judged("one", "--reward-function", "report_judges:length")
    judged("two", "--reward-function", "report_judges:brief", "--agreement", "one")
    cli.run(["report", "one", "two", "--out", "both"])
    assert "report: both/report.html\nfor a repository: both/report.md" in capsys.readouterr().out
    report = read_report([here / "one", here / "two"])
    assert report.verdict == [
        "report_judges:length: long against short: win rate 100.0% [54.1%, 100.0%] over 6 prompts "
        "(sign test p = 0.0312); this judge prefers long.",
        "report_judges:brief: long against short: win rate 0.0% [0.0%, 45.9%] over 6 prompts "
        "(sign test p = 0.0312); this judge prefers short.",
    ]
    assert len(report.completions) == 12
    for number, entry in enumerate(report.completions):
        assert entry.prompt == f"question {number // 2}"
        assert dict(entry.responses) == {"long": "l" * (5 + number), "short": "s" * (1 + number)}
        assert [(v.judge, v.outcome) for v in entry.verdicts] == [
            ("report_judges:length", "first"),
            ("report_judges:brief", "second"),
        ]
    preferences = report.sections[0]
    assert preferences.tables[0].rows[0][2:] == [
        "100.0% [54.1%, 100.0%]",
        "6",
        "0.0312",
    ]
    assert preferences.tables[1].rows[0] == [
        "report_judges:length",
        "long over short",
        "12 (0)",
        "0 (0)",
        "0",
        "0",
        "0",
    ]
    assert preferences.tables[2].rows[0][:4] == ["report_judges:brief", "one", "12", "0.0%"]


def test_what_a_judge_cannot_decide_is_told_apart(here):
    """A judge that always picks the place disagrees with itself; one that fails leaves its pairs unjudged."""
    judged("place", "--judge", "report_judges:first")
    place = read_report([here / "place"])
    assert {v.outcome for entry in place.completions for v in entry.verdicts} == {"disagree"}
    assert place.verdict[0].endswith("shows no preference. Of 12 pairs 12 change the winner with the order.")
    with pytest.raises(JudgeError, match="4 calls without an answer"):
        judged("failing", "--judge", "report_judges:sometimes")
    report = read_report([here / "failing"])
    assert report.verdict[0].endswith("shows no preference. Of 12 pairs 2 have no verdict.")
    outcomes = [entry.verdicts[0].outcome for entry in report.completions]
    assert outcomes == ["neutral"] * 8 + ["unjudged"] * 2 + ["neutral"] * 2
    assert report.sections[0].items == ["report_judges:sometimes: 4 calls have no answer."]
    assert report.sections[1].items == ["report_judges:sometimes, no verdict, the judge gave no answer: 4"]


def test_an_arena_is_ranked_and_metrics_are_tabled(here):
    systems = ("short", "long", "mid")
    arguments = ["--reward-function", "report_judges:length", "--arena", "--metrics", "distinct1"]
    judged("arena", *arguments, systems=systems)
    report = read_report([here / "arena"])
    assert [section.key for section in report.sections] == ["preferences", "care", "metrics", "ranking"]
    assert [row[0] for row in report.sections[3].tables[0].rows] == ["long", "mid", "short"]
    assert [row[0] for row in report.sections[2].tables[0].rows] == list(systems)
    assert len(report.completions[0].verdicts) == 3


def test_runs_of_a_system_are_separate_entries(here):
    cli.run(["judge", "x=long.jsonl,mid.jsonl", "y=short.jsonl", "--judge", "report_judges:first", "--out", "runs"])
    report = read_report([here / "runs"])
    assert [sentence.split(": ")[1] for sentence in report.verdict] == ["x against y, run 0", "x against y, run 1"]
    assert len(report.completions) == 24
    assert {entry.responses["x"][0] for entry in report.completions} == {"l", "m"}


def test_verdicts_are_shown_where_answers_were_not_kept(here):
    judged("one", "--reward-function", "report_judges:length")
    (here / "one" / "completions.jsonl").unlink()
    report = read_report([here / "one"])
    assert len(report.completions) == 12
    assert not any(entry.responses for entry in report.completions)
    assert any("answers are not in the folder" in item for item in report.sections[0].items)


def test_training_and_judging_make_one_report(here, trained):
    rows = [{"prompt": prompt, "response": "theirs"} for prompt in "pq"]
    (here / "mine.jsonl").write_text("\n".join(json.dumps(row | {"response": "mine"}) for row in rows))
    (here / "theirs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    judged("one", "--reward-function", "report_judges:length", systems=("mine", "theirs"))
    report = read_report([trained(), here / "one"])
    assert [section.key for section in report.sections][-2:] == ["preferences", "care"]
    assert list(report.completions[0].responses) == ["policy", "reference", "mine", "theirs"]
    assert len(report.completions) == 2


def registered(monkeypatch, **readers):
    """Make `readers` the only registered readers of studies."""

    class Entry:
        def __init__(self, name, reader):
            self.name, self.reader = name, reader

        def load(self):
            if isinstance(self.reader, Exception):
                raise self.reader
            return self.reader

    entries = [Entry(name, reader) for name, reader in readers.items()]
    monkeypatch.setattr("valuefree.cli.commands.report.entry_points", lambda group: entries)


def test_the_reader_of_papers_study_is_registered():
    (entry,) = entry_points(group=READERS, name="paper")
    assert entry.value == "studies.paper.page:report_of"
    assert entry.load() is report_of


def test_a_study_is_read_by_the_reader_registered_for_its_kind(here, monkeypatch):
    folder = here / "study"
    folder.mkdir()
    (folder / "study.json").write_text('{"kind": "paper"}')
    asked = []

    def reader(path):
        asked.append(path)
        return Report("The study", [], [], [], {})

    registered(monkeypatch, paper=reader)
    file = write(ReportConfig(runs=("study",)))
    assert file.read_text().count("<h1>The study</h1>") == 1
    assert [str(path) for path in asked] == ["study"]
    registered(monkeypatch, exact=reader)
    with pytest.raises(DataError, match=r"study\.json is of kind 'paper'; kinds with a report: exact"):
        write(ReportConfig(runs=("study",)))
    registered(monkeypatch, paper=ModuleNotFoundError("No module named 'studies'", name="studies"))
    with pytest.raises(DataError, match="studies cannot be imported: studies are not part of the installed package"):
        write(ReportConfig(runs=("study",)))
    with pytest.raises(ConfigError, match="study is a study, which has a report of its own; name it alone"):
        write(ReportConfig(runs=("study", "run"), out="x"))
    (folder / "study.json").write_text("[]")
    with pytest.raises(DataError, match="expected an object with the kind of the study"):
        write(ReportConfig(runs=("study",)))


def test_the_example_of_the_documentation_runs(here, capsys):
    page = Path(__file__).parents[2] / "docs" / "report.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(code, str(page), "exec"), {})
    assert capsys.readouterr().out == "my-report/report.html\n"
    assert "my judge, ours against theirs: ours wins" in (here / "my-report" / "report.md").read_text()


def test_the_report_of_one_run_goes_into_its_folder(trained, capsys):
    run = trained()
    cli.run(["report", str(run)])
    assert f"report: {run / 'report.html'}" in capsys.readouterr().out
    assert (run / "report.md").exists()
    assert (run / "figures" / "gains.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "no run; give at least one folder|missing: runs"), (["a", "b"], "2 runs and no --out")],
)
def test_what_is_missing_is_said(arguments, words):
    with pytest.raises(ConfigError, match=words):
        cli.run(["report", *arguments])
