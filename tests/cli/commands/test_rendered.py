"""``--on-bad drop`` and rows that a chat template cannot render: they are dropped, counted and said."""

import copy
import json

import pytest

from valuefree.cli.commands.rendered import REASON, read
from valuefree.cli.options.score import ScoreConfig
from valuefree.errors import DataError

NO_SYSTEM = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{{ message['role'] + ': ' + message['content'] + ' ' }}{% endfor %}"
)


def conversation(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": f"said by {role}"} for role in roles]


def options(tmp_path, tokenizer, prompts, on_bad):
    """Two responses to each prompt."""
    tokenizer.save_pretrained(tmp_path / "model")
    rows = [{"prompt": prompt, "response": f"answer {k}", "reward": k} for prompt in prompts for k in (0, 1)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ScoreConfig(data=str(file), model=str(tmp_path / "model"), on_bad=on_bad)


@pytest.fixture
def strict(chat_tokenizer):
    chat_tokenizer.chat_template = NO_SYSTEM
    return chat_tokenizer


def test_such_rows_are_dropped_and_counted_like_others(tmp_path, strict, caplog):
    """Of three prompts the second has a system message."""
    prompts = [conversation("user"), conversation("system", "user"), conversation("user", "assistant", "user")]
    rows, summary = read(options(tmp_path, strict, prompts, "drop"))
    assert (len(rows), summary.rows, summary.prompts, summary.dropped) == (4, 4, 2, {REASON: 2})
    assert "dropped 2 rows (2 × the chat template cannot render it)" in str(summary)
    assert "2 rows dropped, which the chat template cannot render. row 2" in caplog.text
    assert "no system role" in caplog.text
    kept, before = read(options(tmp_path, strict, prompts, "raise"))
    assert (len(kept), before.dropped) == (6, {})


def test_none_left_is_an_error_that_says_why(tmp_path, strict):
    with pytest.raises(DataError, match=r"can render none of 2 rows: row 0 .*no system role"):
        read(options(tmp_path, strict, [conversation("system", "user")], "drop"))


def test_without_a_template_nothing_is_dropped(tmp_path, tokenizer):
    rows, summary = read(options(tmp_path, tokenizer, [conversation("system", "user")], "drop"))
    assert (len(rows), summary.dropped) == (2, {})


def test_rows_are_read_for_a_tokenizer_that_ends_texts_as_bert_does(tmp_path, tokenizer):
    """With a separator and no end-of-sequence token. A reward model needs none."""
    own = copy.deepcopy(tokenizer)
    own.sep_token, own.eos_token = own.eos_token, None
    rows, summary = read(options(tmp_path, own, ["a question"], "drop"))
    assert (len(rows), summary.dropped) == (2, {})
