"""`valuefree judge` as people call it."""

import json
import sys

import pytest

from valuefree.cli import main as cli
from valuefree.cli.commands.judge import protocol_of
from valuefree.cli.parse import parse
from valuefree.errors import ConfigError, DataError, JudgeError
from valuefree.evaluation import text_metrics

JUDGE = """
import re
from valuefree.errors import JudgeError

CALLS = []

def places(question):
    pattern = r"<BEGIN RESPONSE {0} (\\w+)>\\n(.*?)\\n<END RESPONSE {0} \\1>"
    return [re.search(pattern.format(place), question, re.S)[2] for place in "AB"]

def longer(question):
    CALLS.append(question)
    a, b = map(len, places(question))
    return "A" if a > b else "B" if b > a else "Neutral"

def sometimes(question):
    if "\\nquestion 4\\n" in question:
        raise JudgeError("overloaded")
    return longer(question)

def gone(question):
    raise JudgeError("gone")

def length(prompts, responses):
    return [len(text) for text in responses]

word = "A"
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with three systems' outputs, and a module of judges."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_judges.py").write_text(JUDGE)
    for name, extra in (("long", 5), ("mid", 3), ("short", 1)):
        rows = [{"prompt": f"question {i}", "response": f"{name[0]}" * (extra + i % 3)} for i in range(12)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    yield tmp_path
    sys.modules.pop("my_judges", None)


def test_two_systems_end_to_end(here, capsys):
    cli.run(["judge", "long.jsonl", "short.jsonl", "--judge", "my_judges:longer", "--out", "run"])
    said = capsys.readouterr().out
    assert "**100.00" in said
    assert "this judge prefers long" in said
    found = json.loads((here / "run/judge.json").read_text())
    # Clopper and Pearson: with 12 wins of 12 a true rate of 0.025^(1/12) is the least that is not rejected
    least = pytest.approx(0.025 ** (1 / 12))
    assert found["runs"][0]["pairs"][0]["win_rate"] == {"value": 1.0, "interval": [least, 1.0], "n": 12}
    assert found["missing_calls"] == 0
    rows = [json.loads(line) for line in (here / "run/verdicts.jsonl").read_text().splitlines()]
    assert [row["category"] for row in rows] == ["win"] * 12
    assert (here / "run/judge.md").read_text().startswith("Judgment by my_judges:longer")
    assert "report: run/report.html" in said
    assert "prefers long" in (here / "run/report.md").read_text()
    assert json.loads((here / "run/manifest.json").read_text())["config"]["systems"] == ["long.jsonl", "short.jsonl"]


def test_names_of_systems_are_text_in_the_page(here):
    name = "a|b`</x>"
    cli.run(["judge", f"{name}=long.jsonl", "short.jsonl", "--judge", "my_judges:longer", "--out", "run"])
    page = (here / "run/judge.md").read_text()
    shown = r"a\|b\`\</x\>"
    assert f"## {shown} against short" in page
    assert f"| {shown} | " in page
    assert name not in page.replace(shown, "")


def test_the_second_run_asks_nothing(here, capsys):
    command = ["judge", "long.jsonl", "mid.jsonl", "--judge", "my_judges:longer", "--out", "run"]
    cli.run(command)
    calls = len(sys.modules["my_judges"].CALLS)
    capsys.readouterr()
    cli.run([*command, "--dry-run"])
    assert "24 calls, 24 of them in the cache; to ask: 0" in capsys.readouterr().out
    cli.run(command)
    assert len(sys.modules["my_judges"].CALLS) == calls == 24


def test_missing_calls_end_in_an_error_and_the_next_run_makes_them(here, capsys):
    command = ["judge", "long.jsonl", "mid.jsonl", "--out", "run", "--judge"]
    with pytest.raises(JudgeError, match=r"2 calls without an answer \(overloaded\)"):
        cli.run([*command, "my_judges:sometimes"])
    assert "92% judged" in capsys.readouterr().out
    assert json.loads((here / "run/judge.json").read_text())["runs"][0]["pairs"][0]["categories"]["unjudged"] == 1


def test_a_judge_that_is_gone_is_an_error_alone(here, capsys):
    with pytest.raises(JudgeError, match=r"24 calls without an answer \(gone\); nothing was judged"):
        cli.run(["judge", "long.jsonl", "mid.jsonl", "--out", "run", "--judge", "my_judges:gone"])
    assert capsys.readouterr().out == ""


def test_a_judge_that_is_gone_leaves_the_earlier_result(here):
    command = ["judge", "long.jsonl", "mid.jsonl", "--out", "run", "--judge"]
    cli.run([*command, "my_judges:longer"])
    before = {
        file.name: file.read_bytes() for file in (here / "run").glob("*.json*") if file.name != "judgements.jsonl"
    }
    with pytest.raises(JudgeError, match="nothing was judged"):
        cli.run([*command, "my_judges:gone"])
    assert {name: (here / "run" / name).read_bytes() for name in before} == before


def test_arena_ranks_and_runs_are_averaged(here, capsys):
    files = ["long.jsonl", "mid.jsonl", "short.jsonl"]
    cli.run(["judge", *files, "--judge", "my_judges:longer", "--arena", "--out", "arena"])
    said = capsys.readouterr().out
    assert "Bradley–Terry" in said
    found = json.loads((here / "arena/judge.json").read_text())
    assert len(found["runs"][0]["pairs"]) == 3
    cli.run(["judge", "x=long.jsonl,mid.jsonl", "y=short.jsonl", "--judge", "my_judges:longer", "--out", "seeds"])
    assert "± 0.00 (SD of 2 runs, n = 12 each)" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--arena ranks single runs"):
        cli.run(["judge", "x=long.jsonl,mid.jsonl", "y=short.jsonl", "--judge", "my_judges:longer", "--arena"])
    with pytest.raises(ConfigError, match="as many as another system has runs"):
        cli.run(["judge", "x=long.jsonl,mid.jsonl", "y=a,b,c".replace("a,b,c", ",".join(files)), "--judge", "m:f"])


def test_reward_function_as_judge_and_agreement_with_it(here, capsys):
    systems = ["long.jsonl", "short.jsonl", "mid.jsonl"]
    cli.run(["judge", *systems, "--reward-function", "my_judges:length", "--out", "reward"])
    cli.run(["judge", *systems, "--judge", "my_judges:longer", "--out", "judge", "--agreement", "reward"])
    assert "agreement with reward: κ undefined" in capsys.readouterr().out  # both always say win
    people = [{"prompt": f"question {i}", "score": i % 2} for i in range(12)]
    (here / "people.jsonl").write_text("\n".join(map(json.dumps, people)))
    cli.run(["judge", *systems[:2], "--judge", "my_judges:longer", "--out", "two", "--agreement", "people.jsonl"])
    found = json.loads((here / "two/judge.json").read_text())["agreement"]["people.jsonl"]
    assert (found["n"], found["observed"], found["kappa"]["value"]) == (12, 0.5, 0.0)
    with pytest.raises(DataError, match="names no systems"):
        cli.run(["judge", *systems, "--judge", "my_judges:longer", "--out", "x", "--agreement", "people.jsonl"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"people.jsonl cannot be read \(.*No such file"),
        ("", "people.jsonl is empty"),
        (
            '{"prompt": "question 0", "score": 1}\n{"prompt": "question 1", "score": 2}',
            r":2: score is 2, expected a num",
        ),
        ('{"prompt": "question 0", "score": -0.5}', r":1: score is -0.5, expected"),
        ('{"prompt": "question 0", "score": NaN}', r":1: score is nan, expected"),
        ('{"prompt": "question 0", "score": "win"}', r":1: score is 'win', expected"),
        ('{"prompt": "question 0"}', r":1: no column 'score'"),
        ('\n{"score": 1}', r":2: no column 'prompt'"),
        ("[1]", ":1: not an object"),
        ("win", ":1: not JSON"),
    ],
)
def test_verdicts_that_are_none_are_refused_before_anything_is_asked(here, content, words):
    if content is not None:
        (here / "people.jsonl").write_text(content)
    command = ["judge", "long.jsonl", "mid.jsonl", "--judge", "my_judges:longer", "--out", "run"]
    with pytest.raises(DataError, match=words):
        cli.run([*command, "--agreement", "people.jsonl"])
    assert not (here / "run").exists()


def test_what_people_left_open_is_left_out_of_the_agreement(here):
    people = [{"prompt": f"question {i}", "score": None if i == 3 else 1} for i in range(12)]
    (here / "people.jsonl").write_text("\n".join(map(json.dumps, people)))
    cli.run(["judge", "long.jsonl", "mid.jsonl", "--judge", "my_judges:longer", "--agreement", "people.jsonl"])
    found = json.loads((here / "outputs/judge/judge.json").read_text())["agreement"]["people.jsonl"]
    assert (found["n"], found["missing"], found["observed"]) == (11, 1, 1.0)


def test_metrics_and_win_rates_by_one_command(here, capsys):
    """The paper's two validations of two systems' outputs; each metric is that of `text_metrics` on the same texts."""
    refs = [{"prompt": f"question {i}", "reference": "the sea is wide" if i % 2 else "m" * 4} for i in range(12)]
    (here / "refs.jsonl").write_text("\n".join(map(json.dumps, refs)))
    systems = ["long.jsonl", "mid.jsonl"]
    command = ["judge", *systems, "--judge", "my_judges:longer", "--out", "both"]
    command += ["--metrics", "sacrebleu,rougeL,length", "--references", "refs.jsonl"]
    cli.run(command)
    said = capsys.readouterr().out
    assert "| system | sacrebleu | rougeL | length |" in said
    assert "| row against column | mid |" in said
    (measured,) = json.loads((here / "both/judge.json").read_text())["metrics"]
    responses = [json.loads(line)["response"] for line in (here / "mid.jsonl").read_text().splitlines()]
    texts = [row["reference"] for row in refs]
    expected = text_metrics(responses, texts, metrics=("sacrebleu", "rougeL", "length"))
    assert {name: metric["value"] for name, metric in measured["mid"].items()} == {
        name: pytest.approx(metric.value) for name, metric in expected.items()
    }
    (here / "refs.jsonl").write_text(json.dumps(refs[0]))
    with pytest.raises(DataError, match=r"11 of the systems' prompts have no reference in .*, such as 'question 1'"):
        cli.run(command)


def test_notes_and_signatures_of_metrics_are_on_screen_and_in_the_page(here, capsys):
    """No 4-gram of "llll…" is in the reference: BLEU is 0, which is said of both systems; the signature once."""
    refs = [{"prompt": f"question {i}", "reference": "the sea is wide"} for i in range(12)]
    (here / "refs.jsonl").write_text("\n".join(map(json.dumps, refs)))
    rows = [json.loads(line) for line in (here / "mid.jsonl").read_text().splitlines()]
    for row in rows[:6]:
        row["response"] = "the sea is blue"
    (here / "mid.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = ["judge", "long.jsonl", "mid.jsonl", "--judge", "my_judges:longer", "--out", "run"]
    cli.run([*command, "--metrics", "bleu,sacrebleu", "--references", "refs.jsonl"])
    page = (here / "run/judge.md").read_text()
    for said in (page, capsys.readouterr().out):
        assert "- bleu: differs from sacreBLEU/100: no match of n-grams of order 4 (mid)" in said
        assert said.count("- sacrebleu: nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:") == 1


def test_what_common_leaves_out_is_on_screen_and_in_the_page(here, capsys):
    """Of twelve prompts mid has ten; long has two answers to the first."""
    lines = (here / "mid.jsonl").read_text().splitlines()
    (here / "mid.jsonl").write_text("\n".join(lines[:10]))
    long = (here / "long.jsonl").read_text()
    (here / "long.jsonl").write_text(f"{long}\n{long.splitlines()[0]}")
    command = ["judge", "long.jsonl", "mid.jsonl", "--judge", "my_judges:longer", "--out", "run"]
    with pytest.raises(DataError, match=r"mid: lacks 2 of 12 prompts, such as 'question 10'"):
        cli.run(command)
    cli.run([*command, "--common"])
    words = "Left out by --common: 3 of 13 prompts (a k-th answer to one counts for itself): mid lacks 3."
    assert words in capsys.readouterr().out
    assert words in (here / "run/judge.md").read_text()
    assert json.loads((here / "run/judge.json").read_text())["prompts_left_out"] == [3]


def test_metrics_of_several_runs_are_averaged(here, capsys):
    systems = ["x=long.jsonl,mid.jsonl", "y=short.jsonl"]
    cli.run(["judge", *systems, "--judge", "my_judges:longer", "--metrics", "distinct1"])
    assert "Mean ± standard deviation over 2 runs" in capsys.readouterr().out


def test_a_recipe_lists_the_systems(here, capsys):
    (here / "judge.yaml").write_text("systems: [long.jsonl, mid.jsonl]\njudge: my_judges:longer\nout: recipe\n")
    cli.run(["judge", "--config", "judge.yaml", "--allow-code"])
    assert (here / "recipe/judge.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.jsonl"], "at least two"),
        (["a", "b"], "give one of the two: --judge or --reward-function"),
        (["a", "b", "--judge", "x", "--reward-function", "y"], "give one of the two"),
        (["a", "b", "--judge", "x", "--concurrency", "3"], "nothing reads --concurrency: without --server"),
        (["a", "b", "--judge", "x", "--server", "http://h/v1", "--dtype", "float16"], "nothing reads --dtype"),
        (["a", "b", "--reward-function", "y", "--orders", "1"], "nothing reads --orders"),
        (["a", "b", "--judge", "x", "--max-cost", "1"], "--max-cost needs --input-price or --output-price"),
        (["a", "b", "--judge", "x", "--order", "1"], "did you mean '--orders'"),
        (["a", "b", "--judge", "x", "--orders", "3"], "orders is 3; expected at least 1 and at most 2"),
        (
            ["a", "b", "--judge", "x", "--metrics", "bleu"],
            "bleu compare with reference texts; give them by --references",
        ),
        (["a", "b", "--judge", "x", "--references", "r"], "nothing reads --references: there are no --metrics"),
        (["a", "b", "--judge", "x", "--metrics", "kl"], "metric kl compares models"),
        (["a", "b", "--judge", "x", "--metrics", "reward,kl", "--references", "r"], "metric kl compares models"),
        (
            ["a", "b", "--reward-function", "m:f", "--metrics", "reward", "--references", "r"],
            "nothing reads --references: reward compare with no texts",
        ),
        (["a", "b", "--judge", "x", "--revision", "1"], "--revision goes with --server or module:function"),
        (["a", "b", "--judge", "x", "--metrics", "reward"], "metric reward needs --reward-function"),
        (["a", "b", "--judge", "x", "--toxicity-model", "t"], "--toxicity-model is read by toxicity"),
    ],
)
def test_contradictions_name_both_sides(arguments, words):
    with pytest.raises(ConfigError, match=words):
        cli.run(["judge", *arguments])


def test_help_offers_no_metric_that_outputs_do_not_have(capsys):
    with pytest.raises(SystemExit):
        cli.run(["judge", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "self_repetition, reward (with --reward-function)" in said
    assert ", kl" not in said


def test_a_judge_that_is_no_function_is_refused(here):
    for spec, words in (("my_judges:word", "is str, not a function"), ("my_judges:nothing", "no judge")):
        with pytest.raises(ConfigError, match=words):
            cli.run(["judge", "long.jsonl", "mid.jsonl", "--judge", spec])


def test_the_presets_take_the_papers_prompt(here, capsys):
    for preset in ("mistral-7b-instruct-v0.3", "llama-3-8b-instruct"):
        options = parse("judge", ["long.jsonl", "mid.jsonl", "--judge", preset])
        assert protocol_of(options).prompt.name == "paper"
        guarded = parse("judge", ["long.jsonl", "mid.jsonl", "--judge", preset, "--judge-prompt", "guarded"])
        assert protocol_of(guarded).prompt.guarded
    assert protocol_of(parse("judge", ["a", "b", "--judge", "any/other"])).prompt.name == "guarded"


def test_an_edited_function_is_asked_anew(here):
    """Its revision is a hash of its module; --revision keeps the answers of an edit that changes none."""
    command = ["judge", "long.jsonl", "mid.jsonl", "--judge", "my_judges:longer", "--out", "run"]
    file = here / "my_judges.py"

    def verdicts(text, *more):
        file.write_text(text)
        sys.modules.pop("my_judges", None)
        cli.run([*command, *more])
        (pair,) = json.loads((here / "run/judge.json").read_text())["runs"][0]["pairs"]
        return pair["win_rate"]["value"], pair["asked"]["cached"]

    assert verdicts(JUDGE) == (1.0, 0)
    shorter = JUDGE.replace("a > b", "a < b").replace("b > a", "b < a")
    assert verdicts(shorter) == (0.0, 0)
    assert verdicts(JUDGE) == (1.0, 24)
    assert verdicts(JUDGE, "--revision", "1") == (1.0, 0)
    assert verdicts(f"{JUDGE}# said better", "--revision", "1") == (1.0, 24)


def test_a_function_takes_no_server(here):
    """The module my_judges is there; llama3:latest is a model of the server, which is not."""
    server = ["--server", "http://127.0.0.1:9/v1", "--dry-run"]
    command = ["judge", "long.jsonl", "mid.jsonl", *server, "--judge"]
    with pytest.raises(ConfigError, match="--judge my_judges:longer is a function in the module my_judges"):
        cli.run([*command, "my_judges:longer"])
    cli.run([*command, "my_judges:longer", "--served-name", "m"])
    for model in ("llama3:latest", "hf.co/some/model:Q4"):
        cli.run([*command, model])
