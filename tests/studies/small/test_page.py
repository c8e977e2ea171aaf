"""Tables and sentences from rows made by hand: losses are printed as losses, blanks as blanks, failures by name."""

import csv
from dataclasses import asdict

from studies.harness.cells import Row, write_rows
from studies.harness.results import control_table, unused
from studies.small.cells import Cell
from studies.small.page import make_page, summary
from studies.small.results import choose, differences_table, rewards_table, untouched_table, worlds_of
from studies.small.run import lines_of
from studies.small.scale import Scale

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


GROUPS = [("t5", "on", method) for method in ENDS]


def world_by_hand():
    rows = rows_by_hand()
    return worlds_of(rows, GROUPS, choose(rows), SCALE)["t5", "on"]


def by_method(table, column=0):
    return {line[column]: line for line in table.rows}


def test_losses_of_the_default_come_first_and_are_called_losses():
    """At 1 nat: SFT .5 + 2/3 × .1, DPO .5 + 1/9 × .3, RPO .5 + 1/9 × .2, and a little for the seeds."""
    sections = summary([world_by_hand()], list(ENDS), SCALE)
    dpo, sft, kto = next(section for section in sections if section.key == "rpo-untouched-0").items
    start = "rpo-untouched against dpo-untouched: 3 losses, 0 wins, 0 undecided. Losses: T5, on-policy, 0.5 nats -0."
    assert dpo.startswith(start)
    assert "2 nats -0.0" in dpo
    # SFT ends at 1.5 nats: it cannot be compared at 2
    assert sft.startswith("rpo-untouched against sft-all: 2 losses, 0 wins, 0 undecided, 1 not comparable.")
    assert kto == "rpo-untouched against kto-beta-tuned: 0 losses, 0 wins, 0 undecided, 3 not comparable."
    against_sft = next(section for section in sections if section.key == "sft-all-0").items
    assert any(line.startswith("sft-all against rpo-untouched: 0 losses, 2 wins") for line in against_sft)


def test_who_gains_without_rewards_is_named_and_who_loses_half_of_its_gain_is_not():
    """DPO's gain falls from .31 to .13, SFT's stays."""
    assert unused(world_by_hand(), "both") == ["sft-all (gain +0.110, permuted +0.110)"]
    table = by_method(control_table(world_by_hand()))
    assert "+0.000" in table["sft-all"]
    assert table["dpo-untouched"][-1].startswith("+0.180")


def test_untouched_objectives_are_judged_where_their_runs_end_too():
    table = by_method(untouched_table([world_by_hand()], SCALE), 1)
    assert list(table) == ["rpo-untouched", "dpo-untouched"]
    _, _, setting, gain, _, _, against = table["rpo-untouched"]
    assert (setting, against) == ("lr 0.001", "–")
    assert gain.startswith("+0.21")
    assert gain.endswith("†")
    assert table["dpo-untouched"][4:6] == ["9.00", "9.0"]
    assert table["dpo-untouched"][6].startswith("+0.100 [")


def test_a_choice_at_an_edge_of_what_was_tried_is_marked():
    scale = Scale(seeds=3, lrs=(1e-3,))
    world = worlds_of(rows_by_hand(), GROUPS, {("t5", "on", "kto-beta-tuned"): (1e-3, 0.1)}, scale)["t5", "on"]
    table = by_method(rewards_table(world, scale))
    assert table["kto-beta-tuned"][1] == "lr 0.001, beta 0.1*"
    assert table["sft-all"][1] == "none worked"


def test_a_blank_is_a_dash_and_fewer_seeds_are_counted():
    lines = by_method(differences_table(world_by_hand(), SCALE))
    assert lines["rpo-untouched"].count("–") == 4 + 1  # against itself, and SFT-all at 2 nats
    assert lines["kto-beta-tuned"][1].endswith("(1 of 3 seeds)")


def test_the_page_has_every_part_and_every_failure(tmp_path):
    rows = rows_by_hand()
    record = {
        "config": {"seeds": 3, "page": None, "quick": True},
        "command": "studies small",
        "started": "now",
        "commit": "c1",
        "machine": "m",
        "versions": {"torch": "2"},
    }
    page = tmp_path / "docs" / "small.md"
    make_page(page, rows, choose(rows), GROUPS, SCALE, record)
    text = page.read_text()
    assert "Written by python -m studies small --seeds 3 --quick, started now on m." in text
    assert "Commit of the runs: c0; of this page: c1." in text
    assert "- t5-on-kto-beta-tuned-report-lr0.001-k0.1-seed2: ValueError: bad day" in text
    assert "## Runs that failed: 2 of 28" in text
    assert "All seeds of a kind of model share one reference" in text
    assert "A level that the run never reaches counts as no gain" in text
    assert "| rpo-untouched | RPO() | none |" in text
    assert "lowest" not in text.split("## Choices")[0]
    assert (page.parent / "small" / "frontier-t5-on.png").exists()
    figure = (page.parent / "small" / "frontier-t5-on.svg").read_text()
    make_page(page, rows, choose(rows), GROUPS, SCALE, record)
    assert (page.parent / "small" / "frontier-t5-on.svg").read_text() == figure
    assert page.read_text() == text


def test_the_lines_of_a_failed_run_have_its_error_alone(tmp_path):
    rows = rows_by_hand()
    write_rows(tmp_path, map(asdict, rows), [line for row in rows for line in lines_of(row)])
    lines = list(csv.DictReader((tmp_path / "rows.csv").open(encoding="utf-8")))
    assert len(lines) == 26 * 2 + 2
    assert [line["error"] for line in lines if not line["kl"]] == ["ValueError: bad\nday"] * 2


def test_a_study_without_the_default_or_the_control_says_less():
    rows = [row for row in rows_by_hand() if row.cell.method == "dpo-untouched" and row.cell.control is None]
    worlds = worlds_of(rows, [("t5", "on", "dpo-untouched")], {}, SCALE)
    (short,) = summary(list(worlds.values()), ["dpo-untouched"], SCALE)
    assert (short.items, short.tables) == ([], [])
