"""Each tool's export, written by hand with its oddities, against rows and counts that were worked out by hand."""

import json
from collections import Counter
from pathlib import Path

import pytest

from valuefree import ConfigError, DataError, read_feedback, read_pairs, read_triplets
from valuefree.cli.options.groups import ExportOptions
from valuefree.cli.parse import get_type_hints
from valuefree.data.exports.recognise import READERS

FIXTURES = Path(__file__).parent / "fixtures"


def read(name, **knobs):
    return read_feedback(FIXTURES / name, **knobs)


def call(name, arguments):
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(name, arguments):
    return {"role": "assistant", "content": None, "tool_calls": [call(name, arguments)]}


def test_open_webui_takes_the_branch_of_the_rated_message_and_one_scale():
    """Of 8 and a lone thumb-down, 10 and 1: (8 − 5.5)/4.5 = 5/9, −1, and the mean of 1 and −1."""
    found = read("open_webui.json")
    talk = [
        {"role": "user", "content": "What is a fjord?"},
        {"role": "assistant", "content": "A long inlet."},
        {"role": "user", "content": "Where?"},
    ]
    assert [row.pop("reward") for row in found.rows] == pytest.approx([5 / 9, -1, 0])
    assert found.rows == [
        {"prompt": "What is a fjord?", "response": "A long inlet.", "raters": 1, "model": "m-a", "source_id": "f1"},
        {"prompt": "What is a fjord?", "response": "A lake.", "raters": 1, "model": "m-b", "source_id": "f2"},
        {"prompt": talk, "response": "In Norway.", "raters": 2, "model": "m-a", "source_id": "f3"},
    ]
    assert found.account.skipped == Counter(
        {
            "no rating": 1,
            "the message is not in the snapshot of the chat": 1,
            "no snapshot of the chat": 1,
            "rating 0 is neither +1 nor -1": 1,
        }
    )
    assert found.account.joined == {"with other answers to the same prompt": 2, "from an arena": 1}
    assert "3 rows have a rating from 1 to 10 and 1 only a thumb" in found.account.notes[0]


def test_a_record_of_another_form_is_one_error():
    """The second record lacks the name of its score."""
    score = {"trace_id": "t", "name": "n", "value": 1, "data_type": "NUMERIC"}
    records = [score, {"trace_id": "t", "value": 1}, {"trace_id": "t", "type": "x", "input": "a", "output": "b"}]
    with pytest.raises(DataError, match=r"of langfuse: the content does not have the expected form \(KeyError: 'name'"):
        read_feedback(records)


@pytest.mark.parametrize(("kept", "rewards"), [(["f1", "f3"], [8, 10]), (["f2"], [-1])])
def test_open_webui_keeps_a_scale_that_all_rows_share(kept, rewards):
    records = json.loads((FIXTURES / "open_webui.json").read_text())
    found = read_feedback([record for record in records if record["id"] in kept])
    assert [row["reward"] for row in found.rows] == rewards
    assert found.account.notes == []


SYSTEM = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]
ARITHMETIC = {"prompt": SYSTEM, "response": "4", "source_id": "o1", "model": "m"}
WEATHER = {"prompt": "Weather?", "response": "Sunny.", "source_id": "o2", "model": "m"}


def test_langfuse_joins_by_observation_else_the_last_generation_of_the_trace():
    found = read("langfuse", score_name="helpful")
    oslo = {
        "prompt": "Weather in Oslo?",
        "response": [calling("weather", {"city": "Oslo"})],
        "tools": [{"type": "function", "function": {"name": "weather"}}],
        "source_id": "o5",
        "model": "m",
    }
    assert found.rows == [
        ARITHMETIC | {"reward": 2.5, "raters": 2},
        WEATHER | {"reward": 3, "raters": 1},
        oslo | {"reward": 5, "raters": 1},
    ]
    assert found.account.read == {"observations": 6, "scores": 12}
    assert found.account.joined == {
        "by observation_id": 2,
        "by trace_id, the last of several GENERATIONs": 1,
        "by trace_id": 1,
    }
    assert found.account.sources == {"ANNOTATION": 1, "EVAL": 1, "API": 2}
    assert found.account.skipped == {
        "TEXT score (its value is always 0)": 1,
        "score of another name": 4,
        "the score's observation is not in the export": 1,
        "the score's trace has no GENERATION in the export": 1,
        "score of a session, not of a trace": 1,
    }
    assert any("people and models may judge differently" in note for note in found.account.notes)


def test_langfuse_reads_the_label_of_a_category_and_not_its_index():
    """The index of ``poor`` is 1 and that of ``fine`` 0: read as numbers they would be the wrong way round."""
    found = read("langfuse", score_name="verdict", categories={"poor": -1, "fine": 1})
    assert found.rows == [ARITHMETIC | {"reward": -1, "raters": 1}, WEATHER | {"reward": 1, "raters": 1}]
    with pytest.raises(ConfigError, match=r"'fine' \(1\), 'poor' \(1\).*--categories fine=NUMBER poor=NUMBER"):
        read("langfuse", score_name="verdict")


def test_langfuse_reads_booleans_as_thumbs_and_refuses_texts():
    assert [row["reward"] for row in read("langfuse", score_name="thumb").rows] == [-1, 1]
    with pytest.raises(DataError, match="'remark': its type is TEXT, whose value is always 0"):
        read("langfuse", score_name="remark")


def test_several_scores_are_an_error_with_names_and_counts():
    with pytest.raises(
        ConfigError, match=r"helpful \(7\), verdict \(2\), thumb \(2\)\. Choose .*--score-name 'helpful'"
    ):
        read("langfuse")
    with pytest.raises(ConfigError, match="no score has the name 'helpfull'; there are: helpful"):
        read("langfuse", score_name="helpfull")


def test_langfuse_refuses_a_score_of_two_types():
    scores = [{"trace_id": "t", "name": "s", "value": 1, "data_type": kind} for kind in ("NUMERIC", "CATEGORICAL")]
    with pytest.raises(DataError, match=r"several data types: NUMERIC \(1\), CATEGORICAL \(1\)"):
        read_feedback([*scores, {"trace_id": "t", "type": "GENERATION", "input": "a", "output": "b"}])


def test_langsmith_reads_runs_of_langchain_and_no_corrections():
    found = read("langsmith", score_name="user_score")
    turns = [
        calling("weather", {"city": "Oslo"}),
        {"role": "tool", "content": "rain", "tool_call_id": "c1"},
        {"role": "assistant", "content": "Rain."},
    ]
    assert found.rows == [
        {"prompt": "Capital of Norway?", "response": "Oslo.", "source_id": "r1", "reward": 1, "raters": 1},
        {"prompt": "Weather?", "response": turns, "source_id": "r2", "reward": -1, "raters": 1},
    ]
    assert found.account.joined == {"by run_id, run of type llm": 1, "by run_id, run of type chain": 1}
    assert found.account.sources == {"app": 1, "api": 1}
    assert found.account.skipped == {
        "feedback without a value": 1,
        "feedback of another name": 1,
        "the feedback's run is not in the export": 1,
        "feedback on a session, not on a run": 1,
        "response is an object without messages (it has a, b)": 1,
    }
    assert "2 corrections not read: a reference answer is no reward" in found.account.notes


def test_phoenix_reads_attributes_flat_and_nested():
    found = read("phoenix", score_name="quality")
    time = {
        "prompt": "Time in Oslo?",
        "response": [calling("time", {"city": "Oslo"})],
        "tools": [{"type": "function", "function": {"name": "time"}}],
        "model": "m",
        "source_id": "s1",
    }
    hello = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    assert found.rows == [
        time | {"reward": 0.75, "raters": 2},
        {"prompt": hello, "response": "Hi!", "source_id": "s2", "reward": 0.25, "raters": 1},
    ]
    assert found.account.sources == {"HUMAN": 2, "LLM": 1}
    assert found.account.skipped == {
        "annotation without a value": 1,
        "annotation of another name": 1,
        "the annotation's span is not in the export": 1,
    }


def test_phoenix_reads_a_label_by_the_categories():
    found = read("phoenix", score_name="tone", categories=["kind=2"])
    assert [row["reward"] for row in found.rows] == [2]


def test_phoenix_falls_back_to_the_values_of_a_chain():
    annotation = {"span_id": "s", "annotation_name": "q", "annotator_kind": "HUMAN", "result": {"score": 1.5}}
    span = {"context.span_id": "s", "attributes.input.value": "ask", "attributes.output.value": '{"output": "told"}'}
    found = read_feedback([annotation, span])
    assert found.rows == [{"prompt": "ask", "response": "told", "source_id": "s", "reward": 1.5, "raters": 1}]
    assert found.account.joined == {"by span_id, texts in input.value": 1}


def test_otel_reads_plain_records_and_otlp():
    found = read("otel")
    thought = {"role": "assistant", "content": "4", "reasoning_content": "Sum."}
    clock = [calling("clock", {"zone": "UTC"})]
    assert found.rows == [
        {"prompt": SYSTEM, "response": [thought], "model": "m-1", "source_id": "r1", "reward": 0.5, "raters": 1},
        {"prompt": "Time?", "response": clock, "model": "m-2", "source_id": "b", "reward": 2, "raters": 1},
    ]
    assert found.account.joined == {"by gen_ai.response.id": 1, "by the span of the event": 1}
    assert found.account.skipped == {
        "evaluation without a value": 1,
        "no span with the texts of the evaluated response": 1,
    }


def test_argilla_averages_submitted_ratings_alone():
    found = read("argilla.json")
    assert found.rows == [
        {"prompt": "Name a sea.", "response": "The North Sea.", "source_id": "1", "reward": 4.5, "raters": 2},
        {"prompt": "Name a sea.", "response": "Everest.", "source_id": "2", "reward": 2, "raters": 1},
    ]
    assert found.account.skipped == {
        "draft response to 'quality'": 1,
        "discarded response to 'quality'": 1,
        "record without a submitted response": 2,
    }
    said = " ".join(found.account.notes)
    assert "prompt: field 'instruction'" in said
    assert "1 suggestion not read" in said
    assert "not rewards, but texts: the responses to 'fix'" in said
    with pytest.raises(ConfigError, match="no field 'q' for the prompt; there are: id, status, instruction, answer"):
        read("argilla.json", prompt="q")


def test_label_studio_averages_annotations_that_were_not_cancelled():
    found = read("label_studio.json", score_name="stars")
    assert found.rows == [
        {"prompt": "Name a bird.", "response": "A heron.", "source_id": "1", "reward": 2.5, "raters": 2},
        {"prompt": "Name a fish.", "response": "A whale.", "source_id": "2", "reward": 2, "raters": 1},
    ]
    assert found.account.skipped == {
        "cancelled annotation": 1,
        "result of type textarea": 1,
        "annotation without a rating or choice": 2,
        "2 choices in one result": 1,
        "task without annotations": 1,
        "control of another name": 1,
    }


def test_label_studio_reads_a_choice_by_the_categories():
    found = read("label_studio.json", score_name="verdict", categories={"Wrong": 0})
    assert [(row["response"], row["reward"]) for row in found.rows] == [("A whale.", 0)]


def test_trl_labels_become_signs_and_desirable():
    found = read("trl/unpaired.jsonl")
    tools = [{"type": "function", "function": {"name": "look"}}]
    more = {"tools": tools, "chat_template_kwargs": {"enable_thinking": False}}
    assert found.rows == [
        {"prompt": "Hi", "response": "Hello!", "reward": 1, "desirable": True},
        {"prompt": "Sky?", "response": "Green.", "reward": -1, "desirable": False} | more,
    ]
    assert found.account.skipped == {"no label": 1, "empty response": 1}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("trl/preference.jsonl", [("Blue.", 1, 0), ("Green.", 0, 0), ("Blue.", 1, 1), ("Red.", 0, 1)]),
        ("openai/preference.jsonl", [("Hello!", 1, 0), ("What?", 0, 0)]),
    ],
)
def test_preferences_become_pairs(name, expected):
    found = read(name)
    assert found.pairs
    pairs = read_pairs(found.rows)
    assert list(zip(pairs["response"], pairs["reward"], pairs["pair_id"], strict=True)) == expected
    with pytest.raises(ConfigError, match=r"holds pairs.*--objective dpo"):
        read_triplets(FIXTURES / name)


def test_demonstrations_have_no_reward():
    with pytest.raises(DataError, match=r"1 of the records have messages and no feedback.*--objective sft"):
        read("openai/demonstrations.jsonl")


def test_a_table_is_read_by_named_columns_and_skips_missing_rewards():
    found = read("log.csv", from_="csv", prompt="user_question", response="bot_answer", reward="thumb")
    assert found.rows == [
        {"prompt": "How do I reset it?", "response": "Hold the button for ten seconds.", "reward": 1},
        {"prompt": "How do I reset it?", "response": "Buy a new one of these.", "reward": -1},
        {"prompt": "Where is the manual?", "response": "On the web site of the maker.", "reward": 1},
    ]
    assert found.account.skipped == {"no reward": 1, "empty response": 1}
    assert found.account.notes == ["column 'thumb' holds thumbs: rewards +1 and -1"]


def test_a_cell_of_a_table_is_text_unless_it_holds_messages():
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Go"},
    ]
    texts = ['"quoted"', "[1, 2]", '{"a": "b"}']
    rows = [{"prompt": prompt, "response": "r", "reward": 2} for prompt in [*texts, json.dumps(talk)]]
    assert [row["prompt"] for row in read_feedback(rows, from_="csv").rows] == [*texts, talk]


@pytest.mark.parametrize(
    ("name", "knobs", "tool", "by"),
    [
        ("open_webui.json", {}, "open-webui", "data.rating, meta.message_id, snapshot.chat"),
        ("langfuse", {"score_name": "thumb"}, "langfuse", "trace_id, type, input, output, name, value, data_type"),
        ("otel/spans.jsonl", {}, "otel", "attributes.gen_ai.input.messages, attributes.gen_ai.output.messages"),
        ("phoenix", {"score_name": "quality"}, "phoenix", "span_id, annotation_name, annotator_kind, context.span_id"),
        ("trl/unpaired.jsonl", {}, "trl", "prompt, completion, label"),
    ],
)
def test_a_format_is_recognised_and_says_by_which_fields(name, knobs, tool, by):
    account = read(name, **knobs).account
    assert account.tool == tool
    assert account.recognised.startswith(by)
    assert f"recognised by {by}" in str(account)


def test_an_unrecognised_export_lists_what_was_looked_for_and_the_nearest():
    with pytest.raises(DataError) as caught:
        read_feedback([{"run_id": "r", "key": "k", "points": 1}])
    assert "its fields are run_id, key, points" in str(caught.value)
    assert "langsmith: run_id, key, score; or run_type, inputs, outputs" in str(caught.value)
    assert "The nearest is langsmith, feedback, but there is no score." in str(caught.value)
    assert "--from csv" in str(caught.value)


def test_files_may_be_listed_and_an_unrelated_one_is_named(tmp_path):
    (tmp_path / "readme.json").write_text('{"version": 3}')
    files = [FIXTURES / "langsmith" / "runs.jsonl", FIXTURES / "langsmith" / "feedback.jsonl", tmp_path / "readme.json"]
    found = read_feedback(files, score_name="user_score")
    assert len(found.rows) == 2
    assert f"not read: {tmp_path / 'readme.json'}, which has no records of langsmith" in found.account.notes


def test_listed_files_of_two_formats_are_an_error_that_names_both(tmp_path):
    (tmp_path / "own.jsonl").write_text('{"prompt": "Why is it?", "response": "It just is.", "reward": 1}\n')
    for other, name in ((FIXTURES / "trl" / "unpaired.jsonl", "trl"), (tmp_path / "own.jsonl", "csv")):
        with pytest.raises(DataError, match=rf"two formats: .*open_webui.json is open-webui, and .* looks like {name}"):
            read_feedback([FIXTURES / "open_webui.json", other])


def test_the_export_of_another_tool_is_named():
    with pytest.raises(DataError, match=r"no records of langfuse\. This looks like open-webui: give --from open-webui"):
        read("open_webui.json", from_="langfuse")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no records: it is empty"), ("[]", "no records: it is empty"), ('[{"a": 1}, {"b', "line 1 column 13")],
)
def test_a_file_without_records_says_why(tmp_path, text, words):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=words):
        read_feedback([tmp_path / "a.json"])


def test_half_an_export_says_what_is_missing():
    with pytest.raises(DataError, match=r"no runs were found among 7 × feedback.* also has the runs"):
        read("langsmith/feedback.jsonl", score_name="user_score")
    with pytest.raises(DataError, match="no scores were found among"):
        read_feedback([{"trace_id": "t", "type": "GENERATION", "input": "a", "output": "b"}])


def test_a_broken_line_is_counted_and_shown(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b", "label": true}\n{"prompt": \n')
    account = read_feedback(tmp_path / "rows.jsonl").account
    assert account.skipped == {"unreadable record": 1}
    assert "rows.jsonl:2: broken JSON" in account.notes[0]


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"score_name": "x"}, "nothing reads score_name: trl"),
        ({"reward": "x"}, "nothing reads reward: trl"),
        ({"from_": "trlx"}, "from is 'trlx'; choose from auto, open-webui"),
    ],
)
def test_a_setting_that_a_reader_does_not_read_is_an_error(knobs, words):
    with pytest.raises(ConfigError, match=words):
        read("trl/unpaired.jsonl", **knobs)


def test_the_command_line_knows_every_reader():
    choices = get_type_hints(ExportOptions)["from_"].__args__
    assert set(choices) == {"auto", *READERS}


@pytest.mark.parametrize("kind", ["image_url", "blob"])
def test_content_that_is_no_text_is_skipped_with_its_type(kind):
    rows = [{"prompt": [{"role": "user", "content": [{"type": kind}]}], "completion": "b", "label": True}] * 2
    with pytest.raises(DataError, match=f"2 × a message has content of type {kind}"):
        read_feedback(rows)
