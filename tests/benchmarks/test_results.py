"""The page, from made-up results."""

from pathlib import Path

import pytest

from benchmarks.comparisons import COMPARISONS
from benchmarks.results import read, render
from benchmarks.summary import memory_ratios, table_rows
from valuefree.runs.files import write_json


def measured(speed: float, flops: int, peak: float = 100.0) -> dict:
    return {
        "responses": 10,
        "seconds": 10 / speed,
        "responses_per_second": speed,
        "flops": flops,
        "head_forward_flops": flops // 10,
        "padding_share": 0.25,
        "resident_before_mb": 50.0,
        "peak_before_mb": 60.0,
        "peak_mb": peak,
        "threads": 2,
        "calls": [],
    }


def result(name: str, rows: list[dict], **details: object) -> dict:
    origin = {"commit": "abc", "machine": "a processor, 2 cores", "date": "2026-01-01T00:00:00+00:00"}
    return {"name": name, "rows": rows, "details": details, **origin}


def test_ratios_by_hand() -> None:
    sides = {"ours": [measured(3, 100), measured(4, 100)], "theirs": [measured(2, 200), measured(2, 200)]}
    row = table_rows(COMPARISONS["sft_t5_4"], sides)[0]
    assert row["measured"] == "1.75× (1.50–2.00)"
    assert (row["bound"], row["share_of_bound"]) == (2.0, 0.875)
    assert (row["met"], row["criterion_met"]) == (True, False)


def test_memory_is_what_the_head_adds() -> None:
    sides = {"ours": [measured(1, 100)], "theirs": [measured(1, 100)], "without_memory": [measured(2, 80, 60)]}
    sides |= {"ours_memory": [measured(1, 100, 70)], "theirs_memory": [measured(1, 100, 100)]}
    assert memory_ratios(sides) == [pytest.approx(0.25)]
    speed, memory = table_rows(COMPARISONS["head_memory"], sides)
    assert speed["bound"] == pytest.approx(100 / 110, abs=1e-3)  # the chunks are computed twice
    assert (memory["met"], memory["bound"], memory["criterion_met"]) == (True, None, None)


def test_page_has_every_result_and_the_profile_of_what_missed(tmp_path: Path) -> None:
    sides = {"ours": [measured(3, 100)], "theirs": [measured(2, 200)]}
    rows = table_rows(COMPARISONS["sft_t5_4"], sides)
    write_json(
        tmp_path / "sft_t5_4.json",
        result(
            "sft_t5_4",
            rows,
            setting={"rows": 10, "pairs": 1, "size": "full"},
            sides=sides,
            at_scale={"bound": 1.5, "ours": measured(1, 1), "theirs": measured(1, 1)},
        ),
    )
    other = [{**rows[0], "comparison": "data_rows: reading", "bound": None, "share_of_bound": None}]
    write_json(tmp_path / "data_rows.json", result("data_rows", [{**other[0], "met": True, "criterion_met": None}]))
    (tmp_path / "profile_sft_t5_4.txt").write_text("aten::addmm 90 %")
    (tmp_path / "profile_data_rows.txt").write_text("not shown")
    page = render(read(tmp_path), tmp_path)
    assert "| 1.50× (1.50–1.50) | yes | 2.00 | 0.75 | **no** |" in page
    assert "| data_rows: reading | ≥ 1.1× | 1.50× (1.50–1.50) | yes | – | – | – |" in page
    assert page.index("sft_t5_4") < page.index("data_rows")
    assert "aten::addmm" in page
    assert "not shown" not in page
    assert "Batches of 10 rows: bound 1.50" in page
