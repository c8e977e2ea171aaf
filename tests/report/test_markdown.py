"""The Markdown file, read back by markdown-it: every text comes out as the text it was."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from valuefree.report import Completions, Plot, Report, Section, Table, Verdict, write_report
from valuefree.report.markdown import escape, escape_cell

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def text_of(markdown):
    """Of each leaf of text: what is shown. Fails on anything but plain text in a paragraph."""
    tokens = READER.parse(markdown)
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"], tokens
    kinds = {child.type for child in tokens[1].children}
    assert kinds <= {"text", "text_special"}, kinds
    return "".join(child.content for child in tokens[1].children)


@given(st.text(alphabet="ab1 _*`<>[]()!#+-=.:|~\\&;$\"'^xX/\t", min_size=1))
@example("1. a")
@example("12) a")
@example("- a")
@example("+ a")
@example("# a")
@example("===")
@example("---")
@example("[a]: http://x")
@example("[a](http://x) ![b](y)")
@example("<b>&lt;b&gt;</b> &#60;")
@example("a_b_c _d_ __e__ ~~f~~ ``g``")
def test_a_text_is_shown_as_it_is(text):
    if text.split():
        assert text_of(escape(text)) == " ".join(text.split())


@given(st.text(alphabet="ab _*`<>[]()|~\\&;$\n-:", min_size=1))
@example("a|b\nc|d")
@example("\\|")
def test_a_cell_is_shown_as_it_is_and_ends_no_row(text):
    markdown = f"| h | k |\n|---|---|\n| {escape_cell(text)} | end |"
    tokens = READER.parse(markdown)
    cells = [token for token in tokens if token.type == "inline"][2:]
    assert len(cells) == 2
    shown = "".join("\n" if child.type == "html_inline" else child.content for child in cells[0].children)
    assert {child.content for child in cells[0].children if child.type == "html_inline"} <= {"<br>"}
    expected = [line.strip() for line in text.strip().splitlines()]
    assert [line.strip() for line in shown.split("\n")] == (expected or [""])
    assert cells[1].content == "end"


def test_hostile_text_makes_no_element(hostile_report, tmp_path):
    """No HTML but line breaks in cells; no image but the figure; no link but to its files."""
    text = write_report(hostile_report, tmp_path).with_suffix(".md").read_text("utf-8")
    tokens = [child for token in READER.parse(text) for child in [token, *(token.children or [])]]
    assert {token.content for token in tokens if token.type in ("html_inline", "html_block")} <= {"<br>"}
    assert [token.attrs["src"] for token in tokens if token.type == "image"] == ["figures/line.svg"]
    links = [token.attrs["href"] for token in tokens if token.type == "link_open"]
    assert links == ["figures/line.svg", "figures/line.png"]


def test_figures_are_linked_where_they_are(hostile_report, tmp_path):
    file = write_report(hostile_report, tmp_path, name="study").with_suffix(".md")
    assert file.name == "study.md"
    targets = re.findall(r"\]\((figures/[^)]+)\)", file.read_text("utf-8"))
    assert len(targets) == 3
    assert all((tmp_path / target).is_file() for target in targets)


def test_a_few_completions_stand_side_by_side_and_the_rest_is_counted(tmp_path):
    entries = [
        Completions(f"prompt {n}", {"a": "x" * 700, "b": "short"}, {"a": 0.5}, [Verdict("j", "a", "b", "neutral")])
        for n in range(7)
    ]
    text = write_report(Report("t", ["first", "second"], [], entries, {}), tmp_path).with_suffix(".md").read_text()
    assert "> first\n>\n> second" in text
    assert "| prompt | a (reward 0.500) | b |" in text
    assert f"| prompt 4 | {'x' * 600}… (700 characters) | short |" in text
    assert "prompt 5 |" not in text
    assert "The HTML file contains all 7, with a search." in text
    assert "- j, a against b: neutral" in text


def test_sections_tables_and_manifest(tmp_path):
    figure = Figure()
    figure.add_subplot().plot([1])
    table = Table("Rates", ["a", "b"], [["1", "[0.1, 0.2]"]], "A note.")
    section = Section("one", "One", ["Words."], ["item"], [table], [Plot("p", "A plot", figure)])
    manifest = {"seed": 1, "level": float("inf"), "text": "```"}
    text = write_report(Report("T", [], [section], [], manifest), tmp_path).with_suffix(".md").read_text()
    assert (
        "# T\n\n## One\n\nWords.\n\n- item\n\n### Rates\n\n| a | b |\n|---|---|\n| 1 | [0.1, 0.2] |\n\nA note." in text
    )
    assert "![A plot](figures/p.svg)" in text
    assert '````json\n{\n  "seed": 1,\n  "level": "inf",\n  "text": "```"\n}\n````' in text


@pytest.mark.parametrize("text", ["[!NOTE] x", "[^1] x", "[ ] x", "[x] x"])
def test_no_alert_footnote_or_task_opens(text):
    """GitHub's own, which the reader above does not know."""
    assert escape(text).startswith("\\[")
