"""The paper's claims about sizes: three sizes of one model are compared, by intervals that do not overlap."""

from dataclasses import asdict, replace

import pytest

from studies.paper.cells import cells_of
from studies.paper.judging import JudgeSpec
from studies.paper.methods import METHODS
from studies.paper.page import report_of
from studies.paper.rules import findings
from studies.paper.scales import SCALES
from studies.paper.sizes import separation, small_tau, steadier_with_size

FAMILY = [replace(SCALES[name], test_prompts=8) for name in ("tiny", "tiny-128", "tiny-256")]
REWARD = JudgeSpec("reward")
WON, LOST, MOSTLY = [1.0] * 8, [0.0] * 8, [1.0] * 7 + [0.0]


def sized(make, write, scales=FAMILY):
    """A study of several sizes; `write` adds the runs of one, given its rank."""
    made = make(methods=("SFT", "KTO", "DRO", "RPO"), judges=())
    for rank, scale in enumerate(scales):
        made.scale = scale
        made.note()
        write(made, rank)
    made.note(scales=[asdict(scale) for scale in scales])
    return made.results


def judged(by_size, *, tau=0.1):
    def write(made, rank):
        for seed in range(2):
            made.cell("SFT", seed, None, rewards=[0.0] * 8)
            made.cell("RPO", seed, tau, rewards=[0.0] * 8)
            made.judged(REWARD, "RPO", "SFT", by_size[rank], seed=seed, tau=tau)

    return write


def rewarded(by_size):
    """by_size: of each size, the reward by (method, τ); RPO's at τ ≤ 1 is .01 higher or lower, prompt by prompt."""

    def write(made, rank):
        for (method, tau), reward in by_size[rank].items():
            for seed in range(2):
                spread = 0.01 if method == "RPO" and tau <= 1 else 0.0
                made.cell(method, seed, tau, rewards=[reward + spread, reward - spread] * 4)

    return write


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [
        ((WON, LOST, WON), "supported"),
        ((WON, WON, WON), "undecided"),  # no drop, and none of the three lies above another
        ((LOST, WON, LOST), "contradicted"),
        ((WON, LOST, LOST), "contradicted"),
    ],
)
def test_a_small_temperature_drops_at_the_middle_size_alone(make, rates, verdict):
    found, text = small_tau(sized(make, judged(rates)))
    assert found == verdict
    assert text.startswith("win rate over SFT at τ = 0.1 by reward function: tiny T5: ")


def move(before, after):
    return {("RPO", 5.0): before, ("RPO", 0.1): after}


@pytest.mark.parametrize(
    ("large", "verdict"),
    [
        (move(0.2, 0.3), "supported"),
        (move(0.5, -0.4), "contradicted"),  # as far, in the other direction
        (move(0.1, 0.6), "undecided"),
    ],
)
def test_rpo_is_steadier_where_the_reward_moves_less_between_temperatures(make, large, verdict):
    found, text = steadier_with_size(sized(make, rewarded([move(0.1, 0.6), move(0.0, 0.0), large])))
    assert found == verdict
    assert "tiny T5: +0.500" in text


def leads(kto, dro):
    return {("RPO", 1.0): 0.5, ("KTO", 1.0): 0.5 - kto, ("DRO", 1.0): 0.5 - dro}


@pytest.mark.parametrize(
    ("large", "verdict"),
    [(leads(0.4, 0.4), "supported"), (leads(0.4, 0.1), "contradicted"), (leads(0.4, 0.2), "undecided")],
)
def test_methods_are_separated_where_both_leads_are_the_largest(make, large, verdict):
    found, _ = separation(sized(make, rewarded([leads(0.2, 0.2), leads(0.1, 0.1), large])))
    assert found == verdict


def test_without_three_sizes_of_one_model_the_claims_are_not_tested(make):
    two = sized(make, judged([WON, LOST]), FAMILY[:2])
    for rule in (small_tau, steadier_with_size, separation):
        found, text = rule(two)
        assert found == "not tested"
        assert "three sizes of one model" in text


def test_each_size_has_the_same_finding_and_no_other_model_is_taken_for_a_size(make):
    other = replace(SCALES["smol"], test_prompts=8)
    results = sized(make, judged([WON, LOST, WON, WON]), [*FAMILY, other])
    assert [one.scale.name for one in results.at(FAMILY[1]).sizes] == ["tiny", "tiny-128", "tiny-256"]
    assert results.at(other).sizes == []
    of_sizes = [next(one for one in findings(results.at(scale)) if one.claim == "tau-small") for scale in FAMILY]
    assert of_sizes[0] == of_sizes[1] == of_sizes[2]


def test_larger_sizes_of_the_tiny_model_have_the_papers_methods_and_no_control(make):
    cells = cells_of(FAMILY, list(METHODS.values()), [0.1, 1.0, 5.0], 2, control=True)
    for scale in FAMILY[1:]:
        own = [cell for cell in cells if cell.scale == scale.name]
        assert {cell.method for cell in own} == {"SFT", "KTO", "DRO", "RPO", "RPO-noNorm"}
        assert len(own) == (1 + 4 * 3) * 2
        assert not any(cell.shuffled for cell in own)
    assert any(cell.shuffled for cell in cells if cell.scale == "tiny")


def test_the_page_shows_their_tables_and_verdicts_beside_the_papers_size_of_their_rank(make):
    results = sized(make, judged([WON, LOST, WON], tau=1.0))
    report = report_of(results.folder)
    keys = [section.key for section in report.sections]
    assert {"supports-tiny-128", "tables-tiny-256", "beyond-tiny"} <= set(keys)
    assert "beyond-tiny-128" not in keys
    (tables,) = [section for section in report.sections if section.key == "tables-tiny-256"]
    assert "paper, XL" in {cell for one in tables.tables for cell in one.head}
