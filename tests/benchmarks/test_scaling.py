"""docs/scaling.md says what benchmarks/scaling.py computes, and that agrees with the models and with autograd."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from benchmarks.scaling import FULL, MODELS, T5, Assumptions, Decoder, filled, forward_flops, main, parameters, states
from valuefree.training.arguments import PolicyTrainingArguments

DOC = Path(__file__).parents[2] / "docs" / "scaling.md"


def build(spec, **more):
    """The transformers model of a specification, without dropout."""
    if isinstance(spec, T5):
        config = T5Config(
            vocab_size=spec.vocabulary,
            d_model=spec.d,
            d_kv=spec.d_kv,
            d_ff=spec.d_ff,
            num_layers=spec.layers,
            num_heads=spec.heads,
            relative_attention_num_buckets=spec.buckets,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            **more,
        )
        return T5ForConditionalGeneration(config)
    config = LlamaConfig(
        vocab_size=spec.vocabulary,
        hidden_size=spec.d,
        intermediate_size=spec.d_ff,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.kv_heads,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def test_the_tables_of_the_document_are_the_output_of_the_program():
    text = DOC.read_text(encoding="utf-8")
    assert filled(text, Assumptions()) == text, "run python -m benchmarks.scaling --write docs/scaling.md"


def test_the_assumptions_are_flags(capsys):
    main(["--mfu", "0.2", "--rows", "1000"])
    printed = capsys.readouterr().out
    assert "| `--mfu` | 0.2 |" in printed
    assert filled(DOC.read_text(encoding="utf-8"), Assumptions(mfu=0.2)) != DOC.read_text(encoding="utf-8")


def test_a_document_without_a_marker_is_refused():
    with pytest.raises(ValueError, match="scaling:assumptions:begin"):
        filled("", Assumptions())


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_parameters_are_those_of_transformers(spec):
    with torch.device("meta"):
        model = build(spec)
        ours = parameters(spec)
        if isinstance(spec, T5):  # the configuration ties the head; a checkpoint with two tensors has both
            assert model.lm_head.weight is model.shared.weight
            ours -= model.lm_head.weight.numel()
        assert sum(p.numel() for p in model.parameters()) == ours
        adapted = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear"))
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) == spec.lora(16)


def kept_bytes(model, run) -> int:
    """Bytes of the distinct storages that autograd keeps, those of parameters left out."""
    parameters_at = {parameter.data_ptr() for parameter in model.parameters()}
    alive, sizes = [], {}

    def pack(tensor):
        alive.append(tensor)  # so that no address is used twice
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters_at:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        alive.append(run())
    return sum(sizes.values())


def states_of(model, rows: int, width: int):
    ids = torch.zeros(rows, width, dtype=torch.long)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        if isinstance(model, LlamaForCausalLM):
            mask = torch.ones(rows, 1, width, width, dtype=torch.bool).tril()
            return model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        mask = torch.ones_like(ids)
        encoded = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        given = {"encoder_hidden_states": encoded, "encoder_attention_mask": mask, "use_cache": False}
        return model.decoder(input_ids=ids, **given).last_hidden_state


def per_token(spec, width: int, **more) -> float:
    """Kept bytes per token: the difference that more rows make, which leaves the casts of weights out."""
    model = build(spec, **more)
    few, many = (kept_bytes(model, lambda rows=rows: states_of(model, rows, width)) for rows in (2, 4))
    return (many - few) / (2 * width)


@pytest.mark.parametrize("width", [32, 64])
def test_a_llama_layer_keeps_the_bytes_of_the_formula(width):
    one, three = (Decoder(d=256, d_ff=448, layers=n, heads=8, kv_heads=2, vocabulary=16) for n in (1, 3))
    assert (per_token(three, width) - per_token(one, width)) / 2 == pytest.approx(one.saved(width)[0], rel=0.01)


@pytest.mark.parametrize("width", [32, 64])
def test_a_t5_layer_keeps_the_bytes_of_the_formula(width):
    spec = T5(d=128, d_kv=32, d_ff=320, layers=1, heads=8, vocabulary=16)
    base = per_token(spec, width)
    decoder = (per_token(spec, width, num_decoder_layers=3) - base) / 2
    deeper = T5(**{**vars(spec), "layers": 3})
    encoder = (per_token(deeper, width, num_decoder_layers=1) - base) / 2
    assert (encoder, decoder) == pytest.approx(spec.saved(width), rel=0.01)


def test_states_by_hand():
    llama = MODELS[1]
    assert parameters(llama) == 8_030_261_248
    assert states(llama, "DDP", 0, 1) == 18 * 8_030_261_248
    assert states(llama, "ZeRO-2", 0, 8) == pytest.approx((2 + 14 / 8) * 8_030_261_248)
    assert all(each.whole + each.split in (16, 18) for each in FULL.values())


def test_flops_by_hand():
    tiny = Decoder(d=8, d_ff=16, layers=1, heads=2, kv_heads=1, vocabulary=10)
    given = Assumptions(prompt_tokens=3, response_tokens=5, responses_per_prompt=4)
    body = 2 * 64 + 2 * 8 * 4 + 3 * 8 * 16 + 2 * 8 + 8
    assert forward_flops(tiny, given, 4) == 2 * (body * (3 + 20) + 80 * 20)


def test_chunks_are_those_of_the_trainer():
    fields = PolicyTrainingArguments.__dataclass_fields__
    for name in ("chunk_tokens", "max_logit_bytes"):
        assert getattr(Assumptions(), name) == fields[name].default
