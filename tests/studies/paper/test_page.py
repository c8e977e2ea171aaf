"""The report from a folder made by hand: every table and figure, Table VII's choice, the page and its links."""

import re
from dataclasses import asdict, replace
from functools import partial

import pytest

from studies.paper.answers import preferred, qualitative
from studies.paper.claims import trials_of
from studies.paper.judging import JudgeSpec
from studies.paper.methods import METHODS, temperatures
from studies.paper.page import report_of, write_pages
from studies.paper.published import CLAIMS, CONTRADICTIONS, UNSTATED
from studies.paper.scales import SCALES
from tests.studies.paper.made import STRONG, TINY, WEAK, Made
from valuefree.cli import main as cli

REWARD = JudgeSpec("reward")
PARTITION = {"level_share_unweighted": 0.5, "median_log_coverage": -3.0}


def full(make):
    """A study in which every method has every run, two judges and timings."""
    made = make(methods=list(METHODS), judges=(WEAK,))
    for number, (name, method) in enumerate(METHODS.items()):
        for tau in temperatures(method, made.taus):
            for seed in range(made.seeds):
                rewards = [number + seed + 0.1 * k for k in range(8)]
                metrics = {"bleu": 0.1 + number / 100, "rougeL": 0.2}
                more = {"kl": 1.0, "train_seconds": 2.0, "partition": PARTITION} if method.make else {}
                history = [{"loss": 2.0 - k, "logratio": 0.1 * k, "step": k + 1} for k in range(2)]
                made.cell(name, seed, tau, rewards=rewards, metrics=metrics, history=history, commit="abc", **more)
                if method.rewards and tau in (None, 1.0):
                    made.cell(name, seed, tau, rewards=[0.0] * 8, shuffled=True, **more)
    for judge in (REWARD, WEAK):
        for tau in made.taus:
            made.judged(judge, "RPO", "SFT", [1, 1, 1, 1, 1, 1, 0, 0], tau=tau)
            made.judged(judge, "RPO", "RPO-noNorm", [1, 1, 1, 1, 1, 1, 0, 0], tau=tau)
        for other in ("KTO", "DRO", "SFT-all"):
            made.judged(judge, "RPO", other, [1, 1, 0.5, 1, 1, 1, 0, 0])
        made.judged(judge, "RPO() auto", "RPO", [1] * 8)
    made.timing({name: [2.0, 2.1, 2.2] for name in ("SFT-all", "KTO", "DRO", "DRO-V", "RPO", "RPO() auto")})
    return made


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of the full study."""
    return report_of(full(partial(Made, tmp_path_factory.mktemp("full"))).folder)


def test_the_report_has_every_table_and_figure(report):
    titles = [table.title for section in report.sections for table in section.tables]
    for number in ("II", "III", "IV", "V", "VI"):
        assert titles.count(f"Table {number}, tiny T5") == 1
    assert {"Figure 1: training time", "The methods", "Contradictions", "Not stated", "Drawn at random"} <= set(titles)
    assert {plot.name for plot in report.plots} == {
        *("taus-tiny", "gains-tiny", "frontier-tiny", "curves-tiny", "figure-1"),
    }
    sections = {section.key: section for section in report.sections}
    assert list(sections) == ["overview", "supports", "tables", "beyond", "answers", "time", "paper", "failed"]
    (supports,) = sections["supports"].tables
    assert len(supports.rows) == len(CLAIMS)
    order = [row[0] for row in supports.rows]
    assert order == sorted(order, key=["supported", "contradicted", "undecided", "not tested"].index)
    contradictions, unstated = sections["paper"].tables
    assert (len(contradictions.rows), len(unstated.rows)) == (len(CONTRADICTIONS), len(UNSTATED))
    assert sections["failed"].items == ["None."]
    counted = re.match(r"tiny T5: of (\d+) claims of the paper (\d+) supported, (\d+) contra", report.verdict[0])
    assert tuple(map(int, counted.groups())) == (len(CLAIMS), order.count("supported"), order.count("contradicted"))


def test_the_headline_has_the_gain_and_that_of_shuffled_rewards(report):
    """RPO's rewards exceed those of SFT by 3, its place in the table; the control's are lower than those by 0.85."""
    said = report.verdict
    named = "RPO as published, τ = 1: gain in held-out reward"
    assert f"{named} +3.000 over the reference; with shuffled rewards -0.8" in said[2]
    assert any(sentence.startswith("RPO() auto less RPO as published at τ = 1: +3.000") for sentence in said)


def test_answers_can_be_browsed_with_rewards_and_verdicts(report):
    first, _, third, *_ = report.completions
    assert first.prompt == "prompt 0"
    assert first.reference == "reference of prompt 0"
    assert first.responses["RPO"] == "tiny-RPO-tau1-seed0 answers 0"
    assert first.rewards["RPO"] == 3.0
    assert "reward function, RPO against KTO: RPO wins" in map(str, first.verdicts)
    assert "weak (loaded here), RPO against DRO: neutral" in map(str, third.verdicts)


def test_verdicts_of_another_seed_are_not_shown_beside_the_first_seeds_answers(make):
    made = make()
    made.cell("KTO", 0)
    made.cell("RPO", 0, error="RuntimeError: no memory")
    made.cell("RPO", 1)
    made.judged(WEAK, "RPO", "KTO", [1] * 8, seed=1)
    assert [entry.verdicts for entry in report_of(made.folder).completions] == [()] * 8


def test_failed_runs_are_listed_with_their_error(make):
    made = full(make)
    made.cell("KTO", 1, error="RuntimeError: out of memory")
    made.cell("DRO-V", 0, None, shuffled=True, error="ValueError: no value")
    trial = next(trial for trial in trials_of() if trial.experiment == "tuning")
    made.row(trial, None, "ValueError: no rows", folder="claims")
    (section,) = [section for section in report_of(made.folder).sections if section.key == "failed"]
    assert section.items == [
        "tiny-KTO-tau1-seed1: RuntimeError: out of memory",
        "tiny-DRO-V-seed0-shuffled: ValueError: no value",
        f"{trial.name}: ValueError: no rows",
    ]
    assert section.title.startswith("Runs that failed: 3 of ")


def test_a_study_in_which_everything_failed_has_a_report(make, tmp_path):
    made = make(seeds=1)
    for name in made.methods:
        for tau in temperatures(METHODS[name], made.taus):
            made.cell(name, 0, tau, error="OSError: disk full")
    html, page, _ = write_pages(made.folder, tmp_path / "pages" / "paper.md")
    assert html.exists()
    assert page.read_text().count("OSError: disk full") == 1 + 4 * 3


def test_the_page_links_to_figures_that_exist(make, tmp_path):
    made = full(make)
    page = tmp_path / "docs" / "results" / "paper.md"
    html, written, said = write_pages(made.folder, page)
    assert (html, written) == (made.folder / "report.html", page)
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text)
    assert len(links) == 5
    for link in links:
        assert link.startswith("paper/")
        assert (page.parent / link).stat().st_size > 1000
    assert (page.parent / "paper" / "report.html").read_bytes() == html.read_bytes()
    assert said
    assert all(sentence.split(":")[0] in text for sentence in said)


def test_no_page_is_written_unless_asked_and_a_report_goes_over_what_is_there(make, tmp_path):
    made = make()
    made.cell("RPO", 0)
    write_pages(made.folder, None)
    before = (made.folder / "report.md").read_bytes()
    _, page, _ = write_pages(made.folder, None)
    assert (made.folder / "report.md").read_bytes() == before
    assert page is None
    assert (made.folder / "report.md").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_the_verb_report_reads_the_folder(make, tmp_path, capsys):
    made = make()
    made.judged(WEAK, "RPO", "SFT", [1] * 8)
    cli.run(["report", str(made.folder), "--out", str(tmp_path / "again")])
    assert "report" in capsys.readouterr().out
    assert "Table III, tiny T5" in (tmp_path / "again" / "report.md").read_text(encoding="utf-8")


def test_sizes_stand_apart(make):
    """Two scales: sections and figures of each, beside the published numbers of its own size."""
    made = make(methods=("SFT", "RPO"), seeds=1)
    other = replace(SCALES["large"], test_prompts=8)
    for scale in (other, TINY):
        made.scale = scale
        made.cell("SFT", 0, None, rewards=[0.0] * 8)
        made.cell("RPO", 0, rewards=[1.0] * 8, kl=1.0)
        made.note(scales=[asdict(TINY), asdict(other)])
    report = report_of(made.folder)
    tables = {table.title: table for section in report.sections for table in section.tables}
    assert tables["Table II, tiny T5"].head[3] == "paper, Small"
    assert "for orientation" in tables["Table II, tiny T5"].note
    assert tables["Table II, Flan-T5 Large"].head[3] == "paper, Large"
    assert "the same model and data" in tables["Table II, Flan-T5 Large"].note
    assert {"supports-tiny", "supports-large"} <= {section.key for section in report.sections}
    assert {"gains-tiny", "gains-large"} <= {plot.name for plot in report.plots}


# ---------------------------------------------------------------------------------------------------------- table VII


def answered(make, **options):
    made = make(**options)
    for name in ("KTO", "DRO", "RPO"):
        made.cell(name, 0)
    return made


def test_table_seven_takes_prompts_at_which_every_judge_prefers_rpo_to_both(make):
    made = answered(make, judges=(WEAK, STRONG))
    made.judged(WEAK, "RPO", "DRO", [1, 1, 1, 0, 0.5, 1, 1, 1])
    made.judged(WEAK, "RPO", "KTO", [1, 1, 0, 1, 1, 1, 1, 1])
    made.judged(STRONG, "RPO", "DRO", [1, 1, 1, 1, 1, 1, 1])  # sees seven prompts
    made.judged(STRONG, "RPO", "KTO", [1, 0, 1, 1, 1, 1, 1])
    assert preferred(made.results) == ([0, 5, 6], 7)
    section = qualitative(made.results, "", "")
    chosen, drawn = section.tables
    assert chosen.head == ["prompt", "RPO", "DRO", "KTO"]
    assert [row[0] for row in chosen.rows] == ["prompt 0", "prompt 5", "prompt 6"]
    assert chosen.rows[0][1:] == [f"tiny-{name}-tau1-seed0 answers 0" for name in ("RPO", "DRO", "KTO")]
    assert len(drawn.rows) == 5
    assert len({row[0] for row in drawn.rows}) == 5
    assert "3 of 7 prompts that all judges judged" in section.paragraphs[0]


def test_the_draw_does_not_depend_on_the_verdicts(make):
    made = answered(make)
    (before,) = qualitative(made.results, "", "").tables
    made.judged(WEAK, "RPO", "DRO", [1] * 8)
    made.judged(WEAK, "RPO", "KTO", [1] * 8)
    chosen, after = qualitative(made.results, "", "").tables
    assert after == before
    assert len(chosen.rows) == 5  # of eight, the first


def test_without_verdicts_on_both_baselines_nothing_is_chosen(make):
    made = answered(make)
    assert preferred(made.results) == ([], 0)
    made.judged(WEAK, "RPO", "DRO", [1] * 8)
    assert preferred(made.results) == ([], 0)  # nothing is known of KTO


def test_without_answers_of_rpo_there_is_no_table_seven(make):
    made = make()
    made.cell("KTO", 0)
    made.cell("RPO", 0, error="no")
    assert qualitative(made.results, "", "") is None
