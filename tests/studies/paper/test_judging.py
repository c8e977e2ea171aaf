"""Which pairs are judged, how judges are named, and that only what lacks is asked."""

import json
import re
from contextlib import contextmanager

import pytest

from studies.options import StudyPaperConfig
from studies.paper import judging
from studies.paper.cells import Pair, pairs_of, paper_pairs, responses_file
from studies.paper.judging import JudgeSpec, judge_pairs
from studies.paper.methods import METHODS
from studies.paper.run import Plan
from valuefree.errors import ConfigError
from valuefree.evaluation.judging.backends import FunctionJudge

TAUS = (0.1, 1.0, 5.0)

# -------------------------------------------------------------------------------------------------------------- pairs


def test_the_pairs_are_those_of_tables_three_four_and_six():
    table_3 = [("RPO", "SFT", 1.0), ("RPO", "KTO", 1.0), ("RPO", "DRO", 1.0)]
    table_4 = [("RPO", "SFT", tau) for tau in TAUS]
    table_6 = [("RPO", "RPO-noNorm", tau) for tau in TAUS]
    expected = {Pair(*fields) for fields in (*table_3, *table_4, *table_6)}
    found = paper_pairs(TAUS)
    assert set(found) == expected
    assert len(found) == 8  # RPO against SFT at τ = 1 stands in Tables III and IV, and is judged once


def test_only_pairs_of_methods_that_were_run_are_judged():
    assert pairs_of(["SFT", "RPO"], [1.0], ours=True) == [Pair("RPO", "SFT")]
    ours = pairs_of(list(METHODS), TAUS, ours=True)
    assert set(paper_pairs(TAUS)) < set(ours)
    assert Pair("RPO() auto", "RPO", 1.0) in ours
    assert Pair("RPO() self-tuned", "RPO() auto", 1.0) in ours
    assert len(ours) == len(set(ours)) == 8 + 3 + 7 + 5


def test_a_pair_compares_runs_of_one_seed():
    first, second = Pair("RPO", "SFT", 0.1).cells("tiny", 2)
    assert (first.name, second.name) == ("tiny-RPO-tau0.1-seed2", "tiny-SFT-seed2")


def test_models_judge_the_papers_pairs_unless_they_see_all_prompts(tmp_path):
    given = {"out": str(tmp_path), "methods": "RPO;SFT-all", "taus": "1", "seeds": 3, "judge_seeds": 2}
    plan = Plan.of(StudyPaperConfig(**given))
    assert plan.to_judge(plan.judges[0]) == [(Pair("RPO", "SFT"), "tiny", seed) for seed in range(2)]
    assert len(plan.to_judge(JudgeSpec("reward"))) == 2 * 3  # SFT-all too, all seeds
    everything = Plan.of(StudyPaperConfig(**given, judge_prompts=0))
    assert len(everything.to_judge(everything.judges[0])) == 2 * 2


def test_without_a_reward_function_it_judges_nothing(tmp_path):
    plan = Plan.of(StudyPaperConfig(scale="small", out=str(tmp_path)))
    assert plan.to_judge(JudgeSpec("reward")) == []
    assert plan.to_judge(plan.judges[0])


# ------------------------------------------------------------------------------------------------------------- judges


@pytest.mark.parametrize(
    ("text", "name", "address", "title"),
    [
        ("smollm2", "smollm2", None, "smollm2 (loaded here)"),
        ("smollm2@serve", "smollm2", "serve", "smollm2 (served)"),
        ("org/model@http://host:80/v1", "org/model", "http://host:80/v1", "model (server)"),
        ("org/model@https://host/v1", "org/model", "https://host/v1", "model (server)"),
    ],
)
def test_judges_are_parsed(text, name, address, title):
    spec = JudgeSpec.parse(text)
    assert (spec.name, spec.address, spec.title) == (name, address, title)


@pytest.mark.parametrize("text", ["", "@serve", "model@", "model@ftp://host", "model@httpd", "reward@serve"])
def test_judges_that_cannot_be_meant(text):
    with pytest.raises(ConfigError, match=re.escape(f"judge {text!r}: expected")):
        JudgeSpec.parse(text)


def test_the_papers_judges_are_known_by_name():
    assert JudgeSpec.parse("mistral-7b-instruct-v0.3@http://host/v1").model == "mistralai/Mistral-7B-Instruct-v0.3"
    assert JudgeSpec.parse("llama-3-8b-instruct").model == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert JudgeSpec.parse("other/model").model == "other/model"


def test_the_address_of_a_server_is_no_part_of_who_judges():
    here, there = JudgeSpec("m", "serve"), JudgeSpec("m", "http://there/v1")
    assert here.key == there.key != JudgeSpec("m").key != JudgeSpec("n").key


@pytest.mark.parametrize("judges", [("m@serve", "m@http://there/v1"), ("a/m@serve", "b/m@serve"), ("m", "m")])
def test_two_judges_of_one_name_are_refused(judges, tmp_path):
    """Their verdicts, or their lines in the tables, would be one another's."""
    with pytest.raises(ConfigError, match=r"judge .* is named like"):
        Plan.of(StudyPaperConfig(out=str(tmp_path), judge=judges))


def test_the_reward_function_judges_once(tmp_path):
    plan = Plan.of(StudyPaperConfig(out=str(tmp_path), judge=("reward", "none")))
    assert plan.judges == []


# ----------------------------------------------------------------------------------------------------- asking, resume


class Fake:
    """In place of a model: prefers the longer answer, and fails where `down` says so."""

    def __init__(self, monkeypatch):
        self.asked: list[str] = []
        self.down = lambda question: False
        self.opened = 0
        outer = self

        @contextmanager
        def backend(spec, folder):
            outer.opened += 1
            yield FunctionJudge(outer.answer, name=spec.name, revision="1")

        monkeypatch.setattr(JudgeSpec, "backend", backend)

    def answer(self, question):
        self.asked.append(question)
        if self.down(question):
            return None
        first, second = re.search(r"Response A:\n(.*?)\nResponse B:\n(.*?)\nYour answer", question, re.S).groups()
        return "Neutral" if len(first) == len(second) else "A" if len(first) > len(second) else "B"


@pytest.fixture
def fake(monkeypatch):
    return Fake(monkeypatch)


@pytest.fixture
def answered(make):
    """RPO's answers are longer than those of SFT by the τ in their names."""
    made = make()
    for seed in range(2):
        made.cell("SFT", seed, None, rewards=[0.0] * 8)
        made.cell("RPO", seed, rewards=[1.0, 1.0, 1.0, 1.0, 1.0, 0.0, -1.0, -1.0])
    return made


TODO = [(Pair("RPO", "SFT"), "tiny", seed) for seed in range(2)]


def verdicts(spec, entry, made):
    return json.loads(kept(spec, entry, made).read_text())


def kept(spec, entry, made):
    compared, scale, seed = entry
    return compared.file(made.folder, spec.key, scale, seed)


def test_the_papers_prompt_is_put_in_both_orders(answered, fake):
    judge_pairs(JudgeSpec("m"), TODO[:1], answered.folder, prompts=3, say=lambda _: None)
    assert len(fake.asked) == 2 * 3
    assert fake.asked[0].startswith("You are an impartial assistant that judges responses based on helpfulness")
    shown = [re.search(r"Response A:\n(\S+)", question)[1] for question in fake.asked]
    assert sorted(shown) == ["tiny-RPO-tau1-seed0"] * 3 + ["tiny-SFT-seed0"] * 3
    found = verdicts(JudgeSpec("m"), TODO[0], answered)
    assert found["pair"] == ["RPO", 1.0, "SFT", None]
    assert (found["seed"], found["scale"], found["prompts"]) == (0, "tiny", 3)
    assert [verdict["score"] for verdict in found["verdicts"]] == [1.0, 1.0, 1.0]
    assert [verdict["prompt"] for verdict in found["verdicts"]] == answered.prompts[:3]
    assert found["result"]["win_rate"]["value"] == 1.0


def test_what_is_judged_is_not_judged_again(answered, fake):
    spec, said = JudgeSpec("m"), []
    judge_pairs(spec, TODO[:1], answered.folder, prompts=3, say=said.append)
    before = kept(spec, TODO[0], answered).stat().st_mtime_ns
    judge_pairs(spec, TODO, answered.folder, prompts=3, say=said.append)
    assert len(fake.asked) == 2 * 3 * 2  # the second seed's, and none of the first's
    assert kept(spec, TODO[0], answered).stat().st_mtime_ns == before
    assert [line.split(":")[1] for line in said] == [" 1 of 1 pairs, coverage 100%"] * 2
    assert fake.opened == 2
    judge_pairs(spec, TODO, answered.folder, prompts=3, say=said.append)
    assert fake.opened == 2  # no model is loaded for nothing


def test_more_prompts_ask_for_the_further_ones_only(answered, fake):
    judge_pairs(JudgeSpec("m"), TODO[:1], answered.folder, prompts=3, say=lambda _: None)
    judge_pairs(JudgeSpec("m"), TODO[:1], answered.folder, prompts=None, say=lambda _: None)
    assert len(fake.asked) == 2 * 8
    assert len(set(fake.asked)) == 2 * 8
    assert len(verdicts(JudgeSpec("m"), TODO[0], answered)["verdicts"]) == 8


def test_a_call_that_failed_is_made_again_and_no_other(answered, fake):
    spec = JudgeSpec("m")
    fake.down = lambda question: "prompt 1" in question
    judge_pairs(spec, TODO[:1], answered.folder, prompts=3, say=lambda _: None)
    found = verdicts(spec, TODO[0], answered)
    assert [verdict["score"] for verdict in found["verdicts"]] == [1.0, None, 1.0]
    assert found["result"]["coverage"] == pytest.approx(2 / 3)
    assert found["result"]["asked"]["failed"] == 2
    fake.asked.clear()
    fake.down = lambda question: False
    judge_pairs(spec, TODO[:1], answered.folder, prompts=3, say=lambda _: None)
    assert len(fake.asked) == 2
    assert all("prompt 1" in question for question in fake.asked)
    assert verdicts(spec, TODO[0], answered)["result"]["coverage"] == 1.0


def test_answers_of_one_judge_are_not_taken_for_anothers(answered, fake):
    for name in ("m", "n"):
        judge_pairs(JudgeSpec(name), TODO[:1], answered.folder, prompts=2, say=lambda _: None)
    assert len(fake.asked) == 2 * 2 * 2
    assert len(list((answered.folder / "judged").iterdir())) == 2


def test_the_reward_function_judges_by_the_rewards_that_are_known(answered, fake):
    """RPO's 5 × 1, 0, 2 × −1 against SFT's zeros: 5 wins, a tie, 2 losses of 8."""
    judge_pairs(JudgeSpec("reward"), TODO, answered.folder, prompts=None, say=lambda _: None)
    assert fake.opened == 0
    found = verdicts(JudgeSpec("reward"), TODO[1], answered)
    assert [verdict["score"] for verdict in found["verdicts"]] == [1, 1, 1, 1, 1, 0.5, 0, 0]
    assert found["result"]["win_rate"]["value"] == pytest.approx(5.5 / 8)
    assert kept(JudgeSpec("reward"), TODO[1], answered).name.startswith("reward-tiny-RPO-tau1-seed1--")


def test_a_reward_model_scores_each_run_once_and_judges_as_many_pairs_as_the_reward_function(
    answered, fake, monkeypatch, tmp_path
):
    """It gives an answer its length, so of two answers that of the longer name wins: RPO's."""
    asked = []

    def load(name):
        assert name == "there/model"

        def lengths(prompts, responses):
            asked.append(len(responses))
            return [float(len(text)) for text in responses]

        return lengths

    monkeypatch.setattr(judging, "load_reward", load)
    spec = JudgeSpec.parse("there/model@reward")
    assert (spec.title, spec.scores) == ("model (reward model)", True)
    judge_pairs(spec, TODO, answered.folder, prompts=None, say=lambda _: None)
    assert asked == [8] * 4  # two runs of each seed
    assert [verdict["score"] for verdict in verdicts(spec, TODO[0], answered)["verdicts"]] == [1.0] * 8
    plan = Plan.of(StudyPaperConfig(out=str(tmp_path), methods="RPO;SFT-all", taus="1", judge=("there/model@reward",)))
    assert plan.to_judge(plan.judges[0]) == plan.to_judge(JudgeSpec("reward"))


def test_the_agreement_of_a_reward_model_is_that_of_the_run_that_made_it(tmp_path):
    folder = tmp_path / "rm" / "model"
    folder.mkdir(parents=True)
    spec = JudgeSpec(str(folder), "reward")
    assert spec.agreement is None
    (tmp_path / "rm" / "metrics.json").write_text('{"held_out_pairs": {"accuracy": 0.7, "pairs": 90}}')
    assert spec.agreement == {"held_out_pairs": {"accuracy": 0.7, "pairs": 90}}


def test_answers_with_unusual_line_ends_are_read_whole(answered, fake):
    """JSON leaves U+2028 and U+0085 as they are; they end no line of the file."""
    for cell in TODO[0][0].cells("tiny", 0):
        file = responses_file(cell, answered.folder)
        text = file.read_text(encoding="utf-8").replace("answers 0", "one\u2028two\u0085three")
        file.write_text(text, encoding="utf-8")
    judge_pairs(JudgeSpec("m"), TODO[:1], answered.folder, prompts=2, say=lambda _: None)
    assert "one\u2028two\u0085three" in fake.asked[0]
    assert len(answered.results.responses(TODO[0][0].cells("tiny", 0)[0])) == 8


def test_a_model_is_loaded_or_served_or_asked_where_it_is(tmp_path, monkeypatch):
    served = []

    @contextmanager
    def serving(model, log):
        served.append((model, log.name))
        yield "http://127.0.0.1:9/v1"

    monkeypatch.setattr(judging, "serving", serving)
    spec = JudgeSpec("m", "serve")
    with spec.backend(tmp_path) as backend:
        assert (backend.name, backend.concurrency) == ("m", 2)
    assert served == [("m", f"serve-{spec.key}.log")]
    with JudgeSpec("m", "http://127.0.0.1:9/v1").backend(tmp_path) as backend:
        assert (backend.name, backend.concurrency) == ("m", 16)
    assert len(served) == 1
