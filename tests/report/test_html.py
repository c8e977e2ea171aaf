"""The HTML file: whatever a text holds, it is text; nothing is fetched; the same report gives the same bytes."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from valuefree.report import Completions, Plot, Report, Section, Verdict, write_report
from valuefree.report.html import browsed
from valuefree.report.json_text import embedded


class Elements(HTMLParser):
    """Elements with their attributes, and the text in each script and style."""

    def __init__(self, text):
        super().__init__()
        self.found, self.raw, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.inside = tag in ("script", "style")
        if self.inside:
            self.raw.append("")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.raw[-1] += data

    @property
    def policy(self):
        (policy,) = [attrs["content"] for _, attrs in self.found if "http-equiv" in attrs]
        return policy


def test_hostile_text_makes_no_element(hostile_report, tmp_path):
    """One script of data, one of code, one image (the figure), and no attribute that runs anything."""
    elements = Elements(write_report(hostile_report, tmp_path).read_text("utf-8")).found
    assert [attrs.get("type") for tag, attrs in elements if tag == "script"] == ["application/json", None]
    assert len([tag for tag, _ in elements if tag == "img"]) == 1
    assert not [name for _, attrs in elements for name in attrs if name.startswith("on") or name == "style"]


def test_hostile_text_is_all_there(hostile_report, hostile, tmp_path):
    text = write_report(hostile_report, tmp_path).read_text("utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])
    assert data["systems"] == [hostile, "b"]
    assert data["judges"] == [hostile]
    (entry,) = data["entries"]
    assert entry["prompt"] == entry["reference"] == hostile
    assert entry["answers"] == [[0, hostile], [1, hostile]]
    assert (entry["rewards"], entry["verdicts"]) == ([[0, 1.0]], [[0, 0, 1, "first"]])
    assert html.unescape(re.search("<h1>(.*?)</h1>", text, re.S)[1]) == hostile


@given(st.text(st.characters() | st.sampled_from("<>&/-!\u2028\ud800")))
def test_any_text_comes_back_from_embedded_json(text):
    found = embedded(text)
    assert json.loads(found) == text
    assert not set(found) & set("<>&\u2028\ud800")


def test_embedded_json_holds_nothing_that_ends_a_script_and_loses_nothing():
    value = {
        "a": "</script><!--&\u2028\u2029\ud800 é 漢 \U0001f600",
        "b": [1.5, float("nan"), float("-inf"), None, True],
    }
    text = embedded(value)
    assert not set(text) & set("<>&\u2028\u2029\ud800")
    assert "é 漢" in text
    assert json.loads(text) == {"a": value["a"], "b": [1.5, "nan", "-inf", None, True]}


def test_the_policy_allows_this_script_and_this_style_alone(hostile_report, tmp_path):
    elements = Elements(write_report(hostile_report, tmp_path).read_text("utf-8"))
    style, _, script = elements.raw
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    assert elements.policy == (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; img-src data:; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


def test_without_completions_there_is_no_script(tmp_path):
    text = write_report(Report("t", [], [], [], {}), tmp_path).read_text("utf-8")
    assert "<script" not in text
    assert "script-src 'none'" in Elements(text).policy


def test_nothing_is_fetched(hostile_report, tmp_path):
    """Every address in the page is a place in it or data; the style has none."""
    elements = Elements(write_report(hostile_report, tmp_path).read_text("utf-8"))
    names = ("src", "href", "action", "srcset", "poster", "data")
    addresses = [attrs[name] for _, attrs in elements.found for name in names if name in attrs]
    assert addresses
    assert all(address.startswith(("#", "data:image/")) for address in addresses)
    assert "url(" not in elements.raw[0]
    assert "@import" not in elements.raw[0]


def test_the_same_report_gives_the_same_bytes(tmp_path):
    def write(name):
        figure = Figure()
        figure.add_subplot().scatter([1, 2], [3, 4])
        report = Report(
            "t", ["v"], [Section("s", "S", plots=[Plot("p", "c", figure)])], [Completions("p", {"a": "x"})], {}
        )
        folder = write_report(report, tmp_path / name).parent
        return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    first, second = write("one"), write("two")
    assert first == second
    assert {str(name) for name in first} == {"report.html", "report.md", "figures/p.svg", "figures/p.png"}


def test_a_heavy_figure_is_inlined_as_png(tmp_path):
    figure = Figure()
    figure.add_subplot().scatter(range(20_000), range(20_000))
    report = Report("t", [], [Section("s", "S", plots=[Plot("p", "c", figure)])], [], {})
    assert 'src="data:image/png;base64,' in write_report(report, tmp_path).read_text("utf-8")


def test_half_surrogate_pairs_are_written(tmp_path):
    """A JSON file of outputs can hold them; UTF-8 cannot."""
    report = Report("\ud800", [], [], [Completions("\ud800 p", {"a": "\udc00"})], {})
    text = write_report(report, tmp_path).read_text("utf-8")
    assert "\\ud800 p" in text
    assert "<h1>?</h1>" in text


def test_systems_that_only_a_verdict_names_are_listed():
    """As of a folder of judgements whose answers were not kept."""

    data = browsed([Completions("p", {}, {}, [Verdict("j", "a", "b", "second")])])
    assert (data["systems"], data["entries"][0]["verdicts"]) == (["a", "b"], [[0, 0, 1, "second"]])
