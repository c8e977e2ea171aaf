"""The paper's numbers as data: each against the printed one, and each count that the contradictions state.

``printed.tsv`` has the numbers of Tables II to VI as the paper prints them, and the number of words in the answers of
Table VII. It was made from the paper's text, independently of the study's data. Where the text lies beside the
repository, the fixture and the quotations are compared with it.
"""

import csv
import hashlib
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from studies.paper.published import (
    BASELINES,
    CLAIMS,
    CONTRADICTIONS,
    EXAMPLES,
    METRICS,
    NUMBERS,
    SETTINGS,
    SIZES,
    TABLE_I,
    TABLES,
    UNSTATED,
    published,
)
from studies.paper.scales import SCALES
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.registry import METRICS as OURS
from valuefree.evaluation.metrics.registry import names_in

PAPER = Path(__file__).parents[4] / "shared" / "paper-reward-partitioning.txt"
beside_the_paper = pytest.mark.skipif(not PAPER.exists(), reason="the paper is not at hand")
JUDGES = ("Mistral", "LLaMA")
PARTS = dict(zip(JUDGES, "ab", strict=True))
METHODS, VARIANTS, TAUS = ("KTO", "DRO", "RPO"), ("RPO", "RPO-noNorm"), (0.1, 1.0, 5.0)


def facts() -> dict[str, dict[tuple[str, str], str]]:
    """Table → (row, column) → as it is printed; from the fixture."""
    found: dict[str, dict[tuple[str, str], str]] = {}
    with Path(__file__).with_name("printed.tsv").open(encoding="utf-8") as lines:
        for line in csv.DictReader(lines, delimiter="\t"):
            found.setdefault(line["table"], {})[line["row"], line["column"]] = line["printed"]
    return found


def text() -> str:
    return PAPER.read_text(encoding="utf-8")


def value(table, row, column) -> float:
    return published(table, row, column).value


# --------------------------------------------------------------------------------------------- against the paper's text


def printed_tables() -> dict[str, list[list[str]]]:
    """Table → rows of cells: lines with tabs belong to the caption, or to the part (a), (b), that follows them."""
    found: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    parts: list[list[list[str]]] = []
    for line in text().splitlines():
        caption = re.match(r"TABLE ([IV]+):", line)
        if "\t" in line:
            rows.append(line.strip().split("\t"))
        elif re.match(r"\([ab]\) Judgment by", line):
            parts.append(rows)
            rows = []
        elif caption and parts:
            assert len(parts) == 2
            assert not rows
            found |= {caption[1] + letter: part for letter, part in zip("ab", parts, strict=True)}
            parts = []
        elif caption:
            found[caption[1]] = rows
            rows = []
    return found


def labelled(table: str) -> dict[tuple[str, str], str]:
    """(row, column) → printed cell, the headers of the text put together here."""
    rows = printed_tables()[table]
    if table in ("II", "V"):
        spans = [" ".join(cell.split()) for cell in rows[0] if cell.strip()]
        if table == "II":
            heads = [f"{method.replace('кто', 'KTO')} {size}" for method in spans[1:] for size in SIZES]
            body = rows[2:]
        else:
            taus = [re.sub(r"[^\d.]", "", cell).strip(".") for cell in rows[1] if cell.strip()]
            heads = [f"{spans[i // 3]} {tau} {size}" for i, tau in enumerate(taus) for size in SIZES]
            body = rows[3:]
    else:
        heads = [re.sub(r"^.*=\s*", "", cell).replace("КТО", "KTO").strip() for cell in rows[0][1:] if cell.strip()]
        body = rows[1:]
    found = {}
    for name, *cells in body:
        row = next((m.name for m in METRICS if re.sub(r"\W", "", name).startswith(re.sub(r"\W", "", m.name))), name)
        found |= {(row, head): cell for head, cell in zip(heads, cells, strict=True)}
    return found


@pytest.mark.parametrize("table", TABLES)
def test_every_number_is_the_one_printed_and_none_is_missing(table):
    ours = {(cell.row, cell.column): (cell.value, cell.deviation) for cell in NUMBERS if cell.table == table}
    printed = {}
    for key, cell in facts()[table].items():
        first, _, second = cell.partition("±")
        printed[key] = (float(first), float(second) if second else None)
    assert ours == printed


def test_the_words_of_the_examples_are_those_counted_in_table_seven():
    counted = facts()["VII"]
    assert len(counted) == 3 * len(EXAMPLES) == 30
    for number, words in enumerate(EXAMPLES.values(), start=1):
        assert words == {name: int(counted[f"prompt {number}", f"words of {name}"]) for name in ("RPO", "DRO", "KTO")}


@beside_the_paper
@pytest.mark.parametrize("table", TABLES)
def test_the_fixture_is_the_text(table):
    assert facts()[table] == {key: " ".join(cell.split()) for key, cell in labelled(table).items()}


@beside_the_paper
def test_table_one_is_the_one_printed():
    def letters(*cells: str) -> list[str]:
        return [re.sub(r"[^A-Za-z,]|phi", "", cell) for cell in cells]

    printed = [letters(*row) for row in printed_tables()["I"] if row[0] != "Property"]
    assert printed == [letters(name, *pair) for name, pair in TABLE_I.items()]


@beside_the_paper
def test_examples_are_those_of_table_seven_and_their_words_are_counted():
    part = text()[text().index('Prompt 1: "') : text().index("TABLE VII:")]
    found = re.findall(r'Prompt \d+: "(.*?)"\s+RPO: (.*?)\s+DRO: (.*?)\s+KTO: (.*?)(?=\s*Prompt \d|\s*$)', part, re.S)
    assert list(EXAMPLES) == [prompt for prompt, *_ in found]
    for words, (_, *answers) in zip(EXAMPLES.values(), found, strict=True):
        counted = (len(answer.split()) for answer in answers)
        assert words == dict(zip(("RPO", "DRO", "KTO"), counted, strict=True))


def flat(words: str) -> str:
    """Without markup and line breaks."""
    return " ".join(re.sub(r"[$*]", "", words).split())


SAID = [
    *((claim.key, claim.text) for claim in CLAIMS),
    *((name, sentence) for name, sentence in UNSTATED.items()),
    *((found.where[0], " ".join([*found.where, found.text])) for found in CONTRADICTIONS),
]


QUOTATIONS = [(key, quotation) for key, sentence in SAID for quotation in re.findall("“(.*?)”", sentence)]
FOUND_IN_THE_PAPER = "e9f54d44299b1c1e8ce3d7c0593e968f7b3903ca1979935674b0ca01d3918037"


def test_quotations_are_short_and_those_that_were_found_in_the_paper():
    """A changed quotation changes the digest. Check it against the paper by the next test, then update the digest."""
    assert len(QUOTATIONS) > 40
    for key, quotation in QUOTATIONS:
        assert len(quotation.split()) <= 12, key
    words = "\n".join(sorted({quotation for _, quotation in QUOTATIONS}))
    assert hashlib.sha256(words.encode()).hexdigest() == FOUND_IN_THE_PAPER


@beside_the_paper
def test_every_quotation_is_in_the_paper():
    said = flat(text())
    for key, quotation in QUOTATIONS:
        assert quotation in said, f"{key}: {quotation}"


@beside_the_paper
def test_settings_are_stated():
    said = flat(text())
    for words in (
        "standardized to have zero mean and unit variance",
        *("77M parameters", "783M parameters", "2.85B parameters"),
        "a validation set of 1,000 examples",
        "equal to 10.0",
        *("AdamW", "1×10^{-4}", "linear warmup and decay schedule, with 150 warmup steps"),
        "τ is set to 1.0",
        r"\tau \in \{0.1, 1.0, 5.0\}",
        *("Mistral v3", "LLaMA v3"),
    ):
        assert words in said, words


def test_settings_are_those_of_section_four():
    assert {scale.published: scale.parameters for scale in SCALES.values() if scale.published} == {
        "Small": 77e6,
        "Large": 783e6,
        "XL": 2.85e9,
    }
    given = {name: value for name, (value, _) in SETTINGS.items()}
    assert given["learning rate"] == 1e-4
    assert given["warm-up steps"] == 150
    assert given["tau"] == 1.0
    assert given["tau of the ablations"] == ("0.1", "1.0", "5.0")
    assert given["validation prompts"] == 1000
    assert given["reward of the validation responses"] == 10.0


# --------------------------------------------------------------------------------------------------------- as data


def test_cells_are_named_once_and_found():
    assert len(NUMBERS) == 6 * 9 + 6 * 18 + 6 * 9
    assert len({(cell.table, cell.row, cell.column) for cell in NUMBERS}) == len(NUMBERS)
    assert {cell.table for cell in NUMBERS} == set(TABLES)
    assert value("II", "BLEU", "KTO Small") == 0.0293
    assert published("IIIb", "XL", "KTO").deviation == 9.33
    assert value("V", "Toxicity", "RPO-noNorm 5.0 XL") == 0.0242
    assert value("IVa", "Large", str(TAUS[0])) == 59.50


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (("III", "XL", "KTO"), "no table 'III' with numbers; choose from II, IIIa"),
        (("II", "Bleu", "KTO Small"), "unknown row of table II 'Bleu'. It has BERTScore, ROUGE-L, BLEU"),
        (("II", "BLEU", "KTO small"), "unknown column of table II 'KTO small'; did you mean 'KTO Small'"),
        (("IVa", "XL", "5"), "unknown column of table IVa '5'"),
    ],
)
def test_an_unknown_cell_names_the_nearest(cell, words):
    with pytest.raises(ConfigError, match=words):
        published(*cell)


def test_metrics_are_the_six_of_this_package_in_the_same_direction():
    assert {metric.ours for metric in METRICS} == set(names_in("paper"))
    assert all(metric.better == OURS[metric.ours].better for metric in METRICS)


def test_keys_are_unique():
    assert len({claim.key for claim in CLAIMS}) == len(CLAIMS)
    assert len({found.where for found in CONTRADICTIONS}) == len(CONTRADICTIONS)


def test_importing_the_numbers_imports_no_torch():
    code = "import sys, studies.paper.published; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------- what the statements say about the cells, counted from the cells


def better(metric, one: float, two: float) -> bool:
    return one > two if metric.better == "higher" else one < two


def curve(table: str, row: str, column: str = "{}") -> list[float]:
    return [value(table, row, column.format(tau)) for tau in TAUS]


def span(values) -> float:
    return max(values) - min(values)


def test_tables_at_tau_one_repeat_those_before():
    """No contradiction: Table V repeats Table II, and Table IV the column SFT of Table III, in every cell."""
    for size in SIZES:
        for metric in METRICS:
            assert value("V", metric.name, f"RPO 1.0 {size}") == value("II", metric.name, f"RPO {size}")
        for part in "ab":
            one, other = published(f"IV{part}", size, "1.0"), published(f"III{part}", size, "SFT")
            assert (one.value, one.deviation) == (other.value, other.deviation)


def bleu_gaps(table: str) -> dict[str, float]:
    """100·BLEU − SacreBLEU by column."""
    columns = [cell.column for cell in NUMBERS if cell.table == table and cell.row == "BLEU"]
    return {column: 100 * value(table, "BLEU", column) - value(table, "SacreBLEU", column) for column in columns}


def test_bleu_and_sacrebleu_differ_beyond_rounding():
    """BLEU has four digits, so 100·BLEU is known to 0.005, SacreBLEU to 0.00005."""
    off = {table: [name for name, gap in bleu_gaps(table).items() if abs(gap) > 0.00505] for table in ("II", "V")}
    assert len(off["II"]) == 6
    assert len(off["V"]) == 15
    assert all(cell.value > 0 for cell in NUMBERS if cell.row == "BLEU")
    too_large = [bleu_gaps("II")["KTO Small"]]
    too_large += [gap for name, gap in bleu_gaps("V").items() if name.startswith("RPO-noNorm")]
    assert len(too_large) == 10
    assert (round(min(too_large), 3), round(max(too_large), 3)) == (0.047, 0.139)


def test_rpo_is_best_in_all_cells_of_table_two_and_of_five():
    for metric in METRICS:
        for size in SIZES:
            ours = value("II", metric.name, f"RPO {size}")
            assert all(better(metric, ours, value("II", metric.name, f"{name} {size}")) for name in METHODS[:2])
            for tau in TAUS:
                with_norm, without = (value("V", metric.name, f"{name} {tau} {size}") for name in VARIANTS)
                assert better(metric, with_norm, without)


def test_win_rates_move_with_the_temperature():
    spans = {(judge, size): span(curve(f"IV{part}", size)) for judge, part in PARTS.items() for size in SIZES}
    assert {key: round(value, 1) for key, value in spans.items()} == {
        ("Mistral", "Small"): 1.7,
        ("Mistral", "Large"): 24.7,
        ("Mistral", "XL"): 7.4,
        ("LLaMA", "Small"): 15.1,
        ("LLaMA", "Large"): 18.5,
        ("LLaMA", "XL"): 15.8,
    }
    assert all(spans[judge, size] > spans[judge, "Small"] for judge in JUDGES for size in SIZES[1:])
    for part in "ab":
        large = published(f"IV{part}", "Large", "0.1")
        assert large.value - (large.deviation or 0) < 50
        assert all(max(curve(f"IV{part}", size)) == value(f"IV{part}", size, "0.1") for size in ("Small", "XL"))
    assert all(value("IVb", size, "0.1") - value("IVb", size, "1.0") > 13 for size in ("Small", "XL"))


def test_metrics_of_large_do_not_follow_its_win_rate():
    falls = [value(f"IV{part}", "Large", "1.0") - value(f"IV{part}", "Large", "0.1") for part in "ab"]
    assert [round(fall, 1) for fall in falls] == [24.7, 16.6]
    pairs = [[value("V", metric.name, f"RPO {tau} Large") for tau in (0.1, 1.0)] for metric in METRICS]
    assert max(abs(one - two) / two for one, two in pairs) < 0.022


def test_without_normalisation_metrics_rise_with_the_temperature():
    for size in SIZES:
        for name in ("ROUGE-L", "METEOR"):
            small, middle, large = curve("V", name, f"RPO-noNorm {{}} {size}")
            assert small < middle < large
        toxic = curve("V", "Toxicity", f"RPO-noNorm {{}} {size}")
        assert toxic[2] == min(toxic)
        with_norm, without = (curve("V", "ROUGE-L", f"{name} {{}} {size}") for name in VARIANTS)
        assert span(without) > span(with_norm)
        for metric in METRICS:
            below, at_one, above = curve("V", metric.name, f"RPO {{}} {size}")
            assert better(metric, at_one, below)
            assert better(metric, at_one, above)


def test_the_judges_disagree_most_on_kto_xl():
    rates = {part: [cell for cell in NUMBERS if cell.table == f"III{part}"] for part in "ab"}
    highest = max(rates["a"], key=lambda cell: cell.value)
    lowest = min(rates["b"], key=lambda cell: cell.value)
    assert (highest.row, highest.column, highest.value) == ("XL", "KTO", 93.62)
    assert (lowest.row, lowest.column, lowest.value, lowest.deviation) == ("XL", "KTO", 61.18, 9.33)


def test_xl_does_not_separate_best():
    cells = [(part, baseline) for part in "ab" for baseline in BASELINES]
    up = [cell for cell in cells if value(f"III{cell[0]}", "XL", cell[1]) > value(f"III{cell[0]}", "Large", cell[1])]
    assert up == [("a", "KTO")]
    worse = [m.name for m in METRICS if better(m, value("II", m.name, "RPO Large"), value("II", m.name, "RPO XL"))]
    assert worse == ["BERTScore", "ROUGE-L", "METEOR"]


def test_answers_of_rpo_are_the_longest():
    for words in EXAMPLES.values():
        others = (words["DRO"], words["KTO"])
        assert words["RPO"] > 2.3 * max(others)
        assert 28 <= words["RPO"] <= 39
        assert 4 <= min(others) <= max(others) <= 15


def test_some_deviations_are_below_the_standard_error_of_a_thousand_prompts():
    rates = [cell for cell in NUMBERS if cell.deviation is not None]
    errors = [100 * math.sqrt(cell.value / 100 * (1 - cell.value / 100) / 1000) for cell in rates]
    small = sum((cell.deviation or 0) < error for cell, error in zip(rates, errors, strict=True))
    assert (small, len(rates)) == (16, 54)


def test_the_claims_that_hold_in_the_printed_cells():
    """Also “over 90 %” of Table VI, and every win rate of RPO above one half."""
    assert min(cell.value for cell in NUMBERS if cell.table in ("VIa", "VIb")) == 90.64
    assert min(cell.value for cell in NUMBERS if cell.table == "IIIa") == 82.60
    assert min(cell.value for cell in NUMBERS if cell.deviation is not None) == 56.40
    for part in "ab":  # RPO-noNorm loses to RPO more often than SFT does
        assert all(value(f"VI{part}", size, "1.0") > value(f"III{part}", size, "SFT") for size in SIZES)
