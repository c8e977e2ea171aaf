"""``valuefree import``, and exports given directly to the verbs that read rows."""

import json
import re
import shlex
from pathlib import Path

import pytest

from valuefree import read_triplets
from valuefree.cli import main as cli
from valuefree.cli.commands.evaluate_rows import read_rows
from valuefree.cli.commands.reading import read
from valuefree.cli.commands.schema import recipe_schema
from valuefree.cli.parse import parse
from valuefree.errors import ConfigError, DataError
from valuefree.runs.files import read_jsonl

FIXTURES = Path(__file__).parents[2] / "data" / "exports" / "fixtures"


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A table with columns of other names, thumbs as 1 and 0, one of them missing."""
    monkeypatch.chdir(tmp_path)
    rows = ["user question,bot_answer,liked"]
    rows += ["How do I do it?,Like this one.,1", "How do I do it?,No idea at all.,0", "Where is it now?,Over there.,1"]
    (tmp_path / "log.csv").write_text("\n".join([*rows, "Where is it now?,It is gone.,"]) + "\n")
    return "log.csv"


def pairs_of(dataset):
    return list(zip(dataset["response"], dataset["reward"], strict=True))


READ = [("Like this one.", 1), ("No idea at all.", -1), ("Over there.", 1)]


def test_import_writes_rows_that_train_reads_and_prints_the_account(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    cli.run(
        [
            "import",
            str(FIXTURES / "langfuse"),
            "--score-name",
            "verdict",
            "--categories",
            "poor=-1,fine=1",
            "--out",
            str(out),
        ]
    )
    printed = capsys.readouterr().out
    assert "langfuse (recognised by trace_id" in printed
    assert "skipped: 1 × TEXT score" in printed
    assert pairs_of(read_triplets(out)) == [("4", -1), ("Sunny.", 1)]
    assert read_jsonl(out)[1]["model"] == "m"


def test_a_guess_is_shown_and_the_command_to_type_next_runs(log, capsys):
    with pytest.raises(ConfigError) as caught:
        cli.run(["import", log, "--from", "csv"])
    shown = capsys.readouterr().out
    assert re.search(r"prompt +│ user question", shown)
    assert "Over there." in shown
    assert not Path("rows.jsonl").exists()
    command = shlex.split(str(caught.value).splitlines()[-1])
    assert command[:2] == ["valuefree", "import"]
    cli.run(command[1:])
    assert pairs_of(read_triplets("rows.jsonl")) == READ
    printed = capsys.readouterr().out
    assert "skipped: 1 × no reward" in printed
    assert "column 'liked' holds 0 and 1 only: rewards -1 and +1" in printed


def test_yes_takes_the_guess(log):
    cli.run(["import", log, "--from", "csv", "--yes", "--out", "taken.jsonl"])
    assert pairs_of(read_triplets("taken.jsonl")) == READ


def test_an_incomplete_guess_asks_for_the_column(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"question": "Why is it so?", "answer": "It is so.", "when": "2026-01-01"}\n')
    with pytest.raises(ConfigError, match=r"no guess for reward; the columns are question, answer, when"):
        cli.run(["import", str(tmp_path / "a.jsonl"), "--from", "csv", "--yes"])


def test_the_export_is_not_overwritten(log):
    with pytest.raises(ConfigError, match=r"log\.csv is both read and written"):
        cli.run(["import", log, "--from", "csv", "--yes", "--out", "./log.csv"])


def test_yes_needs_a_guess():
    with pytest.raises(ConfigError, match="nothing reads --yes"):
        parse("import", ["x.json", "--from", "langfuse", "--yes"])


def test_a_table_that_no_tool_exports_is_guessed_and_a_file_is_replaced_on_request_only(tmp_path, capsys):
    log, out = tmp_path / "log.csv", tmp_path / "rows.jsonl"
    log.write_text("id,user_question,bot_answer,thumb\n1,Why?,Because.,up\n2,How?,So.,down\n3,When?,Now.,up\n")
    cli.run(["import", str(log), "--yes", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "Not the export of a known tool; read as a table" in printed
    assert [json.loads(line)["reward"] for line in out.read_text().splitlines()] == [1.0, -1.0, 1.0]
    with pytest.raises(ConfigError, match=r"rows\.jsonl exists\. Name another"):
        cli.run(["import", str(log), "--yes", "--out", str(out)])
    cli.run(["import", str(log), "--yes", "--out", str(out), "--overwrite"])


@pytest.mark.parametrize("verb", ["train", "score", "inspect"])
def test_an_export_is_read_directly(verb):
    dataset, summary = read(parse(verb, [str(FIXTURES / "open_webui.json")]))
    assert dataset["reward"][:] == pytest.approx([5 / 9, -1, 0])
    assert summary.prompts == 2


def test_evaluate_rows_reads_an_export():
    arguments = ["--rows", str(FIXTURES / "langfuse"), "--score-name", "thumb", "--from", "langfuse"]
    assert pairs_of(read_rows(parse("evaluate", arguments))[0]) == [("4", -1), ("Sunny.", 1)]
    with pytest.raises(ConfigError, match="nothing reads --from: there is no --rows"):
        parse("evaluate", ["p.jsonl", "--from", "langfuse", "--reward-function", "m:f"])


def test_a_table_given_directly_prints_flags_that_run(log):
    with pytest.raises(DataError) as caught:
        cli.run(["train", log, "--dry-run"])
    flags = str(caught.value).rpartition("add: ")[2]
    assert flags == "--from csv --prompt 'user question' --response bot_answer --reward liked --thumbs"
    assert pairs_of(read(parse("train", [log, *shlex.split(flags)]))[0]) == READ


def test_from_is_a_key_of_recipes_and_of_their_schema(tmp_path):
    (tmp_path / "recipe.yaml").write_text("data: x\nfrom: argilla\nscore_name: quality\ncategories: [good=1, bad=-1]\n")
    options = parse("train", ["--config", str(tmp_path / "recipe.yaml")])
    assert (options.from_, options.categories) == ("argilla", ("good=1", "bad=-1"))
    assert options.to_dict()["from"] == "argilla"
    assert "argilla" in recipe_schema("train")["properties"]["from"]["enum"]
    with pytest.raises(ConfigError, match="did you mean '--from'"):
        parse("train", ["x", "--form", "csv"])


def test_labels_of_trl_are_what_kto_reads():
    arguments = [str(FIXTURES / "trl" / "unpaired.jsonl"), "--objective", "kto"]
    assert read(parse("train", arguments))[0]["desirable"][:] == [True, False]
    assert "desirable" not in read(parse("train", [*arguments, "--threshold", "0"]))[0].column_names


def test_preferences_are_pairs_for_pairwise_objectives_alone():
    file = str(FIXTURES / "trl" / "preference.jsonl")
    dataset, _ = read(parse("train", [file, "--objective", "dpo"]))
    assert dataset["pair_id"][:] == [0, 0, 1, 1]
    with pytest.raises(ConfigError, match=r"holds pairs .* --objective dpo, ipo, slic or reward-model"):
        read(parse("train", [file]))


def test_own_rows_are_not_taken_for_an_export(tmp_path):
    """Rows with our three columns are ours, whatever else they hold."""
    row = {
        "prompt": "a",
        "response": "b",
        "reward": 0.5,
        "completion": "c",
        "label": True,
        "chosen": "d",
        "rejected": "e",
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    assert pairs_of(read(parse("train", [str(tmp_path / "rows.jsonl")]))[0]) == [("b", 0.5)]


def test_categories_stars_and_zero_and_one_in_our_own_rows():
    rows = [{"prompt": "a", "response": str(i), "reward": r} for i, r in enumerate(["good", "bad", 0.5])]
    assert read_triplets(rows, categories=["good=2,bad=-2"])["reward"][:] == [2, -2, 0.5]
    rows = [{"prompt": "a", "response": str(i), "reward": r} for i, r in enumerate(["4 stars", "★★☆☆☆", "3/5"])]
    assert read_triplets(rows, thumbs=True)["reward"][:] == [4, 2, 3]
    with pytest.raises(DataError, match="reward is not a number: '8/10'"):
        read_triplets([*rows, rows[0] | {"reward": "8/10"}], thumbs=True)
    rows = [{"prompt": "a", "response": str(i), "reward": r} for i, r in enumerate([1, 0, 1])]
    assert read_triplets(rows, thumbs=True)["reward"][:] == [1, -1, 1]
    assert read_triplets(rows)["reward"][:] == [1, 0, 1]


def test_nested_rows_of_messages_are_guessed_and_the_printed_command_runs(tmp_path, capsys):
    """One of the answers has no rating, which is a fault of rows but not of --from csv."""
    answers = [{"content": "It is.", "rating": 3}, {"content": "It is not.", "rating": 1}]
    rows = [{"messages": [{"role": "user", "content": f"Is it {i}?"}], "answers": answers} for i in range(4)]
    rows[3]["answers"] = [answers[0], {"content": "It may be.", "rating": None}]
    file = tmp_path / "natural.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError) as caught:
        read(parse("train", [str(file)]))
    flags = str(caught.value).rpartition("add: ")[2]
    assert flags == "--prompt messages --response content --reward rating --on-bad drop"
    assert len(read(parse("train", [str(file), *shlex.split(flags)]))[0]) == 7
    cli.run(["import", str(file), "--yes", "--out", str(tmp_path / "rows.jsonl")])
    assert len(read_triplets(tmp_path / "rows.jsonl")) == 7


def test_unpaired_preferences_keep_their_tool_calls_and_name_kto(tmp_path, capsys):
    call = {"type": "function", "function": {"name": "f", "arguments": {}}}
    said = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    row = {"prompt": [{"role": "user", "content": "Do it"}], "completion": said, "label": True}
    (tmp_path / "kto.jsonl").write_text(json.dumps(row))
    cli.run(["import", str(tmp_path / "kto.jsonl"), "--out", str(tmp_path / "rows.jsonl")])
    assert read_jsonl(tmp_path / "rows.jsonl")[0]["response"][0]["tool_calls"] == [call]
    assert "or with --objective kto" in capsys.readouterr().out


def test_several_files_are_announced(capsys):
    with pytest.raises(SystemExit):
        cli.run(["import", "--help"])
    assert "[source ...]" in capsys.readouterr().out
