"""Tables and sentences from rows made by hand: losses are printed as losses, blanks as blanks, failures by name."""

import csv

from valuefree.study.small.cells import Cell, Row
from valuefree.study.small.frontier import choose
from valuefree.study.small.page import write_page
from valuefree.study.small.scale import Scale
from valuefree.study.small.summary import comparison, default_record, summary, unused_rewards
from valuefree.study.small.tables import control_table, differences_table, worlds_of

SCALE = Scale(seeds=3, control_seeds=3)
OTHER = {"kl_low": 0.0, "kl_high": 1.0, "kl_logratio": 0.5, "length": 9.0, "distinct1": 0.5, "distinct2": 0.7}
ENDS = {"rpo": (9, 0.7), "dpo": (9, 0.8), "sft-all": (3, 0.6), "kto": (9, 0.55)}
SHUFFLED = {"rpo": 0.5, "dpo": 0.5, "sft-all": 0.6, "kto": 0.5}


def rows_by_hand():
    """Straight lines from (0, 0.5) to ENDS; seeds differ by a hundredth at every checkpoint; a run of KTO failed."""
    rows = []
    for method, (kl, reward) in ENDS.items():
        for stage, end in (("tune", reward), ("report", reward), ("control", SHUFFLED[method])):
            for seed in [1000] if stage == "tune" else range(3):
                cell = Cell("t5", "on", method, 1e-3, None if method == "sft-all" else 0.1, seed, stage)
                noise = (seed % 3 + (method == "rpo") * 0.1 * (seed % 2)) / 100
                points = [(0, 0.5), (kl, end + noise * (kl > 0))]
                curve = [{"step": s, "kl": k, "reward": r, **OTHER} for s, (k, r) in enumerate(points)]
                failed = method == "kto" and stage == "report" and seed > 0
                rows.append(
                    Row(cell, None if failed else curve, "ValueError: bad\nday" if failed else None, 2.0, 1.0, "c0")
                )
    return rows


def world_by_hand():
    return worlds_of(rows_by_hand(), [("t5", "on", method) for method in ENDS])[0]


def test_who_is_above_and_below_the_default():
    world = world_by_hand()
    text = comparison(world, "rpo", 2.0)
    # at 2 nats: SFT .5 + 2/3 × .1, DPO .5 + 2/9 × .3, RPO .5 + 2/9 × .2, and a little for the seeds
    assert text.startswith("T5, on-policy, 2 nats: above rpo: sft-all (+0.02")
    assert ", dpo (+0.02" in text
    assert "; below rpo: none; 0 with an interval that holds zero; " in text
    assert text.endswith("not compared, as fewer than two seeds have both: kto.")
    # SFT ends at 3 nats: it cannot be compared at 8
    assert "have both: sft-all, kto" in comparison(world, "rpo", 8.0)


def test_losses_of_the_default_come_first_and_are_called_losses():
    record = default_record([world_by_hand()])
    assert record[0].startswith("rpo against dpo: losses 4, wins 0, undecided 0. Losses: T5, on-policy, gain: -0.")
    assert "2 nats: -0.0" in record[0]


def test_who_gains_without_rewards_is_named():
    assert unused_rewards([world_by_hand()])[0].startswith("T5, on-policy: sft-all (gain +0.")
    table = control_table(world_by_hand(), SCALE)
    assert table.count("did not use the rewards") == 1
    assert table.count("| used the rewards |") == 2


def test_a_blank_is_a_dash_and_fewer_seeds_are_counted():
    lines = {line.split(" | ")[0].strip("| "): line for line in differences_table(world_by_hand(), SCALE).splitlines()}
    assert lines["rpo"].count("–") == 4 + 1  # against itself, and SFT-all at 8 nats
    assert "(1 of 3)" in lines["kto"]


def test_the_page_has_every_part_and_every_failure(tmp_path):
    rows = rows_by_hand()
    groups = [("t5", "on", method) for method in ENDS]
    record = {
        "config": {"seeds": 3, "page": None, "quick": True},
        "command": "study small",
        "started": "now",
        "seconds": 60.0,
        "commit": "c1",
        "machine": "m",
        "versions": {"torch": "2"},
    }
    page = tmp_path / "docs" / "small.md"
    write_page(page, tmp_path, rows, choose(rows), groups, SCALE, record)
    text = page.read_text()
    assert "`valuefree study small --seeds 3 --quick`" in text
    assert "Commit of the runs: c0; of this page: c1." in text
    assert "- t5-on-kto-report-lr0.001-k0.1-seed2: ValueError: bad day" in text
    assert "2 of 28 runs failed" in text
    assert (page.parent / "small" / "frontier-t5-on.svg").exists()
    assert (page.parent / "small" / "frontier-t5-on.png").exists()
    again = (page.parent / "small" / "frontier-t5-on.svg").read_text()
    write_page(page, tmp_path, rows, choose(rows), groups, SCALE, record)
    assert (page.parent / "small" / "frontier-t5-on.svg").read_text() == again
    lines = list(csv.DictReader((tmp_path / "rows.csv").open(encoding="utf-8")))
    assert len(lines) == 26 * 2 + 2
    assert [line["error"] for line in lines if not line["kl"]] == ["ValueError: bad\nday"] * 2


def test_a_study_without_the_default_or_the_control_says_less():
    rows = [row for row in rows_by_hand() if row.cell.method == "dpo"]
    text = summary(worlds_of(rows, [("t5", "on", "dpo")]), rows, controlled=False)
    assert text == "0 of 7 runs failed."
