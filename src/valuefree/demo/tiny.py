"""A tiny T5 whose tokenizer and weights are trained in seconds on the demo's texts."""

from collections.abc import Sequence
from pathlib import Path

import datasets
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.decoders import Metaspace
from transformers import PreTrainedTokenizerFast, PrinterCallback, T5Config, T5ForConditionalGeneration

from valuefree.objectives import SFT
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments

VOCABULARY = 1500


def tiny_tokenizer(texts: Sequence[str], vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """A BPE tokenizer with T5's special tokens: <pad> 0, </s> 1, <unk> 2; a text ends with </s>.

    BPE, because training a unigram tokenizer is not deterministic across processes.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", padding_side="right"
    )


def tiny_t5(tokenizer: PreTrainedTokenizerFast, *, seed: int = 0, width: int = 64) -> T5ForConditionalGeneration:
    """A T5 with random weights: two layers in encoder and decoder, `width` wide."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_kv=width // 4,
        d_ff=2 * width,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        pad_token_id=0,
        eos_token_id=1,
    )
    config.decoder_start_token_id = 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return T5ForConditionalGeneration(config)


def make_tiny_t5(
    folder: Path,
    rows: datasets.Dataset,
    *,
    seed: int = 0,
    epochs: float = 3.0,
    width: int = 64,
    score_cache_dir: str | None = None,
) -> Path:
    """Train tokenizer and model on `rows` by supervised fine-tuning and save both: the demo's reference policy."""
    tokenizer = tiny_tokenizer([*rows["prompt"], *rows["response"]])
    args = PolicyTrainingArguments(
        output_dir=str(folder / "training"),
        num_train_epochs=epochs,
        learning_rate=5e-3,
        per_device_train_batch_size=32,
        seed=seed,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        logging_steps=1000,
        score_cache_dir=score_cache_dir,
    )
    trainer = PolicyTrainer(tiny_t5(tokenizer, seed=seed, width=width), SFT(), args, rows, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model(str(folder))
    return folder
