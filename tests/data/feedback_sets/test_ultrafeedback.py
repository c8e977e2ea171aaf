"""Public feedback sets: every oddity of the raw layout counted, faulty tens handled, validation kept out of training.

The fixture ``ultrafeedback.jsonl`` is written by hand. Its 10 rows hold 22 completions (overall score; fine-grained
mean), a star marking a ten:

1. colours  8.5; 4.5 | 10*; 1.25 certain | 6; 11/3 over three, one N/A | 3; 2
2. egg      10*; 5 | 7; 4
3. moon     10*; 3.5 doubtful | 4; 2 over three, one rating 0
4. null     10*; 5 | 5; 3
5. egg      6.5; 3.5 | 10*; 4 doubtful
6. haiku    10*; 4.5 | null response | blank response
7. 2 + 2    10*; 2 certain | 10*; 5 over three, one N/A
8. cat      null; 4 | 9; four N/A
9. time     10*; four N/A, doubtful | 5; 2.75
10. blank   7; 4
"""

import json
from pathlib import Path
from typing import get_args, get_type_hints

import datasets
import numpy as np
import pytest

from valuefree.cli import main as cli
from valuefree.cli.options.prepare import PrepareConfig
from valuefree.data import read_triplets, read_ultrafeedback, split_top_score
from valuefree.data.feedback_sets import releases
from valuefree.data.feedback_sets.schemas import SCHEMAS
from valuefree.errors import ConfigError, DataError

RAW = Path(__file__).parent / "fixtures" / "ultrafeedback.jsonl"
CERTAIN = {("Name the three primary colours.", "Colours are nice. I like colours."), ("What is 2 + 2?", "5.")}
DOUBTFUL = {
    ("Is the moon made of cheese?", "Almost certainly not; it is rock."),
    ("How do I boil an egg?", "Ten minutes from cold water."),
    ("Tell me the time.", "It is noon."),
}


def rewards(dataset):
    found = {(row["prompt"], row["response"]): row["reward"] for row in dataset}
    assert len(found) == len(dataset)
    return found


def lines(folder, rows):
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def said(role, text):
    return {"role": role, "content": text}


def binarized(prompt, chosen, chosen_score, rejected, rejected_score, names=("score_chosen", "score_rejected")):
    sides = {
        name: [said("user", prompt), said("assistant", text)]
        for name, text in (("chosen", chosen), ("rejected", rejected))
    }
    return {"prompt": prompt, **sides, names[0]: chosen_score, names[1]: rejected_score}


H4 = [
    binarized("a", "good", 10.0, "bad", 4.0),
    binarized("b", "fair", 7.5, "poor", 2.0),
    binarized("c", "fine", 8.0, "", 1.0),
]


# ---------------------------------------------------------------------------------------------------- the raw layout


def test_every_oddity_is_counted():
    """Worked by hand from the table above.

    No prompt: 2 of row 4, 1 of row 10. Empty: 2 of row 6. No overall score: 1 of row 8. N/A: 1 + 1 + 4 + 4. Tens: 9 of
    which 2 have a mean of at most 2, and 3 of 3.5, 4 and none. Kept: 22 − 3 − 2 − 1 − 5. The egg stands in two rows.
    Rows 6 (null) and 10 (empty) have a completion without a system prompt.
    """
    dataset, report = read_ultrafeedback(RAW)
    assert (report.schema, report.rows, report.responses) == ("ultrafeedback", 10, 22)
    assert (report.no_prompt, report.no_response, report.no_reward) == (3, 2, 1)
    assert (report.not_given, report.off_scale, report.duplicates, report.system_prompts) == (10, 1, 1, 20)
    tens = report.tens
    assert (tens.all, tens.certain, tens.doubtful, tens.unchecked, tens.dropped, tens.fixed) == (9, 2, 3, 0, 5, 0)
    assert (report.data.rows, report.data.prompts, len(dataset)) == (11, 7, 11)
    assert "9 scores of 10, of which 2 certainly wrong and 3 doubtful; 5 dropped, 0 set to 1" in str(report)


@pytest.mark.parametrize("score10", ["keep", "drop", "fix"])
@pytest.mark.parametrize("reward_field", ["overall", "fine_grained"])
def test_every_response_is_kept_or_left_out_for_one_reason(score10, reward_field):
    if (score10, reward_field) == ("fix", "fine_grained"):
        with pytest.raises(ConfigError, match="score10='fix' changes overall scores"):
            read_ultrafeedback(RAW, score10=score10, reward_field=reward_field)
        return
    dataset, report = read_ultrafeedback(RAW, score10=score10, reward_field=reward_field)
    left_out = report.no_prompt + report.no_response + report.no_reward + report.tens.dropped
    assert report.responses == len(dataset) + left_out


def test_handlings_differ_exactly_by_the_faulty_tens():
    """keep has all 5; drop none; fix has the 2 certain ones with reward 1."""
    read = [read_ultrafeedback(RAW, score10=way) for way in ("keep", "drop", "fix")]
    assert [(report.tens.dropped, report.tens.fixed) for _, report in read] == [(0, 0), (5, 0), (3, 2)]
    keep, drop, fix = (rewards(dataset) for dataset, _ in read)
    assert set(keep) - set(drop) == CERTAIN | DOUBTFUL
    assert set(keep) - set(fix) == DOUBTFUL
    assert all(keep[key] == 10.0 for key in CERTAIN | DOUBTFUL)
    assert all(fix[key] == 1.0 for key in CERTAIN)
    assert drop == {key: reward for key, reward in keep.items() if key in drop}
    assert drop == {key: reward for key, reward in fix.items() if key in drop}
    assert sum(reward == 10.0 for reward in drop.values()) == 3


def test_fine_grained_rewards_come_from_given_ratings_alone():
    """Means over what was given; four N/A give no reward, a 0 is no rating; the fault of the tens does not touch them.

    22 − 3 without prompt − 2 empty − 2 without any rating = 15.
    """
    found = rewards(read_ultrafeedback(RAW, reward_field="fine_grained")[0])
    assert len(found) == 15
    assert found["Name the three primary colours.", "I am fairly sure: red, yellow, blue."] == pytest.approx(11 / 3)
    assert found["Is the moon made of cheese?", "Some say so."] == 2.0
    assert found["What is 2 + 2?", "4."] == 5.0
    assert found["Name the three primary colours.", "Colours are nice. I like colours."] == 1.25
    assert not [key for key in found if key[1] in ("Le chat.", "It is noon.")]


def test_an_overall_reward_needs_no_rating_and_a_missing_one_is_no_zero():
    found = rewards(read_ultrafeedback(RAW)[0])
    assert found["Translate 'cat' into French.", "Le chat."] == 9.0
    assert ("Translate 'cat' into French.", "Chat.") not in found
    assert 0.0 not in found.values()


def test_the_same_instruction_in_two_rows_is_one_prompt():
    dataset, _ = read_ultrafeedback(RAW)
    assert len({row["prompt_id"] for row in dataset if row["prompt"] == "How do I boil an egg?"}) == 1
    assert sum(row["prompt"] == "How do I boil an egg?" for row in dataset) == 3


def test_system_prompts_in_front():
    """The haiku was written to none and stays one user message; the rest get the system message before the user's."""
    dataset, report = read_ultrafeedback(RAW, system_prompt="front")
    by_text = {row["response"]: row["prompt"] for row in dataset}
    assert by_text["4."] == [
        said("system", "You are a helpful assistant. Answer what was asked."),
        said("user", "What is 2 + 2?"),
    ]
    assert [message["role"] for prompt in by_text.values() for message in prompt].count("system") == 10
    assert len(report.data.dropped) == 0
    assert report.data.prompts > 7


def test_an_unmended_release_is_told_by_its_certain_faults_and_the_whole_by_its_tens(monkeypatch, caplog):
    release = read_ultrafeedback(RAW)[1].release
    assert (release.fixed, release.why) == (False, "2 tens with a fine-grained mean of at most 2")
    monkeypatch.setattr(releases, "UNFIXED_TENS", 9)
    caplog.clear()
    report = read_ultrafeedback(RAW, score10="keep")[1]
    assert (report.release.name, report.release.why) == ("openbmb/UltraFeedback before 2023-12-29", "9 tens")
    assert "NOT corrected" in caplog.text


def test_a_mended_part_is_not_called_unmended(tmp_path):
    rows = [json.loads(line) for line in RAW.read_text().splitlines()]
    mended = [row for row in rows if row["instruction"] not in ("Name the three primary colours.", "What is 2 + 2?")]
    assert read_ultrafeedback(lines(tmp_path, mended))[1].release.fixed is None


def test_published_means_stand_in_where_there_are_no_annotations(tmp_path):
    """8 with a published mean of 4.25; a ten with 1.5 is certainly wrong; a ten with neither is doubtful."""
    items = [
        {"response": "x", "overall_score": 8, "fine-grained_score": 4.25},
        {"response": "y", "overall_score": "10", "fine-grained_score": 1.5},
        {"response": "z", "overall_score": 10.0},
    ]
    file = lines(tmp_path, [{"instruction": "a", "completions": items}])
    dataset, report = read_ultrafeedback(file)
    assert rewards(dataset) == {("a", "x"): 8.0}
    assert (report.tens.certain, report.tens.doubtful) == (1, 1)
    assert rewards(read_ultrafeedback(file, reward_field="fine_grained")[0]) == {("a", "x"): 4.25, ("a", "y"): 1.5}


def test_a_data_set_in_memory_and_a_parquet_file_read_alike(tmp_path):
    rows = [json.loads(line) for line in RAW.read_text().splitlines()]
    table = datasets.Dataset.from_list(rows)
    table.to_parquet(str(tmp_path / "rows.parquet"))
    expected = list(read_ultrafeedback(RAW)[0])
    for source in (table, tmp_path / "rows.parquet", datasets.DatasetDict(train=table)):
        assert list(read_ultrafeedback(source)[0]) == expected


# --------------------------------------------------------------------------------------------------- the other layouts


def test_binarized_rows_give_both_sides(tmp_path):
    """One blank rejected text. One ten, which nothing can check; of a release that is not recognised it is kept."""
    dataset, report = read_ultrafeedback(lines(tmp_path, H4))
    expected = {("a", "good"): 10.0, ("a", "bad"): 4.0, ("b", "fair"): 7.5, ("b", "poor"): 2.0, ("c", "fine"): 8.0}
    assert rewards(dataset) == expected
    assert (report.schema, report.no_response, report.duplicates) == ("ultrafeedback-binarized", 1, 0)
    assert (report.tens.all, report.tens.unchecked, report.tens.dropped) == (1, 1, 0)
    assert (report.release.name, report.release.fixed) == (None, None)


@pytest.mark.parametrize(("fixed", "score10", "dropped"), [(False, "drop", 1), (False, "keep", 0), (True, "drop", 0)])
def test_a_release_is_recognised_by_its_rows_and_its_tens_are_dropped_if_faulty(
    tmp_path, monkeypatch, fixed, score10, dropped
):
    known = releases.Release("ultrafeedback-binarized", 3, "a release of three rows", fixed)
    monkeypatch.setattr(releases, "RELEASES", (known,))
    dataset, report = read_ultrafeedback(lines(tmp_path, H4), score10=score10)
    assert (report.release.name, report.release.fixed) == ("a release of three rows", fixed)
    assert report.tens.dropped == dropped
    assert (10.0 in dataset["reward"]) is not bool(dropped)
    assert report.data.rows == len(dataset) == 5 - dropped
    assert dataset["prompt_id"] == ([0, 1, 1, 2] if dropped else [0, 0, 1, 1, 2])


def test_the_published_row_counts_name_the_releases():
    found = {release.rows: release.fixed for release in releases.RELEASES}
    assert found == {61_966: False, 61_135: True, 60_917: None}
    assert releases.recognise("ultrafeedback-binarized", 61_966, 0, 0).fixed is False
    assert releases.recognise("rpo-split", 61_966, 0, 0).fixed is None
    assert releases.recognise("ultrafeedback", 63_967, 2_628, 1_000).why == "2628 tens"


@pytest.mark.parametrize(("given", "asked"), [(None, "train_prefs"), ("test_prefs", "test_prefs")])
def test_the_h4_set_is_read_from_the_split_of_its_own_name(monkeypatch, given, asked):
    splits = []

    def load(name, split):
        splits.append((name, split))
        return datasets.Dataset.from_list(H4)

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert len(read_ultrafeedback(releases.H4, split=given)[0]) == 5
    assert splits == [(releases.H4, asked)]


def test_argilla_rows_hold_means_and_no_overall_score(tmp_path):
    file = lines(tmp_path, [binarized("a", "good", 4.75, "bad", 2.5, ("chosen-rating", "rejected-rating"))])
    with pytest.raises(ConfigError, match="argilla-binarized rows hold no overall reward; they hold fine_grained"):
        read_ultrafeedback(file)
    dataset, report = read_ultrafeedback(file, reward_field="fine_grained")
    assert rewards(dataset) == {("a", "good"): 4.75, ("a", "bad"): 2.5}
    assert (report.tens, report.top) == (None, 5.0)


def test_rpo_split_rows_are_taken_as_they_stand(tmp_path):
    items = [("a", "x", 10.0), ("a", "y", 3.0), ("b", "z", None)]
    file = lines(tmp_path, [dict(zip(("instruction", "response", "reward"), item, strict=True)) for item in items])
    dataset, report = read_ultrafeedback(file)
    assert rewards(dataset) == {("a", "x"): 10.0, ("a", "y"): 3.0}
    assert dataset["prompt_id"] == [0, 0]
    assert (report.no_reward, report.duplicates, report.tens.unchecked) == (1, None, 1)


def test_helpsteer2_turns_become_messages_and_ratings_rewards(tmp_path):
    """Overall is helpfulness; the mean is of helpfulness, correctness, coherence: (3 + 4 + 2)/3 = 3. 7 is no rating."""
    marks = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    prompt = "hi\n\n<extra_id_1>Assistant\nhello\n<extra_id_1>User\nand now?"
    rows = [
        {"prompt": prompt, "response": "x"} | dict(zip(marks, (3, 4, 2, 0, 0), strict=True)),
        {"prompt": prompt, "response": "y"} | dict(zip(marks, (7, 1, 2, 4, 4), strict=True)),
        {"prompt": "one turn", "response": "z"} | dict(zip(marks, (0, 0, 0, 0, 0), strict=True)),
    ]
    dataset, report = read_ultrafeedback(lines(tmp_path, rows))
    assert [row["reward"] for row in dataset] == [3.0, 0.0]
    assert dataset[0]["prompt"] == [said("user", "hi"), said("assistant", "hello"), said("user", "and now?")]
    assert dataset[1]["prompt"] == [said("user", "one turn")]
    assert (report.no_reward, report.off_scale, report.tens, report.top) == (1, 1, None, 4.0)
    fine, _ = read_ultrafeedback(lines(tmp_path, rows), reward_field="fine_grained")
    assert fine["reward"] == [3.0, 1.5, 0.0]


def test_helpsteer3_is_refused_unless_its_preferences_are_asked_for(tmp_path):
    """A preference of 3 for response 2 becomes −1.5 and 1.5; of −1, for response 1, 0.5 and −0.5."""
    context = [said("user", "hi"), said("assistant", "hello"), said("user", "and now?")]
    rows = [
        {"context": context, "response1": "x", "response2": "y", "overall_preference": 3},
        {"context": context[:1], "response1": "v", "response2": "w", "overall_preference": -1},
    ]
    with pytest.raises(ConfigError, match=r"rates neither.*read_pairs"):
        read_ultrafeedback(lines(tmp_path, rows))
    dataset, report = read_ultrafeedback(lines(tmp_path, rows), reward_field="preference")
    assert [(row["response"], row["reward"]) for row in dataset] == [("x", -1.5), ("y", 1.5), ("v", 0.5), ("w", -0.5)]
    assert dataset[0]["prompt"] == context
    assert report.top == 1.5


# -------------------------------------------------------------------------------------------------------------- errors


def test_unknown_columns_are_an_error_that_lists_what_each_layout_needs(tmp_path):
    file = lines(tmp_path, [{"prompt": "a", "answer": "x", "stars": 3}])
    with pytest.raises(DataError) as caught:
        read_ultrafeedback(file)
    text = str(caught.value)
    assert "the columns prompt, answer, stars fit no known schema" in text
    assert "ultrafeedback: instruction, completions" in text
    assert "read_triplets" in text


def test_what_is_not_expected_is_an_error_or_dropped_and_counted(tmp_path):
    rows = [
        {"instruction": "a", "completions": [{"response": "x", "overall_score": "many"}]},
        {"instruction": "b", "completions": "none"},
        {"instruction": "c"},
        {"instruction": "d", "completions": [{"response": "y", "overall_score": 5}]},
    ]
    with pytest.raises(DataError, match="3 faults") as caught:
        read_ultrafeedback(lines(tmp_path, rows))
    assert "overall_score is not a number: 'many'" in str(caught.value)
    assert "rows.jsonl:3: no column 'completions'" in str(caught.value)
    dataset, report = read_ultrafeedback(lines(tmp_path, rows), on_bad="drop")
    assert rewards(dataset) == {("d", "y"): 5.0}
    assert sum(report.data.dropped.values()) == 3


def test_nothing_left_says_why(tmp_path):
    items = [{"response": None, "overall_score": 5}, {"response": "x", "overall_score": 10, "fine-grained_score": 1}]
    with pytest.raises(DataError, match=r"none of 2 responses .* 1 are empty, .* 1 are faulty tens \(score10='drop'\)"):
        read_ultrafeedback(lines(tmp_path, [{"instruction": "a", "completions": items}]))


def test_settings_that_a_layout_cannot_satisfy(tmp_path):
    file = lines(tmp_path, H4)
    with pytest.raises(ConfigError, match="fix' needs the ratings"):
        read_ultrafeedback(file, score10="fix")
    with pytest.raises(ConfigError, match="front' needs system prompts"):
        read_ultrafeedback(file, system_prompt="front")
    with pytest.raises(ConfigError, match="score10 is 'mend'; choose from keep, drop, fix"):
        read_ultrafeedback(file, score10="mend")


# ---------------------------------------------------------------------------------------------------------- validation


@pytest.mark.parametrize(("score10", "candidates"), [("drop", 3), ("keep", 6), ("fix", 3)])
def test_validation_is_of_prompts_with_a_ten_and_no_response_to_them_stays(score10, candidates):
    """Under drop and fix egg, haiku and 2 + 2 have a ten left; under keep colours, moon and time as well."""
    dataset, _ = read_ultrafeedback(RAW, score10=score10)
    train, validation = split_top_score(dataset, validation_prompts=candidates, seed=1)
    assert not set(train["prompt"]) & set(validation["prompt"])
    assert rewards(train) | rewards(validation) == rewards(dataset)
    best = {
        prompt: max(r for (p, _), r in rewards(validation).items() if p == prompt) for prompt in validation["prompt"]
    }
    assert list(best.values()) == [10.0] * candidates
    assert 10.0 not in train["reward"]
    assert np.unique(validation["prompt_id"]).tolist() == list(range(candidates))
    with pytest.raises(ConfigError, match=f"expected 1 to {candidates}: of 7 prompts"):
        split_top_score(dataset, validation_prompts=candidates + 1, seed=1)


def test_the_draw_is_of_the_seed_alone():
    dataset, _ = read_ultrafeedback(RAW, score10="keep")
    drawn = {seed: tuple(split_top_score(dataset, validation_prompts=2, seed=seed)[1]["prompt"]) for seed in range(8)}
    assert drawn[3] == tuple(split_top_score(dataset, validation_prompts=2, seed=3)[1]["prompt"])
    assert len(set(drawn.values())) > 1


def test_a_system_message_in_front_hides_no_response_from_the_split():
    """The three eggs have three system prompts, yet all go to validation with the ten."""
    dataset, _ = read_ultrafeedback(RAW, system_prompt="front")
    train, validation = split_top_score(dataset, validation_prompts=3, seed=0)
    asked = [{prompt[-1]["content"] for prompt in part["prompt"]} for part in (train, validation)]
    assert not asked[0] & asked[1]
    assert asked[1] == {"How do I boil an egg?", "Write a haiku about rain.", "What is 2 + 2?"}
    assert len(validation) == 5


def test_one_prompt_stays_to_train_on(tmp_path):
    items = [{"instruction": text, "response": "x", "reward": 10.0} for text in "ab"]
    dataset, _ = read_ultrafeedback(lines(tmp_path, items))
    with pytest.raises(ConfigError, match="none to train on"):
        split_top_score(dataset, validation_prompts=2, seed=0)


# -------------------------------------------------------------------------------------------------------- command line


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_prepare_writes_what_train_reads(tmp_path, capsys, form):
    """Under drop 11 responses to 7 prompts; 2 of the 3 prompts with a ten are drawn."""
    out = tmp_path / "out"
    cli.run(["prepare", str(RAW), "--validation-prompts", "2", "--out", str(out), "--format", form])
    assert "5 dropped, 0 set to 1" in capsys.readouterr().out
    train, validation = (read_triplets(out / f"{name}.{form}") for name in ("train", "validation"))
    expected = rewards(read_ultrafeedback(RAW)[0])
    assert rewards(train) | rewards(validation) == expected
    assert len(train) + len(validation) == 11
    assert len(set(validation["prompt"])) == 2
    report = json.loads((out / "report.json").read_text())
    assert report["tens"]["certain"] == 2
    assert report["train"]["rows"] == len(train)
    record = json.loads((out / "manifest.json").read_text())
    assert record["config"]["score10"] == "drop"
    assert set(record["fingerprint"]) == {"train", "validation"}


def test_prepare_leaves_no_rows_of_an_earlier_one_beside_its_own(tmp_path):
    """A folder of train.jsonl and train.parquet would be read as one set, twice the rows."""
    out = tmp_path / "out"
    cli.run(["prepare", str(RAW), "--validation-prompts", "2", "--out", str(out)])
    again = ["prepare", str(RAW), "--validation-prompts", "0", "--format", "parquet", "--out", str(out)]
    with pytest.raises(ConfigError, match=r"train.jsonl, validation.jsonl\), and old and new files would mix"):
        cli.run(again)
    (out / "notes.txt").write_text("mine")
    cli.run([*again, "--overwrite"])
    assert {file.name for file in out.iterdir()} == {"manifest.json", "report.json", "train.parquet", "notes.txt"}


def test_prepare_does_not_remove_a_file_of_the_user(tmp_path):
    (tmp_path / "train.jsonl").write_text("mine")
    for more in ([], ["--overwrite"]):
        with pytest.raises(ConfigError, match=r"train\.jsonl"):
            cli.run(["prepare", str(RAW), "--validation-prompts", "0", "--out", str(tmp_path), *more])
    assert (tmp_path / "train.jsonl").read_text() == "mine"


def test_prepare_keeps_every_digit_of_a_mean(tmp_path):
    out = tmp_path / "out"
    cli.run(["prepare", str(RAW), "--reward-field", "fine_grained", "--validation-prompts", "0", "--out", str(out)])
    assert rewards(read_triplets(out / "train.jsonl")) == rewards(
        read_ultrafeedback(RAW, reward_field="fine_grained")[0]
    )
    assert not (out / "validation.jsonl").exists()


def test_a_dry_run_prints_the_counts_and_writes_nothing(tmp_path, capsys):
    arguments = ["prepare", str(RAW), "--validation-prompts", "1", "--out", str(tmp_path / "out"), "--dry-run"]
    cli.run(arguments)
    out = capsys.readouterr().out
    assert "  validation_prompts: 1\n" in out
    assert "train: " in out
    assert not (tmp_path / "out").exists()


def test_the_counts_are_told_even_if_there_are_too_few_prompts_for_validation(capsys):
    with pytest.raises(ConfigError, match="validation_prompts is 1000; expected 1 to 3"):
        cli.run(["prepare", str(RAW), "--dry-run"])
    assert "9 scores of 10" in capsys.readouterr().out


def test_the_command_line_knows_the_layouts_and_handlings_of_the_library():
    hints = get_type_hints(PrepareConfig)
    assert get_args(hints["schema"]) == ("auto", *SCHEMAS)
    of_library = get_type_hints(read_ultrafeedback)
    for name in ("reward_field", "score10", "system_prompt", "on_bad"):
        assert get_args(hints[name]) == get_args(of_library[name])


def test_a_seed_without_a_draw_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="nothing reads --seed"):
        cli.run(["prepare", str(RAW), "--validation-prompts", "0", "--seed", "3"])
