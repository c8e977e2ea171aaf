"""Measures at equal KL, the choice among variants, and the rule."""

import pytest

from studies.harness.cells import Row
from studies.harness.results import World
from studies.memorisation.candidates import BASE, TRUE, Cell
from studies.memorisation.page import make_page
from studies.memorisation.results import at_kl, choose, judge, variants, verdicts, worlds_of

SEEDS = range(4)


def point(kl, gain, gap):
    return {"scale": 1.0, "kl": kl, "gain": gain, "train": 0.6 + gap, "held_out": 0.6}


def test_gain_and_gap_are_linear_in_the_root_of_kl():
    found = at_kl([point(0.25, 0.1, 0.2), point(1.0, 0.2, 0.4)], 0.5625)  # √KL: .5, .75, 1
    assert found == {"gain": pytest.approx(0.15), "gap": pytest.approx(0.3)}


def test_below_the_smallest_strength_the_gain_starts_at_zero_and_the_gap_does_not():
    assert at_kl([point(1.0, 0.2, 0.4)], 0.25) == {"gain": pytest.approx(0.1), "gap": pytest.approx(0.4)}


def test_a_kl_that_is_not_reached_has_no_measures():
    assert at_kl([point(0.25, 0.1, 0.2)], 0.5) is None


def world(gain, gap, spread):
    """A setting whose differences from the base have this mean and range over seeds."""
    runs: dict[tuple[str, str | None], dict[int, dict[str, float]]] = {(BASE, None): {}, ("other", None): {}}
    for seed in SEEDS:
        moved = spread * (-1) ** seed
        for name, by in ((BASE, 0.0), ("other", 1.0)):
            gains = {f"gain at {kl}": 0.1 + by * (gain + moved) for kl in ("0.3", "0.5", "1")}
            runs[name, None][seed] = gains | {f"gap at {kl}": 0.2 + by * (gap + moved) for kl in ("0.3", "0.5", "1")}
    return World("task", [BASE, "other"], runs)


@pytest.mark.parametrize(
    ("gain", "gap", "kept"),
    [
        (0.05, 0.0, True),  # a larger gain
        (0.0, -0.05, True),  # a smaller gap at an equal gain
        (-0.005, -0.05, True),  # within what is tolerated
        (-0.012, -0.05, False),  # the interval includes zero, but the mean is too low
        (-0.05, -0.05, False),  # a smaller gap at a smaller gain
        (0.0, 0.0, False),
    ],
)
def test_the_rule(gain, gap, kept):
    verdict = judge(world(gain, gap, spread=0.01), "other")
    assert verdict.kept is kept
    assert verdict.larger is (gain == 0.05)


def rows(names, seeds):
    found = []
    for kind in ("t5", "decoder"):
        for index, name in enumerate(names):
            for seed in seeds:
                curve = [point(1.0, 0.1 + 0.01 * index * (1 + 0.1 * seed), 0.2)]
                found.append(Row(Cell(kind, 1.0, name, seed), curve, None, 1.0, 1.0, "abc"))
    return found


def test_the_variant_with_the_largest_gain_is_chosen():
    chosen = choose(rows(["dropout .3", "dropout .1", "rank 2", "rank 4"], [100, 101]))
    assert {"dropout .1", "rank 4"} <= {*chosen}
    assert len(chosen) == len(variants())


def test_a_failed_run_counts_as_no_gain_when_variants_are_chosen():
    failed = [Row(Cell("t5", 1.0, "dropout .3", 100), None, "no", 1.0, 1.0, "abc")]
    assert "dropout .1" in choose([*failed, *rows(["dropout .1"], [100])])


def test_the_page_states_the_verdict_of_every_setting(tmp_path):
    names = {"noise": 1, "prompts": 96, "responses": 4, "epochs": 3, "batch": 8, "lr": 1, "strengths": 1, "test": 1}
    record = {"config": {}, "command": "c", "started": "s", "machine": "m", "commit": "abc", "versions": {}}
    tuning = rows(["dropout .1", "dropout .3"], [100])
    make_page(tmp_path / "page.md", tuning, rows([BASE, "dropout .3"], SEEDS), record, {**names, "samples": 8})
    text = (tmp_path / "page.md").read_text()
    assert "dropout .3: kept on t5 and decoder" in text
    assert "Kept as an option: dropout .3. As the default: dropout .3." in text
    assert "dropout .1 +" in text
    assert "{" not in text.split("```json")[0]  # of the record at the end


def test_the_base_on_true_rewards_is_compared_by_gain_and_not_judged():
    true = [Row(Cell("t5", 0.0, BASE, seed), [point(1.0, 0.3, 0.2)], None, 1.0, 1.0, "abc") for seed in SEEDS]
    (world,) = [world for world in worlds_of([*rows([BASE], SEEDS), *true]) if world.title == "t5"]
    assert list(world.values(TRUE, "gain at 1").values()) == pytest.approx([0.3] * len(SEEDS))
    assert world.values(TRUE, "gap at 1") == {}
    assert verdicts([world]) == {}
