"""Context inside a response, such as the result of a tool, is read and not scored, in both forms of a batch."""

import pytest
import torch

from conftest import make_llama
from valuefree.batches.collate import Collator
from valuefree.data.columns import nonnegative_counts
from valuefree.models.logprobs import response_logps

PROMPTS = [[5, 6, 7], [5, 6, 7], [8, 9]]
RESPONSES = [[10, 11, ~12, ~13, 14, 1], [15, 1], [~16, 17, ~18, 19]]


@pytest.mark.parametrize("padding_free", [True, False])
def test_only_the_tokens_that_are_not_context_are_scored(tokenizer, padding_free):
    model = make_llama(tokenizer)
    collator = Collator(pad_token_id=0, encoder_decoder=False, padding_free=padding_free)
    result = response_logps(model, collator.tensors({"prompt_ids": PROMPTS, "response_ids": RESPONSES}))
    expected = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        ids = [*prompt, *(token if token >= 0 else ~token for token in response)]
        logps = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        scored = [place for place, token in enumerate(response, start=len(prompt)) if token >= 0]
        expected.append(sum(float(logps[place - 1, ids[place]]) for place in scored))
    assert result.total.tolist() == pytest.approx(expected, abs=1e-4)
    assert result.tokens.tolist() == [4, 2, 2]


def test_a_column_counts_its_trained_tokens(rows):
    table = rows.select(range(3)).add_column("response_ids", RESPONSES)
    assert nonnegative_counts(table, "response_ids").tolist() == [4, 2, 2]
    assert nonnegative_counts(table.select([2, 0]), "response_ids").tolist() == [2, 4]
