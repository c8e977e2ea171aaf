"""A model in this process as judge: its probabilities are the model's, padding or not."""

import math

import pytest
import torch

from conftest import MAKERS, make_llama
from valuefree.batches.rendering import prompt_ids
from valuefree.evaluation import LocalJudge, judge
from valuefree.evaluation.judging.backends import Settings
from valuefree.evaluation.judging.judge import Protocol
from valuefree.evaluation.judging.labels import Labels
from valuefree.evaluation.judging.prompts import JudgePrompt
from valuefree.models.load import load_model

QUESTIONS = ["the sea is wide", "the sea is wide and blue and it never sleeps, why?", "bread"]


@pytest.mark.parametrize("kind", ["t5", "llama", "gpt2"])
def test_probabilities_are_those_of_a_forward_without_padding(kind, tokenizer):
    model = MAKERS[kind](tokenizer)
    backend = LocalJudge(model, tokenizer, name="tiny", batch_size=3)
    replies = backend.ask(QUESTIONS, Settings(max_new_tokens=3))
    for question, reply in zip(QUESTIONS, replies, strict=True):
        ids = torch.tensor([prompt_ids(tokenizer, question, encoder_decoder=kind == "t5")])
        given = {"input_ids": ids}
        if kind == "t5":
            given["decoder_input_ids"] = torch.tensor([[model.config.decoder_start_token_id]])
        with torch.no_grad():
            expected = torch.softmax(model(**given).logits[0, -1], dim=-1)
        by_text: dict[str, float] = {}
        for token in torch.argsort(expected, descending=True)[:20].tolist():
            text = tokenizer.decode([token])
            by_text[text] = by_text.get(text, 0.0) + float(expected[token])
        assert {token: math.exp(logprob) for token, logprob in reply.top} == pytest.approx(by_text, rel=1e-4)
        assert reply.input_tokens == ids.shape[1] == backend.tokens(question)


def test_a_question_beyond_the_context_is_a_failure_and_not_cut(tokenizer):
    backend = LocalJudge(make_llama(tokenizer, max_position_embeddings=40), tokenizer, name="tiny")
    short, long = backend.ask(["the sea", "the sea is wide " * 40], Settings(max_new_tokens=4))
    assert short.error is None
    assert long.text is None
    assert "the model takes 36" in long.error


def test_the_revision_is_that_of_the_weights(tokenizer):
    one, same, other = (LocalJudge(make_llama(tokenizer, seed=s), tokenizer, name="tiny") for s in (0, 0, 1))
    assert one.revision == same.revision != other.revision


def test_sampling_is_seeded_and_leaves_the_global_state(tokenizer):
    backend = LocalJudge(make_llama(tokenizer), tokenizer, name="tiny")
    state = torch.get_rng_state()
    texts = [
        [reply.text for reply in backend.ask(QUESTIONS, Settings(12, temperature=2.0, seed=seed))] for seed in (0, 0, 1)
    ]
    assert torch.equal(state, torch.get_rng_state())
    assert texts[0] == texts[1] != texts[2]


def test_a_folder_judges_end_to_end(tokenizer, tmp_path):
    """Labels of the tiny vocabulary; a random model gives them little, so all is unjudged with the reason, or read."""
    make_llama(tokenizer, max_position_embeddings=512).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    backend = LocalJudge(*load_model(str(tmp_path / "model")), name="tiny")
    prompt = JudgePrompt("mine", "{instruction} {response_a} or {response_b}?", Labels.of("the,sea,blue"))
    protocol = Protocol(prompt=prompt, read="probabilities")
    result = judge(["why"] * 3, ["wide"] * 3, ["bread"] * 3, backend=backend, protocol=protocol)
    assert (result.coverage, result.asked.answered) == (0.0, 2)
    assert result.unread() == {"the labels have less than half of the probability": 6}
