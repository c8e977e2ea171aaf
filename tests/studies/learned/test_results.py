"""The analysis on points made by hand: rank correlations, choices by halves, regrets, checks."""

import numpy as np
import pytest

from studies.learned.cells import Cell
from studies.learned.default_run import closed, default_runs
from studies.learned.grid import QUICK
from studies.learned.measured import GAIN, RANKING
from studies.learned.results import (
    CHECKPOINT,
    LR,
    METHOD,
    SETTING,
    STRENGTH,
    Loss,
    Run,
    by_code,
    by_measure,
    checks_of,
    correlations,
    groups_of,
    losses_of,
    mean_share,
    spearman,
    the_default,
)
from studies.learned.tables import Results, paired_excess

LRS = {"exact": 0.003}


def point(scale, gain, ranking, *, step=20, kl=0.1, halves=None, checked=None, refused=None, chosen=(1.0, 1.0)):
    """One policy; its true gain is the same on both halves of the prompts."""
    by_half = [{RANKING: value, GAIN: checked} for value in halves or (ranking, ranking)]
    return {
        "step": step,
        "scale": scale,
        "kl": kl,
        "gain": gain,
        "whole": {RANKING: ranking, GAIN: checked},
        "halves": by_half,
        "half_gains": [gain, gain],
        "refused": refused,
        "joint": refused is None,
        "paired": True,
        "chosen": list(chosen),
        "tau": None,
    }


def run(points, label="RPO()", lr=0.003, seed=0, *, shuffled=False):
    return Run(Cell("exact", label, lr, seed, shuffled), points)


STRENGTHS = [point(0.5, 0.1, 0.6, chosen=(2.0, 1.0)), point(1.0, 0.3, 0.7), point(2.0, 0.2, 0.8, kl=3.0)]


def test_rank_correlation_by_hand():
    """Order 1, 3, 2 against 1, 2, 3: 1 − 6·2/(3·8) = .5. Equal values order nothing."""
    assert spearman([1, 9, 4], [0.1, 0.2, 0.3]) == pytest.approx(0.5)
    assert spearman([1, 1, 1], [0.1, 0.2, 0.3]) == 0
    assert spearman([1, 2], [0.1, 0.2]) is None
    assert spearman([1, 2, 3], [0.1, 0.1, 0.1]) is None


def test_correlations_are_means_over_groups_and_split_by_kl():
    """Strengths: measure .6, .7, .8 and gain .1, .3, .2 give .5; two points near the reference are too few."""
    groups = groups_of([run(STRENGTHS), run([*STRENGTHS], label="DPO()")], STRENGTH, LRS, "RPO()")
    assert correlations(groups, RANKING) == {("exact", 0): pytest.approx(0.5)}
    assert correlations(groups, RANKING, (0.0, 0.5)) == {}
    assert correlations(groups, GAIN) == {}


def test_a_choice_by_the_ranking_takes_the_largest_and_loses_the_rest():
    """It takes strength 2, with .2 of .3: regret .1, a third of the best gain."""
    groups = groups_of([run(STRENGTHS)], STRENGTH, LRS, "RPO()")
    (loss,) = losses_of(groups, by_measure(RANKING)).values()
    assert (loss.regret, loss.best, loss.share) == pytest.approx((0.1, 0.3, 1 / 3))
    assert mean_share({("exact", 0): loss, ("exact", 1): Loss(0.0, 0.1)}) == pytest.approx(0.25)


def test_a_half_chooses_and_the_other_half_judges():
    """Half 0 ranks the second best: its gain on the other half is .1 below. Half 1 ranks the first best: no loss."""
    first, second = point(1.0, 0.3, 0.7, halves=(0.6, 0.9)), point(2.0, 0.2, 0.7, halves=(0.8, 0.5))
    groups = groups_of([run([first, second])], STRENGTH, LRS, "RPO()")
    (loss,) = losses_of(groups, by_measure(RANKING)).values()
    assert loss.regret == pytest.approx(0.05)


def test_without_a_value_the_default_is_kept_and_refused_candidates_are_not_chosen():
    (group,) = groups_of([run(STRENGTHS)], STRENGTH, LRS, "RPO()")["exact", 0]
    assert by_measure(GAIN)(group, 0).point["scale"] == 1.0
    some = [point(0.5, 0.1, 0.6, checked=0.05), *STRENGTHS[1:]]
    (group,) = groups_of([run(some)], STRENGTH, LRS, "RPO()")["exact", 0]
    assert by_measure(GAIN)(group, 0).point["scale"] == 0.5


def test_the_code_chooses_by_each_half():
    (group,) = groups_of([run(STRENGTHS)], STRENGTH, LRS, "RPO()")["exact", 0]
    assert [by_code(group, half).point["scale"] for half in (0, 1)] == [2.0, 1.0]


def test_groups_and_defaults_of_every_task():
    """2 methods × 2 rates × 2 checkpoints, and shuffled runs, which are left out."""
    points = [point(1.0, 0.1, 0.6, step=8), *STRENGTHS]
    runs = [run(points, label, lr) for label in ("RPO()", "DPO()") for lr in (0.003, 0.01)]
    runs.append(run(points, shuffled=True))
    sizes = {}
    for task in (CHECKPOINT, LR, SETTING, STRENGTH, METHOD):
        groups = groups_of(runs, task, LRS, "RPO()")["exact", 0]
        sizes[task] = sorted(len(group) for group in groups)
        defaults = [one for group in groups for one in group if one.default]
        assert all(one.point["scale"] == 1.0 and one.point["step"] == 20 for one in defaults)
        assert task in (CHECKPOINT, STRENGTH, METHOD) or all(one.run.cell.lr == 0.003 for one in defaults)
        assert all(sum(one.default for one in group) == 1 for group in groups)
    assert sizes == {CHECKPOINT: [2] * 4, LR: [2, 2], SETTING: [4, 4], STRENGTH: [3] * 4, METHOD: [2, 2]}
    (one, two) = groups_of(runs, METHOD, LRS, "RPO()")["exact", 0]
    assert the_default(one).run.cell.label == the_default(two).run.cell.label == "RPO()"


def test_checks_count_refusals_and_intervals():
    points = [point(1, 0, 0), point(1, 0, 0, refused="share"), point(1, 0, 0, refused="mean weight")]
    found = checks_of(points)
    assert (found.policies, found.few, found.mean_weight, found.printed, found.held, found.held_all) == (
        3,
        1,
        1,
        1,
        1,
        1,
    )


def test_the_measure_that_is_used_loses_least_on_the_choosing_runs():
    """There the checked gain takes the best strength and the ranking does not."""
    some = [point(0.5, 0.1, 0.8, checked=0.1), point(1.0, 0.2, 0.7, checked=0.2), point(2.0, 0.3, 0.6, checked=0.3)]
    results = Results({"exact": [run(some, seed=1000)]}, {"exact": [run(STRENGTHS), run(STRENGTHS, seed=1)]})
    assert results.used(STRENGTH) == GAIN
    assert results.lost(STRENGTH, RANKING) == {"exact": pytest.approx(2 / 3)}
    excess = paired_excess(results, "exact", STRENGTH, RANKING)
    assert excess is not None
    assert (excess.value, excess.n) == (pytest.approx(0.1), 2)


def test_share_of_the_gap_to_the_best_of_the_grid():
    """Default .2, best of the grid .4 (of another method); the ranking takes strength 2 with .3: half of the gap."""
    own = [point(0.5, 0.1, 0.6), point(1.0, 0.2, 0.7), point(2.0, 0.3, 0.8)]
    other = [point(0.5, 0.1, 0.6), point(1.0, 0.4, 0.7), point(2.0, 0.3, 0.8)]
    results = Results({}, {"exact": [run(own), run(other, label="KTO()")]}, (), QUICK)
    lr = sorted(QUICK.exact.lrs)[1]
    results = Results({}, {"exact": [run(own, lr=lr), run(other, label="KTO()", lr=lr)]}, (), QUICK)
    (found,) = default_runs(results, "exact")
    assert (found.default, found.best_strength, found.best_of_grid) == pytest.approx((0.2, 0.3, 0.4))
    assert closed([found], RANKING) == pytest.approx(0.5)
    assert np.isfinite(closed([found], GAIN))
