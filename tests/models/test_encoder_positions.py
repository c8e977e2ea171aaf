"""Encoder-decoders whose positions are columns of the row: the scores must not depend on the side of the padding."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from models.test_logprobs import PROMPTS, RESPONSES, batch_of, by_hand
from valuefree.batches.collate import IGNORED
from valuefree.models.logprobs import response_logps

SIZES = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "vocab_size": 50,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "decoder_start_token_id": 2,
}


@pytest.mark.parametrize("kind", ["bart", "pegasus", "marian", "blenderbot", "m2m_100"])
def test_an_encoder_decoder_with_absolute_positions_takes_padding_on_either_side(kind):
    """Against the model's own logits, row by row without padding: prompts, labels and shared prompts padded left."""
    torch.manual_seed(0)
    model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(kind, **SIZES)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)
        expected = [by_hand(model, p, r) for p, r in zip(PROMPTS, RESPONSES, strict=True)]
        for side in ("right", "left"):
            assert response_logps(model, batch_of(model, side)).total.tolist() == pytest.approx(expected, abs=1e-4)
        left = batch_of(model, "left")
        left["labels"] = torch.tensor([[IGNORED] * (6 - len(response)) + response for response in RESPONSES])
        assert response_logps(model, left).total.tolist() == pytest.approx(expected, abs=1e-4)
        left["encoder_rows"] = torch.tensor([2, 1, 0])
        left |= {name: left[name].flip(0) for name in ("input_ids", "attention_mask")}
        assert response_logps(model, left).total.tolist() == pytest.approx(expected, abs=1e-4)
