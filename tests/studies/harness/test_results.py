"""Differences paired by seed, marks that follow the interval, controls, records and edges, worked by hand."""

import pytest

from studies.harness.results import (
    GAIN,
    World,
    control_table,
    difference,
    edges,
    mean_of,
    number,
    record_against,
    records,
    setting_text,
    sign,
    unused,
    unused_lines,
)
from valuefree.evaluation.stats import Estimate


def world_of(gains, controls=(), **more) -> World:
    """gains: by method, one per seed; controls: by (method, permutation)."""
    measures = {(method, None): values for method, values in gains.items()} | dict(controls)
    runs = {key: {seed: {GAIN: value} for seed, value in enumerate(values)} for key, values in measures.items()}
    return World("w", list(gains), runs, **more)


def test_an_interval_excludes_zero_only_if_it_does_as_printed():
    intervals = ((0.0004, 0.2), (0.001, 0.2), (-0.2, -0.001), None)
    assert [sign(Estimate(0.1, interval, 3)) for interval in intervals] == [0, 1, -1, 0]
    assert sign(None) == 0


def test_a_difference_is_paired_by_seed():
    found = difference({0: 0.5, 1: 0.7, 2: 0.6}, {0: 0.4, 1: 0.5, 2: 0.3, 4: 0.1})
    # differences .1 .2 .3: mean .2, standard error .1/√3, t of two degrees of freedom 4.3027
    assert (found.value, found.n, sign(found)) == (pytest.approx(0.2), 3, 0)
    assert found.interval == pytest.approx((0.2 - 4.3027 * 0.057735, 0.2 + 4.3027 * 0.057735), abs=1e-5)
    assert difference({0: 1.0}, {1: 1.0}) is None
    assert mean_of({0: 0.3}).interval is None


def test_a_number_has_its_interval_its_mark_and_its_seeds():
    found = Estimate(0.25, (0.2, 0.3), 2)
    assert number(found) == "0.250 [0.200, 0.300]"
    assert number(found, signed=True, seeds=3) == "+0.250 [+0.200, +0.300]† (2 of 3 seeds)"
    assert number(Estimate(0.25, None, 1), signed=True, seeds=1) == "+0.250"
    assert number(None) == "–"


@pytest.mark.parametrize(
    ("permuted", "used"),
    [
        ((0.08, 0.082, 0.084), True),  # two thirds of the gain survive, and yet the rewards were used
        ((0.12, 0.1215, 0.1215), False),
        ((-0.05, 0.25, 0.05), False),
        ((0.12, 0.121, 0.122), False),  # the same gains: no interval, and a difference of zero
    ],
)
def test_rewards_are_used_when_the_gain_falls_as_they_are_permuted(permuted, used):
    world = world_of({"m": (0.12, 0.121, 0.122)}, {("m", "both"): permuted})
    true, _, lost = world.controlled("m", "both")
    assert true.value == pytest.approx(0.121)
    assert lost.value == pytest.approx(0.121 - sum(permuted) / 3)
    assert bool(unused(world, "both")) is not used
    assert world.controlled("m", "within") is None


def test_one_seed_says_nothing_of_a_control():
    assert unused(world_of({"m": (0.1,)}, {("m", "both"): (0.1,)}), "both") == []


def test_a_control_is_compared_over_its_own_seeds():
    world = world_of({"m": (0.1, 0.2, 0.9)}, {("m", "both"): (0.1, 0.2)})
    table = control_table(world)
    assert table.head == ["method", "gain", "permuted both", "true minus both"]
    assert table.rows[0][1].startswith("+0.150 [")
    assert table.rows[0][3] == "+0.000"


def test_the_permutation_that_leaves_nothing_decides_on_the_rewards():
    controls = {("m", "within"): (0.0, 0.01), ("m", "between"): (0.1, 0.2), ("m", "both"): (0.1, 0.2)}
    (line,) = unused_lines([world_of({"m": (0.1, 0.2)}, controls)])
    assert "did not detectably use the rewards: m (gain +0.150, permuted +0.150)" in line
    (line,) = unused_lines([world_of({"m": (0.1, 0.2)}, {("m", "between"): (0.1, 0.2)})])
    assert line.endswith("did not detectably use the rewards: m (gain +0.150, permuted +0.150).")
    assert unused_lines([world_of({"m": (0.1, 0.2)})]) == []


def test_losses_and_wins_follow_the_interval_and_blanks_are_counted():
    places = {"a": Estimate(-0.1, (-0.2, -0.05), 3), "b": Estimate(0.1, (-0.1, 0.3), 3), "c": None}
    losses, wins, text = record_against("ours", "theirs", places | {"d": Estimate(0.2, (0.1, 0.3), 3)})
    assert (losses, wins) == (1, 1)
    assert text == (
        "ours against theirs: 1 losses, 1 wins, 1 undecided, 1 not comparable. Losses: a -0.100 [-0.200, -0.050]. "
        "Wins: d +0.200 [+0.100, +0.300]."
    )


def test_methods_and_variants_are_counted_apart_most_losses_first():
    world = world_of(
        {
            "ours": (0.3, 0.301, 0.302),
            "ours b": (0.2, 0.2, 0.2),
            "even": (0.2, 0.3, 0.4),
            "better": (0.4, 0.4, 0.4),
            "once": (0.4,),
        }
    )
    families = {"ours": "RPO", "ours b": "RPO", "even": "DPO", "better": "DPO", "once": "SFT"}
    found = records([world], "ours", {"": GAIN}, families)
    assert list(found) == ["2 other methods (3 rows)", "1 variants of RPO"]
    others, variants = found.values()
    assert [line.split(":")[0] for line in others] == [f"ours against {name}" for name in ("better", "even", "once")]
    assert "1 losses, 0 wins" in others[0]
    assert "1 undecided" in others[1]
    assert "1 not comparable" in others[2]  # one seed has both, and so there is no interval
    assert "0 losses, 1 wins" in variants[0]
    assert "1 losses, 0 wins" in records([world], "ours", {"": f"-{GAIN}"}, families)["1 variants of RPO"][0]


def test_a_choice_at_an_edge_of_what_was_tried_is_named():
    settings = {
        "KTO": {"beta": (3.0, (0.3, 1.0, 3.0)), "lr": (0.02, (0.01, 0.02, 0.03))},
        "SFT": {"lr": (0.01, (0.01,))},
    }
    world = world_of({"KTO": (0.1,), "SFT": (0.1,)}, settings=settings)
    assert edges([world]) == ["w, highest beta: KTO (3)"]
    assert setting_text(settings["KTO"]) == "beta 3*, lr 0.02"
    assert edges([world_of({"KTO": (0.1,)})]) == ["None."]
