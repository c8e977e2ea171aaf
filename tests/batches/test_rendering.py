"""Tokenising many rows at once is tokenising each, in memory or in a file."""

import datasets
import pytest

from conftest import TEXTS
from valuefree.batches import rendering
from valuefree.batches.rendering import Limits, cut_prompt, prompt_ids, response_ids, tokenize
from valuefree.data import storage
from valuefree.errors import DataError

TURNS = [{"role": "user", "content": "Name fruits."}, {"role": "assistant", "content": "Apples"}]


def table_of(messages: bool) -> datasets.Dataset:
    prompts = [TEXTS[i % 4][: 5 + 3 * i] for i in range(20)]
    if messages:
        prompts = [[*TURNS[: 2 * (i % 2)], {"role": "user", "content": text}] for i, text in enumerate(prompts)]
    rows = {"prompt": prompts, "response": [TEXTS[i % 3][i:] for i in range(20)], "reward": [0.0] * 20}
    return datasets.Dataset.from_dict(rows | {"prompt_id": list(range(20))})


@pytest.mark.parametrize("encoder_decoder", [True, False])
@pytest.mark.parametrize("messages", [True, False])
@pytest.mark.parametrize("chat", [True, False])
def test_rows_together_are_tokenised_as_each_alone(
    tokenizer, chat_tokenizer, monkeypatch, chat, messages, encoder_decoder
):
    """Whatever the batches, in the order of the rows, and also when a table is too large for memory."""
    use = chat_tokenizer if chat else tokenizer
    rows = table_of(messages).shuffle(seed=1)
    limits = Limits(200, max_prompt_length=12, max_response_length=9)
    table, cut = tokenize(rows, use, limits=limits, encoder_decoder=encoder_decoder)
    prompts = [prompt_ids(use, prompt, encoder_decoder=encoder_decoder) for prompt in rows["prompt"]]
    responses = [response_ids(use, response, encoder_decoder=encoder_decoder) for response in rows["response"]]
    assert table["prompt_ids"][:] == [cut_prompt(ids, 12, encoder_decoder=encoder_decoder) for ids in prompts]
    assert table["response_ids"][:] == [ids[:9] for ids in responses]
    assert (cut.prompts, cut.responses) == tuple(
        sum(len(ids) > most for ids in side) for side, most in ((prompts, 12), (responses, 9))
    )
    assert table.column_names == [*rows.column_names, "prompt_ids", "response_ids"]
    monkeypatch.setattr(rendering, "TOKENIZED_ROWS", 3)
    monkeypatch.setattr(storage, "SPILL_BYTES", 2000)
    large, same = tokenize(rows, use, limits=limits, encoder_decoder=encoder_decoder)
    assert large.cache_files
    assert same == cut
    assert list(large) == list(table)
    assert large.features == table.features


def test_rows_without_room_are_named_across_batches(tokenizer, monkeypatch):
    monkeypatch.setattr(rendering, "TOKENIZED_ROWS", 3)
    rows = datasets.Dataset.from_dict({"prompt": ["sea", TEXTS[0]] * 4, "response": ["bread"] * 8})
    start = f"(prompt {TEXTS[0][:60]!r})"
    with pytest.raises(DataError, match="4 of 8 responses are truncated away") as caught:
        tokenize(rows, tokenizer, limits=Limits(12), encoder_decoder=False)
    assert [fault.split(":")[0] for fault in caught.value.faults] == [f"row {row} {start}" for row in (1, 3, 5, 7)]
