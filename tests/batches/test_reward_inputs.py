"""What a reward model reads: the end of the response always, whatever the width, the padding and the batch."""

import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification, PreTrainedTokenizerFast

from conftest import TEXTS
from valuefree.batches.reward_inputs import RewardInputs
from valuefree.errors import ConfigError
from valuefree.models.reward_model import reward_inputs, scores_of

RESPONSES = ["the sea is wide", "and blue apples rest", "cats", "bread and pears and dough and plums"]


def ids_of(inputs, prompt, response):
    batch, cut = inputs.batch([prompt], [response])
    return batch["input_ids"][0].tolist(), cut


def test_a_wide_row_loses_the_beginning_of_its_prompt(tokenizer):
    whole, cut = ids_of(RewardInputs(tokenizer, 100), TEXTS[0], RESPONSES[0])
    assert cut == 0
    answer = tokenizer(RESPONSES[0], add_special_tokens=False)["input_ids"]
    assert whole[-len(answer) :] == answer
    for width in (len(whole) - 1, len(answer) + 2, len(answer), 3):
        ids, cut = ids_of(RewardInputs(tokenizer, width), TEXTS[0], RESPONSES[0])
        assert (ids, cut) == (whole[-width:], 1)


def test_a_wide_chat_loses_its_beginning(tokenizer, chat_tokenizer):
    whole, _ = ids_of(RewardInputs(chat_tokenizer, 200), TEXTS[0], RESPONSES[0])
    text = chat_tokenizer.apply_chat_template(
        [{"role": "user", "content": TEXTS[0]}, {"role": "assistant", "content": RESPONSES[0]}], tokenize=False
    )
    assert whole == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids_of(RewardInputs(chat_tokenizer, 9), TEXTS[0], RESPONSES[0]) == (whole[-9:], 1)


def test_an_encoder_decoder_sees_one_number_of_ends_in_every_row(tokenizer):
    inputs = RewardInputs(tokenizer, 20, encoder_decoder=True)
    responses = [*RESPONSES, "one </s> within", "at the end </s>"]
    batch, _ = inputs.batch([*TEXTS, "a </s> b", TEXTS[0]], responses)
    assert (batch["input_ids"] == tokenizer.eos_token_id).sum(dim=1).tolist() == [1] * 6
    last = batch["attention_mask"].sum(dim=1) - 1
    assert (batch["input_ids"].gather(1, last[:, None]) == tokenizer.eos_token_id).all()
    assert batch["input_ids"].shape[1] <= 20


def without_padding(tokenizer):
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, eos_token="</s>", unk_token="<unk>")


def test_a_decoder_without_a_padding_token_reads_the_last_real_token_in_any_batch(tokenizer):
    """GPT-2 has positions of its own, which padding on the left would shift."""
    bare = without_padding(tokenizer)
    bare.padding_side = "left"
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(bare), n_embd=16, n_layer=1, n_head=2, n_positions=128, num_labels=1)
    model = GPT2ForSequenceClassification(config).eval()
    inputs = reward_inputs(model, bare, 100)
    assert model.config.pad_token_id == bare.pad_token_id == bare.eos_token_id
    responses = RESPONSES[:3]
    batch, _ = inputs.batch(TEXTS[:3], responses)
    together = scores_of(model, batch)
    alone = [scores_of(model, inputs.batch([p], [r])[0]) for p, r in zip(TEXTS[:3], responses, strict=False)]
    torch.testing.assert_close(together[:3], torch.cat(alone))
    states = model.transformer(batch["input_ids"][:1], attention_mask=batch["attention_mask"][:1]).last_hidden_state
    last = int(batch["attention_mask"][0].sum()) - 1
    torch.testing.assert_close(together[:1], model.score(states[0, last]))


def test_no_padding_token_and_no_room_are_errors(tokenizer):
    with pytest.raises(ConfigError, match="no padding token"):
        RewardInputs(without_padding(tokenizer), 10)
    with pytest.raises(ConfigError, match="expected at least 1"):
        RewardInputs(tokenizer, 0)
