"""Systems' outputs: JSON lines and alpaca_eval's form, side by side by prompt."""

import json
import re

import pytest

from conftest import make_t5
from valuefree.cli import main as cli
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.outputs import Outputs, align, read_outputs, write_outputs


def test_alpaca_form_is_written_and_read(tmp_path):
    file = tmp_path / "outputs.json"
    write_outputs(file, ["q", [{"role": "user", "content": "r"}]], ["a", "b"], name="mine")
    assert json.loads(file.read_text()) == [
        {"instruction": "q", "output": "a", "generator": "mine"},
        {"instruction": "r", "output": "b", "generator": "mine"},
    ]
    assert read_outputs(str(file)) == Outputs("mine", ["q", "r"], ["a", "b"])


def test_json_lines_are_written_and_read(tmp_path):
    file = tmp_path / "mine.jsonl"
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "x"}, {"role": "user", "content": "r"}]
    write_outputs(file, ["q", turns], ["a", ""], name="unread")
    assert read_outputs(str(file)) == Outputs("mine", ["q", turns], ["a", ""])
    assert read_outputs(str(file), name="other").name == "other"


def test_every_fault_is_named_with_its_line(tmp_path):
    file = tmp_path / "bad.jsonl"
    file.write_text('{"prompt": "q", "response": "a"}\n{"prompt": "q", "response": true}\n{"prompt": "q"}\nno json\n')
    with pytest.raises(DataError) as error:
        read_outputs(str(file))
    assert error.value.count == 3
    for said in ("bad.jsonl:2: response is not text", "bad.jsonl:3: no column 'response'", "bad.jsonl:4"):
        assert said in str(error.value)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({}, "has no column 'response'; it has prompt, answer. Name it by --response (in Python response=)."),
        ({"response": "answer", "prompt": "q"}, "has no column 'q'; it has prompt, answer. Name it by --prompt (in "),
        (
            {"prompt": "q"},
            "no column 'q' nor 'response'; it has prompt, answer. Name it by --prompt (in Python prompt=) ",
        ),
    ],
)
def test_a_column_that_no_row_has_is_one_fault(tmp_path, names, words):
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": f"q{i}", "answer": "a"}) for i in range(30)))
    with pytest.raises(DataError, match=re.escape(words)) as error:
        read_outputs(str(file), **names)
    assert "\n" not in str(error.value)


def test_a_null_response_says_how_to_mend_it(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "q", "response": null}\n{"prompt": "r", "response": "a"}\n')
    with pytest.raises(DataError) as error:
        read_outputs(str(file))
    assert str(error.value).startswith(f"1 row of {file} cannot be compared:")
    assert "mine.jsonl:1: response is null: remove the row if there is no answer, or write an empty" in str(error.value)


def test_systems_are_aligned_by_prompt_and_repeat():
    one = Outputs("one", ["p", "q", "p"], ["a1", "b1", "c1"])
    two = Outputs("two", ["q", "p", [{"role": "user", "content": "p"}]], ["b2", "a2", "c2"])
    found = align([one, two])
    assert found.prompts == ["p", "q", "p"]
    assert found.responses == {"one": ["a1", "b1", "c1"], "two": ["a2", "b2", "c2"]}


def test_prompts_that_one_system_lacks_are_named_or_left_out_and_counted():
    one, two = Outputs("one", ["p", "q"], ["a", "b"]), Outputs("two", ["q", "r"], ["c", "d"])
    with pytest.raises(DataError, match=r"one: lacks 1 of 3 prompts, such as 'r'"):
        align([one, two])
    found = align([one, two], common=True)
    assert (found.prompts, found.left_out) == (["q"], 2)
    with pytest.raises(DataError, match="no prompt in common"):
        align([one, Outputs("three", ["z"], ["e"])], common=True)


def test_fewer_answers_to_a_prompt_are_called_so():
    """Two prompts are answered by both, p once by one and three times by two; one lacks no prompt."""
    one, two = Outputs("one", ["p", "q"], ["a", "b"]), Outputs("two", ["p", "p", "q", "p"], ["a", "b", "c", "d"])
    with pytest.raises(DataError) as error:
        align([one, two])
    assert error.value.faults == ("one: has fewer answers to 1 of 2 prompts, such as 1 to 'p', where two has 3",)
    found = align([one, two], common=True)
    assert (found.left_out, found.lacking) == (2, {"one": 2, "two": 0})


def test_two_systems_of_one_name_are_refused():
    with pytest.raises(DataError, match="two systems are called one"):
        align([Outputs("one", ["p"], ["a"]), Outputs("one", ["p"], ["b"])])


def test_generate_writes_what_judges_read(tmp_path, tokenizer):
    """`valuefree generate --out outputs.json`; a server's answers are written as they come, as JSON lines only."""
    make_t5(tokenizer).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "prompts.txt").write_text("the sea is wide\nbread\n")
    command = ["generate", str(tmp_path / "prompts.txt"), "--out", str(tmp_path / "outputs.json")]
    cli.run([*command, "--model", str(tmp_path / "model"), "--max-new-tokens", "4"])
    found = read_outputs(str(tmp_path / "outputs.json"))
    assert (found.name, found.prompts) == (str(tmp_path / "model"), ["the sea is wide", "bread"])
    with pytest.raises(ConfigError, match=r"name a \.jsonl file"):
        cli.run([*command, "--model", "m", "--server", "http://127.0.0.1:1/v1"])
