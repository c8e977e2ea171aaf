"""A GGUF file: logits of the merged weights rounded to float16, tokens of the tokenizer, and what is refused."""

import json
import math

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers import models as tokenizer_models
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from chat_templates import CHATML
from conftest import TEXTS, make_gpt2, make_llama, make_t5
from valuefree.errors import ConfigError
from valuefree.models.gguf_export import export_gguf
from valuefree.models.gguf_vocabulary import SPLITS

SAID = "Why do cats purr? Because: 12345 naïve  cats!\n\n日本"
IDS = torch.arange(3, 40)[None]
DIGITS = pre_tokenizers.Digits(individual_digits=True)


def chat_tokenizer(pre_tokenizer=None, *, special=("<|im_start|>", "<|im_end|>")):
    """Byte-level BPE trained on a few texts, as the field's decoders have it."""
    tokenizer = Tokenizer(tokenizer_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<pad>", "<eos>", "<bos>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", chat_template=CHATML
    )
    made.add_special_tokens({"additional_special_tokens": list(special)})
    return made


def byte_fallback_tokenizer():
    """SentencePiece BPE as tokenizer.json has it: a token per byte, a space before each text, a <s> in front."""
    texts = [f"▁{text.replace(' ', '▁')}" for text in TEXTS]
    trained = Tokenizer(tokenizer_models.BPE(unk_token="<unk>", byte_fallback=True))
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trained.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=340, special_tokens=special, show_progress=False))
    model = trained.model
    model.byte_fallback = True
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def saved(folder, model, tokenizer):
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "bias" in name or "norm" in name:  # else they are 0 and 1, which would hide a mistake
                weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def decoder(kind, config, tokenizer, **settings):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "max_position_embeddings": 256, "vocab_size": len(tokenizer)}
    return kind(config(**sizes | settings)).eval()


MAKERS = {
    "llama": make_llama,
    "llama, tied": lambda tokenizer: make_llama(tokenizer, tie_word_embeddings=True),
    "mistral": lambda tokenizer: decoder(MistralForCausalLM, MistralConfig, tokenizer, sliding_window=None),
    "qwen2": lambda tokenizer: decoder(Qwen2ForCausalLM, Qwen2Config, tokenizer, vocab_size=330),
    "qwen3": lambda tokenizer: decoder(Qwen3ForCausalLM, Qwen3Config, tokenizer, head_dim=128, vocab_size=330),
}


def rounded(model):
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.copy_(weight.half().float())
    return model


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@pytest.mark.parametrize("name", MAKERS)
def test_logits_are_those_of_the_weights_rounded_to_float16(tmp_path, name):
    tokenizer = chat_tokenizer()
    source = saved(tmp_path / "weights", MAKERS[name](tokenizer), tokenizer)
    file = export_gguf(source, tmp_path / "out" / "policy.gguf")
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    expected = logits(rounded(AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)))
    torch.testing.assert_close(logits(read), expected, rtol=1e-5, atol=1e-5)


def test_8_bits_are_near_and_take_half_the_bytes(tmp_path):
    tokenizer = chat_tokenizer()
    source = saved(tmp_path / "weights", make_llama(tokenizer, hidden_size=64, intermediate_size=128), tokenizer)
    sizes = {}
    for kind in ("f16", "q8_0"):
        file = export_gguf(source, tmp_path / kind / "policy.gguf", quantize=kind)
        sizes[kind] = sum(int(tensor.n_bytes) for tensor in GGUFReader(file).tensors if len(tensor.shape) > 1)
        read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    assert sizes["q8_0"] == sizes["f16"] * 34 // 64  # 32 values: 32 bytes and a scale of 2, beside 64 bytes
    expected = logits(AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32))
    change = (logits(read) - expected).abs().max()
    assert 0 < change < 0.05 * expected.abs().max()


@pytest.mark.parametrize(
    ("pre_tokenizer", "name"),
    [
        (None, "gpt-2"),
        (pre_tokenizers.Sequence([DIGITS, pre_tokenizers.ByteLevel(add_prefix_space=False)]), "smollm"),
        *(
            (
                pre_tokenizers.Sequence(
                    [
                        pre_tokenizers.Split(Regex(pattern), "isolated"),
                        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                    ]
                ),
                name,
            )
            for pattern, name in SPLITS.items()
        ),
    ],
)
def test_vocabulary_and_template_are_those_of_the_tokenizer(tmp_path, pre_tokenizer, name):
    tokenizer = chat_tokenizer(pre_tokenizer)
    source = saved(tmp_path / "weights", make_llama(tokenizer, vocab_size=len(tokenizer) + 3), tokenizer)
    file = export_gguf(source, tmp_path / "policy.gguf")
    fields = {key: field.contents() for key, field in GGUFReader(file).fields.items()}
    assert fields["tokenizer.ggml.pre"] == name
    assert fields["tokenizer.chat_template"] == CHATML
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert (fields["tokenizer.ggml.eos_token_id"], fields["tokenizer.ggml.eot_token_id"]) == (1, end)
    assert fields["tokenizer.ggml.tokens"][end] == "<|im_end|>"
    assert fields["tokenizer.ggml.tokens"][-1] == f"[PAD{len(tokenizer) + 2}]"
    assert [fields["tokenizer.ggml.token_type"][number] for number in (1, 5, end, -1)] == [3, 1, 3, 5]
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert (tmp_path / "Modelfile").read_text() == (
        'FROM ./policy.gguf\nPARAMETER stop "<|im_end|>"\nPARAMETER stop "<eos>"\n'
    )
    if name == "gpt-2":  # transformers reads no other name
        read = AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)
        assert read(SAID).input_ids == tokenizer(SAID).input_ids


def test_sentencepiece_scores_are_the_order_of_the_merges(tmp_path):
    tokenizer = byte_fallback_tokenizer()
    source = saved(tmp_path / "weights", make_llama(tokenizer), tokenizer)
    fields = {
        key: field.contents() for key, field in GGUFReader(export_gguf(source, tmp_path / "p.gguf")).fields.items()
    }
    assert fields["tokenizer.ggml.model"] == "llama"
    assert fields["tokenizer.ggml.add_bos_token"] is True
    assert fields["tokenizer.ggml.add_space_prefix"] is True
    assert fields["tokenizer.ggml.token_type"][:4] == [2, 3, 3, 6]
    scores = dict(zip(fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.scores"], strict=True))
    merged = [left + right for left, right in _merges(tokenizer)]
    assert [scores[token] for token in merged[:3]] == [0.0, -1.0, -2.0]


def _merges(tokenizer):
    return json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]


def test_llama_3_positions_are_written_as_factors(tmp_path):
    """Factor 8: wave lengths above old/low = 64 are stretched by 8, below old/high = 16 kept, others in between."""
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling |= {"original_max_position_embeddings": 64, "rope_theta": 10000.0}
    tokenizer = chat_tokenizer()
    source = saved(tmp_path / "weights", make_llama(tokenizer, rope_parameters=scaling), tokenizer)
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(export_gguf(source, tmp_path / "p.gguf")).tensors}
    waves = [2 * math.pi * 10000 ** (i / 4) for i in range(4)]  # 6.3, 63, 628, 6283 positions
    between = (64 / waves[1] - 1) / (4 - 1)
    expected = [1.0, 1 / ((1 - between) / 8 + between), 8.0, 8.0]
    np.testing.assert_allclose(tensors["rope_freqs.weight"], expected, rtol=1e-5)


def test_what_cannot_be_written_is_refused_with_what_serves_it(tmp_path, tokenizer):
    t5 = saved(tmp_path / "t5", make_t5(tokenizer), tokenizer)
    with pytest.raises(ConfigError, match="valuefree generate"):
        export_gguf(t5, tmp_path / "p.gguf")
    gpt2 = saved(tmp_path / "gpt2", make_gpt2(tokenizer), tokenizer)
    with pytest.raises(ConfigError, match=r"writes llama, mistral.*type gpt2.*convert_hf_to_gguf"):
        export_gguf(gpt2, tmp_path / "p.gguf")
    other = saved(tmp_path / "metaspace", make_llama(tokenizer), tokenizer)
    with pytest.raises(ConfigError, match="pre-tokenizer has no name"):
        export_gguf(other, tmp_path / "p.gguf")
    chat = chat_tokenizer()
    sliding = decoder(MistralForCausalLM, MistralConfig, chat, sliding_window=16)
    with pytest.raises(ConfigError, match="sliding-window"):
        export_gguf(saved(tmp_path / "sliding", sliding, chat), tmp_path / "p.gguf")
    scaling = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    stretched = decoder(Qwen2ForCausalLM, Qwen2Config, chat, vocab_size=330, rope_parameters=scaling)
    with pytest.raises(ConfigError, match="rotary positions"):
        export_gguf(saved(tmp_path / "stretched", stretched, chat), tmp_path / "p.gguf")
    assert not list(tmp_path.glob("*.gguf*"))


def test_files_are_kept(tmp_path):
    tokenizer = chat_tokenizer()
    source = saved(tmp_path / "weights", make_llama(tokenizer), tokenizer)
    (tmp_path / "Modelfile").write_text("mine")
    with pytest.raises(ConfigError, match="Modelfile exists"):
        export_gguf(source, tmp_path / "policy.gguf")
    export_gguf(source, tmp_path / "policy.gguf", overwrite=True)
    with pytest.raises(ConfigError, match=r"does not end in \.gguf"):
        export_gguf(source, tmp_path / "policy.bin")


@pytest.mark.parametrize("make", [chat_tokenizer, byte_fallback_tokenizer])
def test_llama_cpp_reads_the_same_tokens_and_generates_the_same(tmp_path, make):
    llama_cpp = pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python compiles llama.cpp")
    tokenizer = make()
    source = saved(tmp_path / "weights", make_llama(tokenizer, attention_bias=True), tokenizer)
    file = export_gguf(source, tmp_path / "policy.gguf", quantize="f32")
    served = llama_cpp.Llama(str(file), n_ctx=128, n_threads=1, verbose=False)
    ids = tokenizer(SAID).input_ids
    assert served.tokenize(SAID.encode(), add_bos=True, special=True) == ids
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    expected = model.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False, eos_token_id=None)[0, len(ids) :]
    found = served.generate(ids, temp=0.0, top_k=1, repeat_penalty=1.0)
    assert [next(found) for _ in range(8)] == expected.tolist()
