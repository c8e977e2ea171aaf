"""Several systems: all pairs, a ranking, and the paper's table."""

import math
import re

import pytest

from evaluation.judging.judges import prefers, says
from valuefree.errors import DataError
from valuefree.evaluation import arena, judge, win_rate_table
from valuefree.evaluation.judging.arena import rank
from valuefree.evaluation.judging.tables import pair_rows, ranking_rows, table_of

PROMPTS = [f"p{i}" for i in range(30)]
SYSTEMS = {
    "short": ["w" * (1 + i % 3) + f"{i}" for i in range(30)],
    "long": ["w" * (3 + i % 3) + f"{i}" for i in range(30)],
    "middle": ["w" * (2 + i % 3) + f"{i}" for i in range(30)],
}


def test_all_pairs_are_judged_and_ranked():
    result = arena(PROMPTS, SYSTEMS, backend=prefers(len))
    assert list(result.pairs) == [("short", "long"), ("short", "middle"), ("long", "middle")]
    assert [name for name, _ in result.ranking.ranked()] == ["long", "middle", "short"]
    assert [name for name, _ in ranking_rows(result)] == ["long", "middle", "short"]
    assert result.asked.answered == 180
    strengths = [estimate.value for estimate in result.ranking.strengths]
    assert sum(strengths) == pytest.approx(0, abs=1e-6)
    assert result.to_dict()["ranking"]["comparisons"] == 90
    parts = result.report().split("\n\n")
    assert parts[:3] == [pair.report() for pair in result.pairs.values()]
    assert [line.split(":")[0] for line in parts[3].splitlines()[1:]] == ["long", "middle", "short"]


def test_a_strength_is_also_a_probability_to_win_against_the_mean():
    """Of two systems that were compared 30 times one always won: with a virtual tie log(30.5/.5)/2, each way."""
    runs = {"won": ["won"] * 30, "lost": ["lost"] * 30}
    rows = dict(ranking_rows(arena(PROMPTS, runs, backend=prefers(RANKS.get))))
    strength = math.log(30.5 / 0.5) / 2
    share = 1 / (1 + math.exp(-strength))
    assert f"log-odds; wins {share:.1%} [" in rows["won"]
    assert f"log-odds; wins {1 - share:.1%} [" in rows["lost"]


def test_one_against_the_others_is_not_ranked():
    result = arena(PROMPTS, SYSTEMS, backend=prefers(len), against="middle")
    assert list(result.pairs) == [("middle", "short"), ("middle", "long")]
    assert result.ranking is None
    assert ranking_rows(result) == []


def test_nothing_judged_is_nothing_ranked():
    backend, _ = says(lambda first, second: "no idea")
    assert rank(arena(PROMPTS, SYSTEMS, backend=backend).pairs) is None


def test_one_system_or_an_unknown_one_is_refused():
    with pytest.raises(DataError, match="at least two"):
        arena(PROMPTS, {"a": SYSTEMS["long"]}, backend=prefers(len))
    with pytest.raises(DataError, match="no system 'tall'"):
        arena(PROMPTS, SYSTEMS, backend=prefers(len), against="tall")


def of(wins, total, prompts=30):
    """A result with so many pairs won and the rest lost."""
    one = ["won" if i < wins else "lost" for i in range(total)]
    return judge([f"p{i % prompts}" for i in range(total)], one, ["even"] * total, backend=prefers(RANKS.get))


RANKS = {"won": 2, "even": 1, "lost": 0}


def test_the_table_has_the_layout_of_table_iii():
    """Bold where the interval excludes 50; several runs as mean ± standard deviation: 60, 70, 80 → 70 ± 10."""
    runs = [of(18, 30), of(21, 30), of(24, 30)]
    text = win_rate_table({"Small": {"SFT": [of(15, 30)], "KTO": [of(29, 30)], "DRO": runs}}, judge="J", corner="Size")
    lines = text.splitlines()
    assert lines[0] == "Judgment by J: win rate (%)"
    assert lines[2] == "| Size | SFT | KTO | DRO |"
    cells = [cell.strip() for cell in lines[4].split("|")[1:-1]]
    assert cells[0] == "Small"
    assert re.fullmatch(r"50\.00 \[\d+\.\d, \d+\.\d\] n = 30, p = 1", cells[1])
    assert cells[2].startswith("**96.67 [")
    assert cells[3] == "70.00 ± 10.00 (SD of 3 runs, n = 30 each)"
    assert "standard deviation over runs" in lines[-1]


def test_two_wins_of_two_are_not_bold_and_six_of_six_are():
    """p of the sign test: 2·(½)² = .5 and 2·(½)⁶ = .03125."""
    text = win_rate_table({"x": {"two": [of(2, 2)], "six": [of(6, 6)]}}, judge="J")
    assert "| 100.00 [15.8, 100.0] n = 2, p = 0.5 |" in text
    assert "| **100.00 [54.1, 100.0]** n = 6, p = 0.0312 |" in text


def test_no_number_stands_where_nothing_is_judged():
    backend, _ = says(lambda first, second: "no idea")
    nothing = judge(["p"], ["a"], ["b"], backend=backend)
    assert "| unjudged |" in win_rate_table({"x": {"y": [nothing]}}, judge="J")
    assert dict(pair_rows(nothing))["win rate of A over B"] == "none"
    with pytest.raises(DataError):
        win_rate_table({}, judge="J")


def test_runs_of_an_arena_share_one_table():
    runs = [arena(PROMPTS, SYSTEMS, backend=prefers(len), against="long") for _ in range(2)]
    text = table_of(runs[0], runs, judge="J")
    assert "| long |" in text
    assert text.count("SD of 2 runs") == 2
