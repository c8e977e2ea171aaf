"""The tokenizer of the small world, one token per word, and its two kinds of model."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tokenizers.decoders import Metaspace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from studies.small.grammar import WORDS
from valuefree.demo.tiny import tiny_t5

KINDS = ("t5", "decoder")
SPECIAL = ("<pad>", "</s>", "<unk>")
WIDTH = 64
MARK = "▁"  # before every word, as Metaspace writes a space


def make_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """One token per word; a T5's text ends with </s>, a decoder's prompt is open."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *(MARK + word for word in WORDS)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = Metaspace()
    if kind == "t5":
        tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", padding_side="right"
    )


def make_model(kind: str, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> PreTrainedModel:
    """A T5, or a Llama with two layers, with random weights."""
    if kind == "t5":
        return tiny_t5(tokenizer, seed=seed, width=WIDTH)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
