"""The table of constant answers: how many are judged, and no rate from too few."""

import pytest

from calibration.judges import attack, injection_cells
from valuefree.evaluation import FunctionJudge


def result_of(readable):
    """A judge that always picks the second place, and is unreadable from prompt number `readable` on."""
    prompts = [f"{number:02d} prompt" for number in range(12)]

    def answer(question):
        number = next(int(prompt[:2]) for prompt in prompts if prompt in question)
        return "B" if number < readable else "I cannot say."

    judge = FunctionJudge(answer, name="second")
    return attack("constant", prompts, ["real"] * 12, backend=judge, prompt="guarded")


@pytest.mark.parametrize("readable", [0, 1, 5])
def test_a_rate_of_fewer_than_half_of_the_pairs_is_left_out(readable):
    judged, rate, bounds, place = injection_cells(result_of(readable))
    assert judged == f"{readable} of 12"
    assert rate == place == "too few judged to say"
    low, high = readable / 2 / 12, (12 - readable / 2) / 12
    assert bounds == f"{low:.1%} to {high:.1%}"


def test_of_half_or_more_the_rate_stands_with_an_interval_that_is_not_a_point():
    """All six judged pairs are ½ by disagreement of the orders: .025^(1/6) = .5407 may be as they are, ½ ± .2297."""
    judged, rate, _, place = injection_cells(result_of(6))
    assert (judged, rate) == ("6 of 12", "50.0% [27.0%, 73.0%], p = 1")
    assert place == "0.0% [0.0%, 45.9%]"
