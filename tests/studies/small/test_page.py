"""Tables and sentences from rows made by hand: losses are printed as losses, blanks as blanks, failures by name."""

import csv

from studies.small.cells import Cell, Row
from studies.small.frontier import choose
from studies.small.page import write_page
from studies.small.scale import Scale
from studies.small.summary import comparison, comparisons, default_record, summary, unused
from studies.small.tables import (
    control_table,
    differences_table,
    edges_list,
    rewards_table,
    untouched_table,
    worlds_of,
)

SCALE = Scale(seeds=3, control_seeds=3)
OTHER = {"kl_low": 0.0, "kl_high": 1.0, "kl_logratio": 0.5, "length": 9.0, "distinct1": 0.5, "distinct2": 0.7}
ENDS = {"rpo-untouched": (9, 0.7), "dpo-untouched": (9, 0.8), "sft-all": (1.5, 0.6), "kto-beta-tuned": (9, 0.55)}
SHUFFLED = {"rpo-untouched": 0.5, "dpo-untouched": 0.62, "sft-all": 0.6, "kto-beta-tuned": 0.5}


def rows_by_hand():
    """Straight lines from (0, 0.5) to ENDS; seeds differ by a hundredth at every checkpoint; a run of KTO failed."""
    rows = []
    for method, (kl, reward) in ENDS.items():
        for stage, end in (
            ("tune", reward),
            ("report", reward),
            ("control-both", SHUFFLED[method]),
        ):
            for seed in [1000] if stage == "tune" else range(3):
                cell = Cell("t5", "on", method, 1e-3, 0.1 if method == "kto-beta-tuned" else None, seed, stage)
                noise = (seed % 3 + (method == "rpo-untouched") * 0.1 * (seed % 2)) / 100
                points = [(0, 0.5), (kl, end + noise * (kl > 0))]
                curve = [{"step": s, "kl": k, "reward": r, **OTHER} for s, (k, r) in enumerate(points)]
                failed = method == "kto-beta-tuned" and stage == "report" and seed > 0
                rows.append(
                    Row(cell, None if failed else curve, "ValueError: bad\nday" if failed else None, 2.0, 1.0, "c0")
                )
    return rows


def world_by_hand():
    return worlds_of(rows_by_hand(), [("t5", "on", method) for method in ENDS])[0]


def test_who_is_above_and_below_the_default():
    world = world_by_hand()
    text = comparison(world, "rpo-untouched", 1.0)
    # at 1 nat: SFT .5 + 2/3 × .1, DPO .5 + 1/9 × .3, RPO .5 + 1/9 × .2, and a little for the seeds
    assert text.startswith("T5, on-policy, 1 nats: above rpo-untouched: sft-all (+0.0")
    assert ", dpo-untouched (+0.01" in text
    assert "; below rpo-untouched: none; 0 with an interval that includes zero; " in text
    assert text.endswith("not compared, as fewer than two seeds have both: kto-beta-tuned.")
    # SFT ends at 1.5 nats: it cannot be compared at 2
    assert "have both: sft-all, kto-beta-tuned" in comparison(world, "rpo-untouched", 2.0)
    assert comparisons([world], "sft-all")[-1] == "No method can be compared with sft-all: T5, on-policy, 2 nats."


def test_losses_of_the_default_come_first_and_are_called_losses():
    record = default_record([world_by_hand()], ["sft-all", "dpo-untouched"])
    start = (
        "rpo-untouched against dpo-untouched: losses 3, wins 0, undecided 0, of 3. Losses: T5, on-policy, 0.5 nats: -0."
    )
    assert record[0].startswith(start)
    assert "2 nats: -0.0" in record[0]
    assert record[1].startswith("rpo-untouched against sft-all: losses 2, wins 0, undecided 0, of 3.")


def test_methods_and_variants_are_counted_apart():
    rows = rows_by_hand()
    families = {"rpo-untouched": "RPO", "dpo-untouched": "DPO", "sft-all": "RPO", "kto-beta-tuned": "DPO"}
    text = summary([world_by_hand()], rows, families, "", controlled=False)
    assert "Against 1 other methods (2 rows):" in text
    assert "Against 1 other variants of RPO:" in text


def test_who_gains_without_rewards_is_named_and_who_loses_half_of_its_gain_is_not():
    """DPO's gain falls from .31 to .13, SFT's stays."""
    (line,) = unused([world_by_hand()], "both")
    assert line == "T5, on-policy: sft-all (gain +0.110, permuted +0.110)"
    table = {text.split(" | ")[0].strip("| "): text for text in control_table(world_by_hand(), SCALE).splitlines()}
    assert "| +0.000 |" in table["sft-all"]
    assert "+0.180" in table["dpo-untouched"]


def test_untouched_objectives_are_judged_where_their_runs_end_too():
    lines = untouched_table([world_by_hand()], {("t5", "on", "rpo-untouched"): (1e-3, None)}, SCALE).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == ["rpo-untouched", "dpo-untouched"]
    assert "| 0.001 | **+0.21" in lines[2]
    assert "| 9.00 | 9.0 | **+0.100 [" in lines[3]


def test_a_choice_at_an_edge_of_what_was_tried_is_named():
    world = world_by_hand()
    tried = {
        "kto-beta-tuned": [(lr, beta) for lr in (1e-4, 3e-4, 1e-3) for beta in (0.1, 0.3)],
        "sft-all": [(1e-3, None)],
    }
    best = {("t5", "on", "kto-beta-tuned"): (3e-4, 0.1), ("t5", "on", "sft-all"): (1e-3, None)}
    assert edges_list([world], best, tried) == ["T5, on-policy, lowest strength: kto-beta-tuned (0.1)"]
    tried |= {method: [] for method in ENDS.keys() - tried.keys()}
    table = rewards_table(world, best, dict.fromkeys(ENDS, "beta"), tried, SCALE)
    assert "| lr 0.0003, beta 0.1* |" in table


def test_a_blank_is_a_dash_and_fewer_seeds_are_counted():
    lines = {line.split(" | ")[0].strip("| "): line for line in differences_table(world_by_hand(), SCALE).splitlines()}
    assert lines["rpo-untouched"].count("–") == 4 + 1  # against itself, and SFT-all at 2 nats
    assert "(1 of 3)" in lines["kto-beta-tuned"]


def test_the_page_has_every_part_and_every_failure(tmp_path):
    rows = rows_by_hand()
    groups = [("t5", "on", method) for method in ENDS]
    record = {
        "config": {"seeds": 3, "page": None, "quick": True},
        "command": "studies small",
        "started": "now",
        "seconds": 60.0,
        "commit": "c1",
        "machine": "m",
        "versions": {"torch": "2"},
    }
    page = tmp_path / "docs" / "small.md"
    write_page(page, tmp_path, rows, choose(rows), groups, SCALE, record)
    text = page.read_text()
    assert "`python -m studies small --seeds 3 --quick`" in text
    assert "Commit of the runs: c0; of this page: c1." in text
    assert "- t5-on-kto-beta-tuned-report-lr0.001-k0.1-seed2: ValueError: bad day" in text
    assert "2 of 28 runs failed" in text
    assert "All seeds of a kind of model share one reference" in text
    assert "a run that does not arrive is credited with nothing" in text
    assert "| rpo-untouched | `RPO()` | none |" in text
    assert "lowest lr" not in text.split("## Choices")[0]
    assert (page.parent / "small" / "frontier-t5-on.svg").exists()
    assert (page.parent / "small" / "frontier-t5-on.png").exists()
    again = (page.parent / "small" / "frontier-t5-on.svg").read_text()
    write_page(page, tmp_path, rows, choose(rows), groups, SCALE, record)
    assert (page.parent / "small" / "frontier-t5-on.svg").read_text() == again
    lines = list(csv.DictReader((tmp_path / "rows.csv").open(encoding="utf-8")))
    assert len(lines) == 26 * 2 + 2
    assert [line["error"] for line in lines if not line["kl"]] == ["ValueError: bad\nday"] * 2


def test_a_study_without_the_default_or_the_control_says_less():
    rows = [row for row in rows_by_hand() if row.cell.method == "dpo-untouched"]
    text = summary(worlds_of(rows, [("t5", "on", "dpo-untouched")]), rows, {}, "", controlled=False)
    assert text == "0 of 7 runs failed."
