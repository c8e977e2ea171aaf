"""The two sides of each comparison: functions from a `Bench` to measurements."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import (
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    trainer_pt_utils,
)

from benchmarks.bench import MAX_LENGTH, Bench
from benchmarks.rows import EOS, response_tokens
from valuefree.batches.rendering import Limits, tokenize
from valuefree.objectives import RPO
from valuefree.training.reference_scores import score_reference
from valuefree.training.scored_dataset import collator_for
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments

Measured = dict[str, Any]


def rpo(bench: Bench) -> Measured:
    """Training by `PolicyTrainer` with RPO; reference scores and partition are computed before the measured part."""
    return bench.train(policy_trainer(bench, RPO()))


def policy_trainer(bench: Bench, objective: RPO) -> PolicyTrainer:
    """The trainer with the settings that all sides share and an empty score cache."""
    arguments = PolicyTrainingArguments(
        **bench.training(), max_length=MAX_LENGTH, score_cache_dir=str(bench.folder / "scores")
    )
    return PolicyTrainer(bench.model, objective, arguments, bench.rows, processing_class=bench.tokenizer)


# ---------------------------------------------------------------------------------------------- supervised fine-tuning


def group_over_all_rows() -> None:
    """Let transformers' length grouping sort windows of up to 50 batches, as it does on a large set.

    On fewer than 200 batches its window is a quarter of the set. A few batches then leave nothing to sort, and the
    measurement would include padding that a run on a real data set does not have.
    """
    original = trainer_pt_utils.get_length_grouped_indices

    def grouped(lengths: list[int], batch_size: int, mega_batch_mult: Any = None, generator: Any = None) -> list[int]:
        return original(lengths, batch_size, min(max(len(lengths) // batch_size, 1), 50), generator=generator)

    if not isinstance(original, partial):
        trainer_pt_utils.get_length_grouped_indices = partial(grouped)


def seq2seq_sft(bench: Bench) -> Measured:
    """Supervised fine-tuning by transformers' `Seq2SeqTrainer`; it groups by the length of the encoder's input."""
    group_over_all_rows()
    tokenizer = bench.tokenizer

    def row(example: dict[str, Any]) -> dict[str, Any]:
        labels = [*tokenizer(text_target=example["response"])["input_ids"], EOS]
        return {**tokenizer(example["prompt"]), "labels": labels}

    trainer = Seq2SeqTrainer(
        model=bench.model,
        args=Seq2SeqTrainingArguments(**bench.training(), train_sampling_strategy="group_by_length"),
        train_dataset=bench.rows.map(row, remove_columns=bench.rows.column_names),
        processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=bench.model),
    )
    return bench.train(trainer)


def watch_fused_head(bench: Bench) -> None:
    """Record the hidden states that TRL multiplies by the head's weight without calling the head's module."""
    utils = importlib.import_module("trl.trainer.utils")
    original = utils._ChunkedLogProbFunction
    original = getattr(original, "original", original)

    class Watched:
        original: Any = None

        @staticmethod
        def apply(hidden: torch.Tensor, *rest: Any) -> Any:
            bench.meter.recorder.saw_head(hidden)
            return original.apply(hidden, *rest)

    Watched.original = original
    utils._ChunkedLogProbFunction = Watched


def trl_sft(bench: Bench) -> Measured:
    """Supervised fine-tuning by TRL's `SFTTrainer` on prompt and completion, with the loss on the completion only."""
    from trl import SFTConfig, SFTTrainer  # noqa: PLC0415  the import takes a second, which other sides do not need

    group_over_all_rows()
    watch_fused_head(bench)
    arguments = SFTConfig(
        **bench.training(),
        max_length=MAX_LENGTH,
        completion_only_loss=True,
        train_sampling_strategy="group_by_length",
    )
    rows = bench.rows.rename_column("response", "completion").select_columns(["prompt", "completion"])
    trainer = SFTTrainer(bench.model, args=arguments, train_dataset=rows, processing_class=bench.tokenizer)
    return _head_on_responses(bench, bench.train(trainer), passes=1)


def _head_on_responses(bench: Bench, measured: Measured, passes: int) -> Measured:
    """Add the operations that TRL would need on a GPU, where its head runs on the response tokens only."""
    share = passes * response_tokens(bench.rows) / measured["head_positions"]
    fewer = round(measured["head_flops"] * (1 - share))
    return {**measured, "flops_with_head_on_responses": measured["flops"] - fewer}


# ------------------------------------------------------------------------------------------------------------------ KTO


def trl_kto(bench: Bench) -> Measured:
    """One epoch of TRL's `KTOTrainer`; a response is desirable when its reward is above the mean."""
    from trl import KTOConfig, KTOTrainer  # noqa: PLC0415

    watch_fused_head(bench)
    arguments = KTOConfig(**bench.training(), max_length=MAX_LENGTH, precompute_ref_log_probs=True)
    rewards = bench.rows["reward"]
    middle = sum(rewards) / len(rewards)
    rows = bench.rows.rename_column("response", "completion").select_columns(["prompt", "completion"])
    rows = rows.add_column("label", [reward > middle for reward in rewards])
    trainer = KTOTrainer(bench.model, args=arguments, train_dataset=rows, processing_class=bench.tokenizer)
    return _head_on_responses(bench, bench.train(trainer), passes=2)  # the second pass runs the mismatched pairs


# -------------------------------------------------------------------------------------------------------------- scoring


def scoring(bench: Bench) -> Measured:
    """`score_reference` without a cache, on tokenised rows."""
    table = _tokenized(bench)
    bench.warm_up()
    bench.meter.start()
    score_reference(bench.model, table, collator_for(bench.model, bench.tokenizer), progress=False)
    bench.meter.stop()
    return bench.measured(bench.meter)


def bare_forward(bench: Bench) -> Measured:
    """The model's own forward pass without gradient, row by row and therefore without padding; logits are discarded."""
    table = _tokenized(bench)
    prompts, responses = table["prompt_ids"], table["response_ids"]
    bench.warm_up()
    bench.model.eval()
    bench.meter.start()
    with torch.no_grad():
        for prompt, response in zip(prompts, responses, strict=True):
            if bench.family == "t5":
                named = {"input_ids": [prompt], "decoder_input_ids": [[0, *response[:-1]]]}
            else:
                named = {"input_ids": [[*prompt, *response]]}
            bench.model(**{name: torch.tensor(ids) for name, ids in named.items()}, use_cache=False)
    bench.meter.stop()
    return bench.measured(bench.meter)


def _tokenized(bench: Bench) -> Any:
    return tokenize(bench.rows, bench.tokenizer, limits=Limits(MAX_LENGTH), encoder_decoder=bench.family == "t5")[0]


def sides() -> dict[tuple[str, str], Callable[[Bench], Measured]]:
    """The function that runs each (comparison, side)."""
    from benchmarks import algorithm1, head  # noqa: PLC0415  both modules import from this one

    return {
        ("algorithm1", "ours"): algorithm1.ours,
        ("algorithm1", "theirs"): algorithm1.theirs,
        ("sft_t5_4", "ours"): rpo,
        ("sft_t5_4", "theirs"): seq2seq_sft,
        ("sft_t5_1", "ours"): rpo,
        ("sft_t5_1", "theirs"): seq2seq_sft,
        ("sft_decoder_4", "ours"): rpo,
        ("sft_decoder_4", "theirs"): trl_sft,
        ("kto_decoder_4", "ours"): rpo,
        ("kto_decoder_4", "theirs"): trl_kto,
        ("head_memory", "ours"): head.in_chunks,
        ("head_memory", "theirs"): head.all_at_once,
        ("head_memory", "without_memory"): head.without,
        ("head_memory", "ours_memory"): head.in_chunks,
        ("head_memory", "theirs_memory"): head.all_at_once,
        ("scoring_decoder", "ours"): scoring,
        ("scoring_decoder", "theirs"): bare_forward,
        ("scoring_t5", "ours"): scoring,
        ("scoring_t5", "theirs"): bare_forward,
    }
