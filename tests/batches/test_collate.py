"""Rendering, truncation and the shape of batches."""

import datasets
import pytest

from conftest import TEXTS
from valuefree.batches.collate import IGNORED, collate
from valuefree.batches.rendering import Limits, as_text, prompt_ids, response_ids, tokenize
from valuefree.errors import ConfigError, DataError

TALK = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "go"}]


def one(prompt=TEXTS[0], response="the sea is wide"):
    return datasets.Dataset.from_list([{"prompt": prompt, "response": response, "reward": 1.0, "prompt_id": 0}])


def test_chat_template_where_there_is_one(chat_tokenizer):
    rendered = "user: hi assistant: yes user: go assistant: "
    for kind in ({"encoder_decoder": True}, {"encoder_decoder": False}):
        ids = prompt_ids(chat_tokenizer, TALK, **kind)
        assert ids == chat_tokenizer(rendered, add_special_tokens=False)["input_ids"]
        turn = [{"role": "user", "content": "hi"}]
        assert prompt_ids(chat_tokenizer, "hi", **kind) == prompt_ids(chat_tokenizer, turn, **kind)


def test_turns_as_text_where_there_is_none():
    assert as_text("hi") == "hi"
    assert as_text(TALK) == "user: hi\nassistant: yes\nuser: go"


@pytest.mark.parametrize("encoder_decoder", [True, False])
def test_a_response_ends_with_one_end_of_sequence(tokenizer, encoder_decoder):
    ids = response_ids(tokenizer, "the sea", encoder_decoder=encoder_decoder)
    assert ids.count(tokenizer.eos_token_id) == 1
    assert ids[-1] == tokenizer.eos_token_id


def test_encoder_keeps_the_beginning_and_its_end_token_decoder_the_end(tokenizer):
    for encoder_decoder in (True, False):
        full = prompt_ids(tokenizer, TEXTS[0], encoder_decoder=encoder_decoder)
        table, cut = tokenize(one(), tokenizer, limits=Limits(max_prompt_length=5), encoder_decoder=encoder_decoder)
        expected = [*full[:4], full[-1]] if encoder_decoder else full[-5:]
        assert table[0]["prompt_ids"] == expected
        assert (cut.prompts, cut.responses) == (1, 0)


def test_a_cut_response_loses_its_end_of_sequence(tokenizer):
    table, cut = tokenize(one(), tokenizer, limits=Limits(max_response_length=3), encoder_decoder=True)
    assert len(table[0]["response_ids"]) == 3
    assert tokenizer.eos_token_id not in table[0]["response_ids"]
    assert str(cut) == "truncated: 0 prompts and 1 responses of 1 rows"


def test_nothing_is_cut_where_everything_fits(tokenizer, caplog):
    _, cut = tokenize(one(), tokenizer, limits=Limits(), encoder_decoder=False)
    assert (cut.prompts, cut.responses) == (0, 0)
    assert "truncated" not in caplog.text


def test_a_response_cut_away_entirely_names_its_row(tokenizer):
    with pytest.raises(DataError, match=r"1 of 1 responses are truncated away \(max_length=8\)"):
        tokenize(one(), tokenizer, limits=Limits(max_length=8), encoder_decoder=False)


def test_limits_below_one_token_are_errors():
    with pytest.raises(ConfigError, match="max_length is 0"):
        Limits(max_length=0)


def test_labels_count_the_response_alone():
    batch = collate([[5, 6], [7]], [[8, 1], [9, 9, 1]], pad_token_id=0, encoder_decoder=False, padding_side="left")
    assert batch["input_ids"].tolist() == [[5, 6, 8, 1], [7, 9, 9, 1]]
    assert batch["labels"].tolist() == [[IGNORED, IGNORED, 8, 1], [IGNORED, 9, 9, 1]]
    with pytest.raises(ConfigError, match="padding_side"):
        collate([[5]], [[1]], pad_token_id=0, encoder_decoder=False, padding_side="middle")
