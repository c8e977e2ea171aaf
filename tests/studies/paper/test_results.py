"""Numbers of the tables worked out by hand, from a folder made by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from studies.paper import tables
from studies.paper.cells import Pair
from studies.paper.published import published
from studies.paper.results import REWARD_JUDGE, Results
from studies.paper.verdicts import side, spread
from tests.studies.paper.made import STRONG, WEAK
from valuefree.errors import DataError

REWARD = WEAK.__class__("reward")


def cell_of(table, row, column):
    """The cell of a table under `column`, in the row that begins with `row`."""
    (line,) = [line for line in table.rows if list(line[: len(row)]) == list(row)]
    return line[list(table.head).index(column)]


# ------------------------------------------------------------------------------------------------------------ spreads


def test_a_spread_is_mean_and_deviation_over_runs():
    found = spread([1.0, 2.0, 6.0], n=8, interval=(0.5, 5.5))
    assert (found.value, found.runs, found.n) == (3.0, 3, 8)
    assert found.deviation == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert spread([1.0], n=8, interval=None).deviation is None


@pytest.mark.parametrize(
    ("interval", "expected"), [((0.1, 2.0), 1), ((-2.0, -0.1), -1), ((-0.1, 0.1), 0), ((0.0, 1.0), 0), (None, 0)]
)
def test_an_interval_excludes_zero_or_holds_it(interval, expected):
    assert side(spread([1.0], n=8, interval=interval)) == expected


# ------------------------------------------------------------------------------------------------------------ metrics


def test_table_two_has_the_metrics_their_published_values_and_the_differences(make):
    """ROUGE-L of RPO: 0.30 and 0.34, so 0.32 ± 0.0283; Student's interval of two runs ± 12.706 · 0.02; paper 0.2885."""
    made = make()
    for seed, value in enumerate((0.30, 0.34)):
        made.cell("RPO", seed, metrics={"rougeL": value})
        made.cell("SFT", seed, None, metrics={"rougeL": 0.1})
    made.cell("KTO", 0, metrics={"rougeL": 0.25, "bleu": 0.05})
    table = tables.table_2(made.results)
    half = stats.t.ppf(0.975, 1) * 0.02
    rouge = {line[1]: line[2:] for line in table.rows if line[0] == "ROUGE-L ↑"}
    assert table.head == ["metric", "method", "here", "paper, Small", "difference"]
    assert rouge == {
        "KTO": ["0.2500 [0.2400, 0.2600]", "0.2369", "+0.0131"],  # one run: its interval over prompts
        "DRO": ["–", "0.2522", "–"],  # not run
        "RPO": [f"0.3200 ± 0.0283 [{0.32 - half:.4f}, {0.32 + half:.4f}]", "0.2885", "+0.0315"],
        "SFT": ["0.1000 ± 0.0000", "–", "–"],  # equal in both runs: no interval
    }
    assert {line[0] for line in table.rows if line[0].endswith("↓")} == {"Toxicity ↓"}
    assert "answers 8 held-out prompts" in table.note
    assert "Not measured here (BERTScore, SacreBLEU, METEOR, Toxicity)" in table.note


def test_a_method_that_was_not_run_is_no_metric_that_was_not_measured(make):
    made = make(methods=("SFT", "RPO"))
    names = ("bertscore", "rougeL", "bleu", "sacrebleu", "meteor", "toxicity")
    made.cell("RPO", 0, metrics=dict.fromkeys(names, 0.5))
    assert "Not measured" not in tables.table_2(made.results).note


@pytest.mark.parametrize("metric", ["bertscore", "toxicity"])
def test_a_metric_by_another_model_than_the_papers_is_named_and_not_compared(make, metric):
    made = make()
    made.cell("RPO", metrics={metric: 0.5, "rougeL": 0.5})
    record = made.results.study["manifest"]
    assert made.results.other_models == {}
    made.note(manifest=record | {"config": {f"{metric}_model": "/models/of/mine"}})
    table = tables.table_2(made.results)
    differences = {line[0].split()[0].lower().replace("-", ""): line[4] for line in table.rows if line[1] == "RPO"}
    assert differences[metric] == "–"
    assert differences["rougel"] == "+0.2115"
    assert "of/mine" in table.note


def test_student_intervals_of_metrics_do_not_go_below_zero(make):
    made = make()
    for seed, value in enumerate((0.01, 0.05)):
        made.cell("RPO", seed, metrics={"toxicity": value})
    found = made.results.metric("RPO", 1.0, "toxicity")
    assert found.interval[0] == 0.0
    assert found.interval[1] == pytest.approx(0.03 + stats.t.ppf(0.975, 1) * 0.02)


def test_table_five_sets_both_variants_beside_the_paper_at_each_temperature(make):
    made = make()
    for tau in made.taus:
        made.cell("RPO", 0, tau, metrics={"bleu": 0.04 + tau / 1000})
        made.cell("RPO-noNorm", 0, tau, metrics={"bleu": 0.01})
    table = tables.table_5(made.results)
    assert [line[1:3] for line in table.rows] == [
        [tau, name] for tau in ("0.1", "1", "5") for name in ("RPO", "RPO-noNorm")
    ]
    assert {line[0] for line in table.rows} == {"BLEU ↑"}
    assert table.rows[0][4:] == ["0.0354", f"{0.0401 - 0.0354:+.4f}"]
    assert table.rows[4][4] == f"{published('V', 'BLEU', 'RPO 5.0 Small').value:.4f}"
    assert table.rows[3][4:] == ["0.0135", "-0.0035"]


# ---------------------------------------------------------------------------------------------------------- win rates


def test_table_three_has_win_rates_their_spread_and_the_differences(make):
    """Five wins, a tie and two losses of 8, then eight wins: 68.75 and 100 %, mean 84.375, deviation 22.10."""
    made = make()
    made.judged(WEAK, "RPO", "SFT", [1, 1, 1, 1, 1, 0.5, 0, 0])
    made.judged(WEAK, "RPO", "SFT", [1] * 8, seed=1)
    made.judged(WEAK, "RPO", "KTO", [0] * 8)
    table = tables.table_3(made.results)
    assert table.head[3] == "paper Small: Mistral, LLaMA"
    sft, kto, dro = table.rows
    assert sft[:2] == ["weak (loaded here)", "SFT"]
    assert sft[2].startswith("84.4 ± 22.1 [")
    assert sft[2].endswith("(2 runs × 8 prompts, p = 0.0312)")
    assert sft[3] == "82.78 ± 1.93, 63.66 ± 1.62"
    assert sft[4] == "+1.6, +20.7"
    assert kto[2] == "0.0 [0.0, 36.9] (8 prompts, p = 0.00781)"
    assert kto[4] == f"{-82.60:+.1f}, {-65.76:+.1f}"
    assert dro[2:] == ["–", "83.97 ± 2.34, 65.26 ± 0.41", "–"]


def test_the_interval_of_a_rate_resamples_prompts_not_answers(make):
    """Two runs whose verdicts are the same say no more about the prompts than one."""
    made = make(seeds=4)
    scores = [1, 1, 1, 1, 1, 0, 0, 0]
    made.judged(WEAK, "RPO", "SFT", scores)
    alone = made.results.judged(WEAK.title, Pair("RPO", "SFT")).rate
    for seed in (1, 2, 3):
        made.judged(WEAK, "RPO", "SFT", scores, seed=seed)
    four = made.results.judged(WEAK.title, Pair("RPO", "SFT")).rate
    assert four.interval == alone.interval
    assert (four.value, four.deviation, four.n, alone.deviation) == (62.5, 0.0, 8, None)


def test_tables_four_and_six_go_by_temperature(make):
    made = make()
    for tau, wins in ((0.1, 8), (1.0, 4), (5.0, 6)):
        made.judged(WEAK, "RPO", "SFT", [1] * wins + [0] * (8 - wins), tau=tau)
        made.judged(WEAK, "RPO", "RPO-noNorm", [0] * wins + [1] * (8 - wins), tau=tau)
    four, six = tables.table_4(made.results), tables.table_6(made.results)
    assert [line[1] for line in four.rows] == ["0.1", "1", "5"]
    assert [line[2].split()[0] for line in four.rows] == ["100.0", "50.0", "75.0"]
    assert [line[2].split()[0] for line in six.rows] == ["0.0", "50.0", "25.0"]
    assert four.rows[0][3:] == ["84.45 ± 1.14, 78.73 ± 1.07", f"{100 - 84.45:+.1f}, {100 - 78.73:+.1f}"]
    assert six.rows[2][3] == "95.77 ± 1.02, 91.80 ± 0.97"


def test_a_temperature_that_the_paper_lacks_has_nothing_beside_it(make):
    made = make(taus=(0.5, 1.0))
    for tau in made.taus:
        made.judged(WEAK, "RPO", "SFT", [1] * 8, tau=tau)
        made.cell("RPO", 0, tau, metrics={"bleu": 0.04})
    four = tables.table_4(made.results)
    assert four.rows[0][1:] == ["0.5", "100.0 [63.1, 100.0] (8 prompts, p = 0.00781)", "–", "–"]
    assert four.rows[1][3] == "82.78 ± 1.93, 63.66 ± 1.62"
    five = tables.table_5(made.results)
    assert five.rows[0][1:] == ["0.5", "RPO", "0.0400 [0.0300, 0.0500]", "–", "–"]


def test_judges_stand_apart_and_the_reward_function_first(make):
    made = make(judges=(WEAK, STRONG))
    made.judged(REWARD, "RPO", "SFT", [1, 1, 1, 1, 1, 1, 0, 0])
    made.judged(WEAK, "RPO", "SFT", [1, 1, 0.5, 0, 0, 1, 0, 1])
    made.judged(STRONG, "RPO", "SFT", [1] * 8)
    assert made.results.judges == [REWARD_JUDGE, "weak (loaded here)", "strong (server)"]
    assert [line[2].split()[0] for line in tables.table_3(made.results).rows[::3]] == ["75.0", "56.2", "100.0"]
    # of the weak judge's 7 decided pairs: 0, 1, 5 agree, 3 and 4 do not, 6 agrees, 7 does not
    assert tables.agreement_with_reward(made.results, WEAK.title) == "4 of 7"
    judges = tables.judges_table(made.results)
    assert [line[0] for line in judges.rows] == [WEAK.title, STRONG.title]
    assert judges.rows[0][1:3] == ["8", "100%"]
    assert judges.rows[1][5] == "6 of 8"


def test_verdicts_on_another_number_of_prompts_are_not_mixed_in(make):
    """Left from a run that judged two seeds on fewer prompts."""
    made = make()
    made.judged(WEAK, "RPO", "SFT", [1] * 8)
    made.judged(WEAK, "RPO", "SFT", [0] * 8, seed=1)
    file = next(made.folder.glob("judged/*seed1*"))
    file.write_text(file.read_text().replace('"prompts": null', '"prompts": 3', 1))
    assert made.results.judged(WEAK.title, Pair("RPO", "SFT")).rate.value == 100.0


# ------------------------------------------------------------------------------------------------------------ rewards


def test_gains_are_paired_on_prompt_and_seed(make):
    """RPO is better by 1 on every prompt of seed 0 and by 2 on those of seed 1: 1.5 for each, whatever the prompt."""
    made = make()
    hard = np.arange(8.0)
    for seed in range(2):
        made.cell("SFT", seed, None, rewards=list(hard))
        made.cell("RPO", seed, rewards=list(hard + 1 + seed), kl=0.5 + seed)
    gain = made.results.gain("RPO")
    assert (gain.value, gain.interval, gain.n) == (1.5, None, 8)  # no two prompts differ
    assert made.results.reward("RPO").value == 5.0
    table = tables.rewards_table(made.results)
    assert cell_of(table, ["RPO"], "gain over the reference") == "+1.500"
    assert cell_of(tables.distance_table(made.results), ["RPO"], "KL").startswith("1.00 ± 0.71 [")
    assert cell_of(table, ["SFT"], "gain over the reference") == "–"
    assert cell_of(table, ["RPO"], "used the rewards") == "–"  # no control was run


def test_a_seed_that_failed_is_left_out_on_both_sides(make):
    made = make()
    for seed in range(2):
        made.cell("SFT", seed, None, rewards=[0.0 + 5 * seed] * 8)
    made.cell("RPO", 0, error="RuntimeError: no memory")
    made.cell("RPO", 1, rewards=[6.0] * 8)
    gain = made.results.gain("RPO")
    assert gain.value == 1.0  # 6 − 5, not 6 − 2.5
    assert [row.cell.seed for row in made.results.runs("RPO")] == [1]
    assert [row.error for row in made.results.rows if row.error] == ["RuntimeError: no memory"]


@pytest.mark.parametrize(
    ("shuffled", "used"),
    [
        (0.0, "yes: +1.000 [+0.9"),
        (1.0, "not shown: +0.000 [-0."),
        (1.5, "not shown: -0.500 [-0.5"),
    ],
)
def test_rewards_were_used_if_the_gain_exceeds_that_on_shuffled_ones(make, shuffled, used):
    made = make()
    made.cell("SFT", 0, None, rewards=[0.0] * 8)
    made.cell("RPO", 0, rewards=[1.0] * 8)
    around = [shuffled + 0.05 * (-1) ** number for number in range(8)]
    made.cell("RPO", 0, rewards=around, shuffled=True)
    table = tables.rewards_table(made.results)
    assert cell_of(table, ["RPO"], "used the rewards").startswith(used)
    assert cell_of(table, ["RPO"], "gain, rewards shuffled").startswith(f"{shuffled:+.3f} [")


def test_runs_of_an_earlier_and_larger_grid_are_not_of_this_study(make):
    made = make(methods=("SFT", "RPO"), taus=(1.0,), seeds=1)
    made.cell("RPO", 0, rewards=[1.0] * 8)
    made.cell("KTO", 0, error="ValueError: once")  # another method
    made.cell("RPO", 1, error="ValueError: once")  # another seed
    made.cell("RPO", 0, 5.0, error="ValueError: once")  # another temperature
    assert not [row for row in made.results.every_row if row.error]
    assert [row.cell.name for row in made.results.rows] == ["tiny-RPO-tau1-seed0"]


def test_a_control_from_before_is_not_of_a_study_without_it(make):
    made = make(methods=("SFT", "RPO"), taus=(1.0,), seeds=1)
    made.cell("RPO", 0, rewards=[1.0] * 8, shuffled=True)
    assert len(made.results.rows) == 1
    made.note(control="none")
    assert made.results.rows == []


# ------------------------------------------------------------------------------------------------------------- timing


def test_figure_one_in_numbers(make):
    made = make()
    made.timing({"RPO": [2.0, 2.0, 2.0], "KTO": [3.0, 4.0, 5.0]})
    table = tables.timing_table(made.results)
    assert table.rows[0][:5] == ["width 64, 0.25 M", "RPO", "2.00 ± 0.00", "1.00", "3.00"]
    assert table.rows[1][:5] == ["width 64, 0.25 M", "KTO", "4.00 ± 1.00", "2.00", "5.00"]
    assert "3 repetitions" in table.note


def test_without_timings_there_is_no_table(make):
    assert tables.timing_table(make().results) is None


# ----------------------------------------------------------------------------------------------------------- no study


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no finished study of the paper"):
        Results(tmp_path)
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(DataError, match="holds no finished study of the paper"):
        Results(tmp_path)


def test_an_empty_study_has_tables_of_dashes(make):
    results = make().results
    assert results.gain("RPO") is None
    assert results.judges == [WEAK.title]
    for table in (tables.table_3(results), tables.table_4(results)):
        assert {line[2] for line in table.rows} == {"–"}
    assert tables.rewards_table(results).rows == []
    assert tables.more_rates_table(results).rows == []
    assert tables.judges_table(results).rows == []
