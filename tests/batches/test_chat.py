"""Conversations with tools through chat templates: equal to the template; each field is rendered or reported."""

import json

import datasets
import pytest

from chat_templates import CHATML_TOOLS, LLAMA3, SMOLLM2, byte_tokenizer
from valuefree.batches.rendering import Limits, prompt_ids, tokenize
from valuefree.data import read_triplets
from valuefree.errors import DataError

ENDS = {"smollm2": "<|im_end|>", "chatml": "<|im_end|>", "llama3": "<|eot|>"}
TOKENIZERS = {
    "smollm2": byte_tokenizer(SMOLLM2, special=("<|im_start|>", "<|im_end|>")),
    "chatml": byte_tokenizer(CHATML_TOOLS, special=("<|im_start|>", "<|im_end|>")),
    "llama3": byte_tokenizer(LLAMA3, special=("<|start|>", "<|end|>", "<|eot|>")),
}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Lyon"}}}
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Lyon?"}]
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "18 degrees", "tool_call_id": "c1"}
ANSWER = {"role": "assistant", "content": "It is 18 degrees."}


def tokenized(tmp_path, tokenizer, *rows, **knobs):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"reward": 1, **row}) + "\n" for row in rows))
    table = read_triplets(file, **knobs)
    return tokenize(table, tokenizer, limits=Limits(), encoder_decoder=False)[0]


def whole(row):
    """Prompt and response as the tokens that the model reads."""
    return [*row["prompt_ids"], *(token if token >= 0 else ~token for token in row["response_ids"])]


def applied(tokenizer, messages, **options):
    ids = tokenizer.apply_chat_template(messages, **options)["input_ids"]
    return ids if not options.get("add_generation_prompt") else list(ids)


def up_to_the_end(name, ids):
    """The ids up to the end of the last turn: what follows it is never trained."""
    end = TOKENIZERS[name].convert_tokens_to_ids(ENDS[name])
    return ids[: len(ids) - ids[::-1].index(end)]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_conversation_is_rendered_as_by_the_template(tmp_path, name):
    tokenizer = TOKENIZERS[name]
    turns = [*ASKED, ANSWER, {"role": "user", "content": "And in Paris?"}]
    row = tokenized(tmp_path, tokenizer, {"prompt": turns, "response": [ANSWER]})[0]
    assert row["prompt_ids"] == applied(tokenizer, turns, add_generation_prompt=True)
    assert whole(row) == up_to_the_end(name, applied(tokenizer, [*turns, ANSWER]))


@pytest.mark.parametrize("name", ["chatml", "llama3"])
@pytest.mark.parametrize("train_on", ["last", "all"])
def test_a_conversation_with_tools_is_rendered_as_by_the_template(tmp_path, name, train_on):
    tokenizer = TOKENIZERS[name]
    source = {"prompt": ASKED, "tools": TOOLS, "response": [CALLED, RESULT, ANSWER]}
    row = tokenized(tmp_path, tokenizer, source, train_on=train_on)[0]
    everything = applied(tokenizer, [*ASKED, CALLED, RESULT, ANSWER], tools=TOOLS)
    assert whole(row) == up_to_the_end(name, everything)
    before = [*ASKED, CALLED, RESULT] if train_on == "last" else ASKED
    assert row["prompt_ids"] == applied(tokenizer, before, tools=TOOLS, add_generation_prompt=True)


@pytest.mark.parametrize("name", ["chatml", "llama3"])
def test_all_turns_of_the_assistant_are_trained_and_results_of_tools_are_not(tmp_path, name):
    source = {"prompt": ASKED, "tools": TOOLS, "response": [CALLED, RESULT, ANSWER]}
    row = tokenized(tmp_path, TOKENIZERS[name], source, train_on="all")[0]
    trained = TOKENIZERS[name].decode([token for token in row["response_ids"] if token >= 0])
    context = TOKENIZERS[name].decode([~token for token in row["response_ids"] if token < 0])
    assert trained.count(ENDS[name]) == 2
    assert "Lyon" in trained
    assert "It is 18 degrees." in trained
    assert "18 degrees" in context
    assert "Lyon" not in context


def test_a_tool_call_as_the_response_is_trained_as_the_template_writes_it(tmp_path):
    row = tokenized(tmp_path, TOKENIZERS["chatml"], {"prompt": ASKED, "tools": TOOLS, "response": [CALLED]})[0]
    text = TOKENIZERS["chatml"].decode(row["response_ids"])
    assert text == '<tool_call>{"name": "weather", "arguments": {"city": "Lyon"}}</tool_call><|im_end|>'


def test_options_of_the_template_reach_it(tmp_path):
    source = {"prompt": "hi", "response": "yes", "chat_template_kwargs": {"enable_thinking": False}}
    thinking, plain = tokenized(tmp_path, TOKENIZERS["chatml"], source, {"prompt": "hi", "response": "yes"})
    assert TOKENIZERS["chatml"].decode(thinking["prompt_ids"]).endswith("assistant\n<think></think>")
    assert TOKENIZERS["chatml"].decode(plain["prompt_ids"]).endswith("assistant\n")
    assert thinking["prompt_id"] != plain["prompt_id"]


@pytest.mark.parametrize(
    ("message", "field"),
    [(CALLED, "tool_calls"), ({**ANSWER, "function_call": {"name": "weather"}}, "function_call")],
)
def test_calls_that_the_template_ignores_are_an_error_that_names_the_row(tmp_path, message, field):
    good = {"prompt": "hi", "response": "yes"}
    bad = {"prompt": [*ASKED, message, {"role": "user", "content": "go on"}], "response": "yes"}
    with pytest.raises(DataError, match=rf"does not render {field} \(1 rows, first: row 1 \(prompt 'go on'\)\)"):
        tokenized(tmp_path, TOKENIZERS["smollm2"], good, bad)


def test_tools_that_the_template_ignores_are_an_error(tmp_path):
    with pytest.raises(DataError, match=r"does not render tools \(2 rows, first: row 0 .*Remove these rows from"):
        tokenized(tmp_path, TOKENIZERS["smollm2"], *[{"prompt": "hi", "response": "y", "tools": TOOLS}] * 2)


def test_no_field_of_a_message_is_dropped_without_a_word(tmp_path, caplog):
    """Every field is in the prompt that was read, and is either rendered or named in a warning."""
    fields = {
        "name": "Ada", "reasoning_content": "because", "tool_calls": [CALL], "weight": 0.5, "refusal": "no",
        "annotations": [{"a": 1}], "audio": {"id": "x"}, "timestamp": "2026-01-01",
    }  # fmt: skip
    turns = [*ASKED, {"role": "assistant", "content": "yes", **fields}, {"role": "user", "content": "go on"}]
    source = {"prompt": turns, "response": "yes", "chat_template_kwargs": {"style": "short"}}
    table = tokenized(tmp_path, TOKENIZERS["chatml"], source)
    assert json.loads(table[0]["prompt"]["messages"])[2] == turns[2]
    text = TOKENIZERS["chatml"].decode(table[0]["prompt_ids"])
    rendered = {"reasoning_content": "because", "tool_calls": "Lyon"}
    for name in fields:
        if name in rendered:
            assert rendered[name] in text
        else:
            assert f"{name} (1 rows, first: row 0 (prompt 'go on'))" in caplog.text
    assert "chat_template_kwargs.style (1 rows, first: row 0 (prompt 'go on'))" in caplog.text


def test_a_template_that_fails_names_the_row(tmp_path):
    strict = byte_tokenizer(
        "{% for m in messages %}{{ raise_exception('only users') if m['role'] == 'tool' }}{% endfor %}"
    )
    bad = {"prompt": [*ASKED, RESULT], "response": "yes"}
    with pytest.raises(
        DataError, match=r"row 1 \(prompt '18 degrees'\): the chat template cannot render these messages .*only users"
    ):
        tokenized(tmp_path, strict, {"prompt": "hi", "response": "yes"}, bad)


def test_a_template_that_rewrites_earlier_turns_is_trained_on_the_last_alone(tmp_path):
    """As templates that remove the reasoning of earlier turns do."""
    rewriting = byte_tokenizer(
        "{% for m in messages %}{{ m['role'] }}:{% if loop.last %}{{ m['reasoning_content'] }}{% endif %}"
        "{{ m['content'] }}<|im_end|>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}",
        special=("<|im_end|>",),
    )
    turns = [{**ANSWER, "reasoning_content": "hm"}, RESULT, {**ANSWER, "reasoning_content": "so"}]
    row = tokenized(tmp_path, rewriting, {"prompt": "hi", "response": turns})[0]
    assert rewriting.decode(row["response_ids"]) == "soIt is 18 degrees.<|im_end|>"
    with pytest.raises(DataError, match="--train-on last"):
        tokenized(tmp_path, rewriting, {"prompt": "hi", "response": turns}, train_on="all")


def test_null_content_is_never_printed(tmp_path):
    ids = prompt_ids(
        byte_tokenizer("{% for m in messages %}{{ m['content'] }}{{ m['tool_calls'] or '' }};{% endfor %}"),
        {"messages": [*ASKED, CALLED]},
        encoder_decoder=False,
    )
    assert "None" not in byte_tokenizer().decode(ids)


def test_without_a_chat_template_tools_and_calls_are_text(tmp_path):
    tokenizer = byte_tokenizer()
    row = tokenized(tmp_path, tokenizer, {"prompt": ASKED, "tools": TOOLS, "response": [CALLED]})[0]
    assert json.dumps(TOOLS) in tokenizer.decode(row["prompt_ids"])
    assert tokenizer.decode(row["response_ids"]) == f"tool_calls: {json.dumps([CALL])}<eos>"
    with pytest.raises(DataError, match=r"row 0 \(prompt 'Weather in Lyon\?'\): the response has 3 messages"):
        tokenized(tmp_path, tokenizer, {"prompt": ASKED, "response": [CALLED, RESULT, ANSWER]}, train_on="all")


def test_a_cut_that_leaves_no_trained_token_is_an_error():
    rows = [{"prompt": "hi", "response": "y", "reward": 1.0, "prompt_id": 0}]
    with pytest.raises(DataError, match="truncated away"):
        tokenize(
            datasets.Dataset.from_list(rows), TOKENIZERS["chatml"], limits=Limits(max_length=3), encoder_decoder=False
        )
