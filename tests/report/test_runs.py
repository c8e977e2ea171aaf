"""From the folders of training runs to a report."""

import json

import pytest

from valuefree.errors import DataError
from valuefree.report import read_report
from valuefree.report.gains import paired_differences, paired_verdict
from valuefree.report.training import curves


def table(report, section, number=0):
    (found,) = [part for part in report.sections if part.key == section]
    return found.tables[number]


def test_one_run_shows_its_gain_curves_partition_and_answers(trained):
    report = read_report([trained()])
    assert report.title == "valuefree train: RPO on rows.jsonl"
    assert report.verdict == [
        "Measured gain in held-out reward (sampled responses) +0.500, 95 % interval [+0.400, +0.600] over 2 prompts, "
        "won / tied / lost 1 / 1 / 0 (sign test p = 1): the policy is better than its reference on this reward."
    ]
    assert [section.key for section in report.sections] == ["overview", "training", "partition", "notes"]
    rows = dict(table(report, "overview").rows)
    assert rows["measured gain, paired"] == "+0.500 [+0.400, +0.600]"
    assert rows["win / tie / loss by prompt"] == "1 / 1 / 0 (sign test p = 1)"
    assert rows["length in tokens, reference → policy"] == "7.0 → 5.0"
    assert [plot.name for plot in report.plots] == ["gains", "training", "validation", "partition"]
    assert report.sections[2].items == ["9 responses to 3 prompts.", "tau is low"]
    assert report.sections[3].items == ["nothing was cut"]


def test_the_larger_reward_wins_and_the_prompt_of_messages_is_its_text(trained):
    first, second = read_report([trained()]).completions
    assert (first.prompt, second.prompt) == ("p", "q")
    assert dict(first.responses) == {"policy": "run says\u2028so", "reference": "old p"}
    assert dict(first.rewards) == {"policy": 1.0, "reference": 0.0}
    assert [str(verdict) for verdict in (*first.verdicts, *second.verdicts)] == [
        "reward (m:f), policy against reference: policy wins",
        "reward (m:f), policy against reference: neutral",
    ]


def test_equal_gains_are_told_without_an_interval(trained):
    run = trained()
    file = run / "metrics.json"
    content = json.loads(file.read_text())
    content["evaluation"]["gain"]["interval"] = None
    file.write_text(json.dumps(content))
    assert read_report([run]).verdict == [
        "Measured gain +0.500 on each of 2 prompts, won / tied / lost 1 / 1 / 0 (sign test p = 1): all gains are "
        "equal, so no interval."
    ]


def test_several_runs_are_compared_on_the_prompts_they_share(trained):
    """d: 0 − 1 = −1 on p, 1 − 0.5 = +0.5 on q; the mean is −0.25."""
    report = read_report([trained("one"), trained("two", policy=(0.0, 1.0), seed=4), trained("three", seed=5)])
    assert len(report.verdict) == 4
    assert report.verdict[0].startswith("Compared on the same prompts, no policy is shown to have a higher reward")
    assert report.verdict[2].startswith("two: Measured gain in held-out reward (sampled responses) +0.250")
    rows = table(report, "overview").rows
    assert [[*row[:2], row[7]] for row in rows] == [["one", "RPO", "3"], ["two", "RPO", "4"], ["three", "RPO", "5"]]
    assert rows[0][2:4] == ["+0.500 [+0.400, +0.600]", "0.30 [0.10, 0.50]"]
    paired = table(report, "overview", 1).rows
    assert paired[0][0] == "two minus one"
    assert paired[0][1].startswith("-0.250")
    assert paired[1][:2] == ["three minus one", "+0.000 (n = 2)"]  # no two differences differ: no interval
    assert paired[2][0] == "three minus two"
    assert paired[2][1].startswith("+0.250")
    assert "KL" not in table(report, "overview", 1).note
    (training,) = [plot for plot in report.plots if plot.name == "training"]
    assert [len(panel.lines) for panel in training.figure.axes] == [3, 3]
    first = report.completions[0]
    assert list(first.responses) == ["one policy", "reference", "two policy", "three policy"]
    assert len(report.completions) == 2
    assert set(report.manifest) == {"one", "two", "three"}


def test_a_clear_difference_of_two_policies_is_the_first_sentence():
    """b − a = 1 − 0 on every of four prompts but one, where it is 0.5: the interval lies above zero."""
    rewards = {"a": [0.0, 0.0, 0.0, 0.0], "b": [1.0, 1.0, 1.0, 0.5]}
    runs = {run: {"held_out": list("pqrs"), "policy_rewards": values} for run, values in rewards.items()}
    said = paired_verdict(paired_differences(runs))
    assert said.startswith("Compared on the same prompts: b is better than a, +0.875 [")


def test_a_report_shows_settings_that_differ_and_where_the_others_are(trained):
    run = trained(max_kl=None)
    file = run / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps(manifest | {"given": {"model": "m"}, "defaults": {"max_kl": "no limit"}}))
    assert read_report([run]).manifest == {
        "command": "train",
        "settings that differ from the defaults": {"model": "m"},
        "objective": {"name": "RPO"},
        "commit": "abc",
        "all settings": str(file),
    }


def test_references_that_said_different_things_are_two_systems(trained):
    report = read_report([trained("one"), trained("two", answers=("other p", "old q"))])
    names = [list(entry.responses) for entry in report.completions]
    assert names == [["one policy", "one reference", "two policy", "two reference"]] * 2


def test_what_makes_runs_incomparable_is_said(trained):
    report = read_report([trained("one"), trained("two", reward_function="m:g")])
    assert report.sections[0].items == ["The runs have different reward functions: m:f, m:g."]
    assert [verdict.judge for verdict in report.completions[0].verdicts] == ["reward (m:f)", "reward (m:g)"]


def test_gains_at_unequal_kl_are_called_so_and_drawn_against_it(trained):
    report = read_report([trained("one", kl=0.22), trained("two", kl=15.75)])
    (warning,) = report.sections[0].items
    assert warning.startswith(
        "The gains are at unequal KL to the reference (in nats per response: one 0.22 after 2 steps, two "
    )
    (gains,) = [plot for plot in report.plots if plot.name == "gains"]
    against = gains.figure.axes[1]
    assert [line.get_xdata()[0] for line in against.lines if line.get_marker() == "o"] == [0.22, 15.75]
    assert read_report([trained("three", kl=0.3), trained("four", kl=0.4)]).sections[0].items == []
    unmeasured = read_report([trained("five", kl=None), trained("six", kl=0.4)])
    assert len(unmeasured.plots[0].figure.axes) == 1


def test_losses_of_unlike_objectives_have_panels_of_their_own(trained):
    report = read_report([trained("one"), trained("two", objective="DPO"), trained("three")])
    (training,) = [plot for plot in report.plots if plot.name == "training"]
    panels = {panel.get_title(loc="left"): [line.get_label() for line in panel.lines] for panel in training.figure.axes}
    assert panels == {
        "loss of RPO": ["one", "three"],
        "loss of DPO": ["two"],
        "mean log-ratio on the data, nats": ["one", "two", "three"],
    }


def test_a_control_is_called_one(trained):
    run = trained(shuffle_rewards=True)
    report = read_report([run])
    assert report.verdict[0].startswith("Control, rewards shuffled. Measured gain")
    assert "RPO, rewards shuffled" in report.title


def test_a_run_without_an_evaluation_says_so(trained):
    run = trained()
    (run / "metrics.json").write_text(json.dumps({"evaluation": None, "partition": None}))
    (run / "completions.jsonl").unlink()
    report = read_report([run])
    assert report.verdict == ["The policy was not evaluated: no prompts were held out."]
    assert not report.completions
    assert [section.key for section in report.sections] == ["training"]


def test_a_reward_model_shows_its_held_out_pairs(trained):
    run = trained()
    pairs = {"pairs": 12, "accuracy": 0.75, "margin": 1.5, "loss": 0.6}
    (run / "metrics.json").write_text(json.dumps({"held_out_pairs": pairs}))
    (run / "completions.jsonl").unlink()
    report = read_report([run])
    assert report.verdict == ["Orders 75.0% of 12 held-out pairs correctly."]
    (run / "metrics.json").write_text(json.dumps({"held_out_pairs": pairs | {"pairs": 4}}))
    few = "Orders 75.0% of 4 held-out pairs correctly. With so few pairs this share is uncertain by tens of"
    assert read_report([run]).verdict == [f"{few} percentage points."]
    assert table(report, "overview").rows == [["run", "12", "0.75", "1.5", "0.6"]]


def test_equal_folder_names_are_told_apart(trained):
    assert [sentence.split(":")[0] for sentence in read_report([trained("a/run"), trained("b/run")]).verdict[1:]] == [
        "a/run",
        "b/run",
    ]


def test_curves_leave_out_what_is_no_number_and_a_repeated_step_counts_once():
    """A resumed run logs a step twice; the objective's constants and the speed of evaluation are no curves."""
    history = [
        {"step": 2, "loss": 1.0, "epoch": 0.1, "target_p05": -2.0},
        {"step": 1, "loss": 3.0, "eval_runtime": 5.0},
        {"step": 2, "loss": 2.0, "logratio": float("nan"), "done": True},
        {"step": 3, "train_loss": 9.0, "held_out_accuracy": 0.5},
    ]
    assert curves(history) == {"loss": [(1, 3.0), (2, 2.0)], "eval_runtime": [(1, 5.0)]}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: (run / "metrics.json").unlink(), "metrics.json is missing: the run did not finish"),
        (lambda run: (run / "metrics.json").write_text("{"), "metrics.json cannot be read"),
        (lambda run: (run / "completions.jsonl").write_text("{"), "completions.jsonl cannot be read"),
        (lambda run: (run / "manifest.json").unlink(), "looked for manifest.json of valuefree train, demo"),
        (
            lambda run: (run / "manifest.json").write_text('{"command": "prepare"}'),
            "of command 'prepare', which has no report",
        ),
        (lambda run: (run / "manifest.json").write_text("[]"), "of command None, which has no report"),
        (lambda run: (run / "manifest.json").write_text('{"command": "train"}'), r"run: .*form \(KeyError: 'config'\)"),
        (
            lambda run: (run / "metrics.json").write_text('{"evaluation": {"gain": 1}}'),
            r"run: .*form \(KeyError: 'kl'\)",
        ),
        (lambda run: (run / "metrics.json").write_text("[1]"), "expected a JSON object, got list"),
        (lambda run: (run / "completions.jsonl").write_text('{"prompt": []}'), r"run: .*form \(KeyError: 'rewards'\)"),
        (
            lambda run: (run / "metrics.jsonl").write_text("[" * 10_000),
            "metrics.jsonl:1: nested deeper than 100 levels",
        ),
    ],
)
def test_a_folder_that_cannot_be_read_says_what_was_looked_for(trained, spoil, words):
    run = trained()
    spoil(run)
    with pytest.raises(DataError, match=words):
        read_report([run])


def test_no_folder_and_a_folder_twice_are_errors(trained, tmp_path):
    run = trained()
    with pytest.raises(DataError, match="no run to report on"):
        read_report([])
    with pytest.raises(DataError, match="is given twice"):
        read_report([run, run.parent / "." / run.name])
    with pytest.raises(DataError, match="is not a folder; looked for"):
        read_report([tmp_path / "nowhere"])


def test_metrics_of_texts_alone_have_a_report_of_their_own(trained):
    run = trained()
    manifest = json.loads((run / "manifest.json").read_text()) | {"command": "evaluate"}
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "metrics.json").write_text(json.dumps({"rougeL": {"value": 0.1}}))
    with pytest.raises(DataError, match=r"its metrics\.md is its report"):
        read_report([run])
