"""What the verbs of the command line do: options in, the Python API, a line or a file out. Imports torch."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from peft import LoraConfig, PeftModel
from tqdm.auto import tqdm
from transformers import EarlyStoppingCallback
from transformers.trainer_utils import get_last_checkpoint

from valuefree.callbacks import MetricsFile, StopOnSignal
from valuefree.config import (
    DataOptions,
    DecodingOptions,
    EvaluateConfig,
    GenerateConfig,
    InspectConfig,
    LengthOptions,
    ModelOptions,
    ObjectiveOptions,
    ScoreConfig,
    TrainConfig,
)
from valuefree.data import DataSummary, RewardScaler, read_with_summary, split_by_prompt
from valuefree.data.columns import array_of
from valuefree.data.rendering import Limits, Prompt, tokenize
from valuefree.data.sources import rows_of
from valuefree.data.triplets import prompt_key
from valuefree.errors import ConfigError, DataError, ServingError
from valuefree.evaluation.generation import Decoding, generate_ids
from valuefree.evaluation.rewards import Evaluation, evaluate, load_reward
from valuefree.evaluation.serving import ask
from valuefree.features import prompt_features
from valuefree.manifest import fingerprint, manifest, write_json
from valuefree.models import accelerator_device, is_encoder_decoder, load_model
from valuefree.objectives import RPO, SFT, Objective
from valuefree.partition import PartitionReport, partition_report
from valuefree.preparation import first_prompts, partition_inputs, partition_settings, training_rows
from valuefree.prepared import collator_for
from valuefree.processes import rank_and_size
from valuefree.reference import ReferenceScores, default_cache_dir, score_reference
from valuefree.report import write_report
from valuefree.trainer import PolicyTrainer, PolicyTrainingArguments

logger = logging.getLogger(__name__)


# ------------------------------------------------------------------------------------------- from options to objects


def objective_of(options: ObjectiveOptions) -> Objective:
    """The objective that the options describe; what is not given keeps the objective's own default."""
    if options.objective == "sft":
        return SFT()
    names = ("tau", "estimator", "level", "length_normalize", "on_policy")
    knobs = {name: getattr(options, name) for name in names if options.given(name)}
    return RPO.preset(options.preset, **knobs) if options.preset else RPO(**knobs)


def read(options: DataOptions) -> tuple[datasets.Dataset, DataSummary]:
    """The rows, and what was odd about them."""
    return read_with_summary(
        options.data,
        prompt=options.prompt,
        response=options.response,
        reward=options.reward,
        split=options.split,
        on_bad=options.on_bad,
        thumbs=options.thumbs,
    )


def load(options: ModelOptions) -> tuple[Any, Any]:
    """Model and tokenizer; the folder of an adapter gives its base model with the adapter on."""
    settings = {"dtype": options.dtype, "attn_implementation": options.attn_implementation}
    settings |= {"trust_remote_code": options.trust_remote_code}
    adapter = Path(options.model) / "adapter_config.json"
    if not adapter.exists():
        return load_model(options.model, **settings)
    base = json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise ConfigError(f"{adapter} does not say which model it belongs to (base_model_name_or_path).")
    model, tokenizer = load_model(base, **settings)
    return PeftModel.from_pretrained(model, options.model).eval(), tokenizer


def load_there(options: ModelOptions) -> tuple[Any, Any]:
    """As `load`, on the GPU if there is one."""
    model, tokenizer = load(options)
    return model.to(accelerator_device()), tokenizer


def decoding_of(options: DecodingOptions, seed: int) -> Decoding:
    """How to sample."""
    return Decoding(
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        batch_size=options.generation_batch_size,
        seed=seed,
    )


def limits_of(options: LengthOptions) -> Limits:
    """Longest sequences."""
    return Limits(options.max_length, options.max_prompt_length, options.max_response_length)


def read_prompts(source: str, column: str) -> list[Prompt]:
    """Distinct prompts of a file of rows, or the lines of a ``.txt`` file."""
    if source.endswith(".txt"):
        try:
            lines = Path(source).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"could not read {source}: {error}") from error
        found: list[Prompt] = [line for line in lines if line.strip()]
    else:
        found = []
        for row in rows_of(source, None):
            if row.fault or not row.values.get(column):
                raise DataError(f"{row.where}: {row.fault or f'no {column!r}'}")
            found.append(row.values[column])
    if not found:
        raise DataError(f"{source} holds no prompts.")
    return list({prompt_key(prompt): prompt for prompt in found}.values())


# ------------------------------------------------------------------------------------------------------------- verbs


def _scored(
    rows: datasets.Dataset, options: Any, *, features: bool = False
) -> tuple[datasets.Dataset, ReferenceScores, np.ndarray | None]:
    """Tokenised rows, their reference scores and, where asked for, features of their prompts."""
    model, tokenizer = load_there(options)
    encoder_decoder = is_encoder_decoder(model)
    table, _ = tokenize(rows, tokenizer, limits=limits_of(options), encoder_decoder=encoder_decoder)
    collator = collator_for(model, tokenizer)
    limits: dict[str, Any] = {"autocast": torch.bfloat16 if options.bf16 else None}
    limits |= {"batch_tokens": options.score_batch_tokens}
    scores = score_reference(model, table, collator, cache_dir=options.cache_dir or default_cache_dir(), **limits)
    if not features:
        return table, scores, None
    prompts = first_prompts(table, array_of(table["prompt_id"], np.int64))
    return table, scores, prompt_features(model, prompts, pad_token_id=collator.pad_token_id, **limits)


def inspect(options: InspectConfig) -> tuple[DataSummary, PartitionReport]:
    """Read, score and report; trains nothing."""
    rows, summary = read(options)
    objective = objective_of(options)
    found = training_rows(rows, objective, RewardScaler.fit(rows["reward"]))
    settings = partition_settings(objective.resolved(found), found)
    if settings is None:
        raise ConfigError(f"objective {options.objective} has no partition to inspect.")
    table, scores, features = _scored(rows, options, features=settings.needs_features)
    given = partition_inputs(table, found, scores, settings)
    return summary, partition_report(**given, features=features, **settings.knobs())


def score(options: ScoreConfig) -> tuple[Path, ReferenceScores]:
    """Score every row; write prompt_id, logp and tokens in the order of the rows kept."""
    rows, _ = read(options)
    table, scores, _ = _scored(rows, options)
    file = Path(options.out)
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = {"prompt_id": array_of(table["prompt_id"], np.int64), "logp": scores.logps, "tokens": scores.tokens}
    if rank_and_size()[0] == 0:
        pq.write_table(pa.table(columns), file)
    return file, scores


def training_arguments(options: TrainConfig, seed: int) -> PolicyTrainingArguments:
    """Transformers' arguments from the options."""
    folder = Path(options.out) / "checkpoints"
    return PolicyTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=options.epochs,
        max_steps=options.max_steps,
        learning_rate=options.lr,
        warmup_steps=options.warmup_steps,
        lr_scheduler_type="linear",
        weight_decay=0.0,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulation,
        batch_tokens=options.batch_tokens,
        gradient_checkpointing=options.gradient_checkpointing,
        bf16=options.bf16,
        use_cpu=not torch.accelerator.is_available(),  # several processes would not find each other otherwise
        seed=seed,
        eval_strategy="steps" if options.eval_steps else "no",
        eval_steps=options.eval_steps or None,
        save_strategy="steps" if options.save_steps or options.patience else "no",
        save_steps=options.save_steps or options.eval_steps or 500,
        save_total_limit=2,
        load_best_model_at_end=bool(options.patience),
        metric_for_best_model="eval_loss" if options.patience else None,
        greater_is_better=False if options.patience else None,
        logging_steps=options.logging_steps,
        logging_first_step=True,
        report_to=[] if options.report_to == "none" else [options.report_to],
        max_length=options.max_length,
        max_prompt_length=options.max_prompt_length,
        max_response_length=options.max_response_length,
        score_batch_tokens=options.score_batch_tokens,
        score_cache_dir=options.cache_dir,
    )


def lora(rank: int, *, layers: Sequence[int] | None = None) -> LoraConfig:
    """An adapter on every linear layer (of some layers only, for speed)."""
    if layers is None:
        return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, layers_to_transform=list(layers))


class TrainResult:
    """What `train` leaves in memory: the trainer, the evaluation if a reward function was given, where the run lies."""

    def __init__(self, trainer: PolicyTrainer, evaluation: Evaluation | None, folder: Path, stopped: str | None):
        self.trainer, self.evaluation, self.folder, self.stopped = trainer, evaluation, folder, stopped


def train(options: TrainConfig) -> TrainResult:
    """The main job on the user's rows; writes manifest.json, metrics.jsonl, metrics.json, report.html and the model."""
    if options.reward_function and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "reward_function compares policies in one process, and this run has several: leave it out, and run "
            "`valuefree evaluate` on the trained model."
        )
    rows, summary = read(options)
    held_out = None
    if options.test_prompts:
        rows, held_out = split_by_prompt(rows, test_prompts=options.test_prompts, seed=options.seed)
    reward_function = load_reward(options.reward_function) if options.reward_function else None
    objective = objective_of(options)
    folder = Path(options.out)
    record = manifest(
        "train",
        options.to_dict(),
        objective=objective.to_dict(),
        data=summary.to_dict(),
        fingerprint={"train": _fingerprint(rows), "held_out": _fingerprint(held_out) if held_out else None},
    )
    if int(os.environ.get("RANK", "0")) == 0:
        write_json(folder / "manifest.json", record)
    model, tokenizer = load(options)
    torch.manual_seed(options.seed)  # of the adapter, whatever loading drew; a command owns its process
    signals = StopOnSignal()
    callbacks: list[Any] = [MetricsFile(folder, resume=options.resume), signals]
    if options.patience:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=options.patience))
    trainer = PolicyTrainer(
        model,
        objective,
        training_arguments(options, options.seed),
        rows,
        eval_dataset=held_out if options.eval_steps else None,
        processing_class=tokenizer,
        peft_config=lora(options.lora_rank) if options.lora_rank else None,
        callbacks=callbacks,
    )
    if trainer.report is not None:
        logger.info("%s", trainer.report)
    checkpoints = folder / "checkpoints"
    checkpoint = get_last_checkpoint(str(checkpoints)) if options.resume and checkpoints.is_dir() else None
    if options.resume and checkpoint is None:
        raise ConfigError(f"--resume: no checkpoint in {checkpoints}.")
    trainer.train(resume_from_checkpoint=checkpoint)
    if signals.received is not None:
        return TrainResult(trainer, None, folder, signals.received.name)
    trainer.save_model(str(folder / "model"))
    evaluation = None
    if reward_function is not None and held_out is not None:
        evaluation = _compare(trainer, options, held_out, reward_function)
    truncation = str(trainer.train_dataset.truncation)
    if trainer.is_world_process_zero():
        _finish(folder, trainer, evaluation, record, f"valuefree train: {options.data}", [str(summary), truncation])
    return TrainResult(trainer, evaluation, folder, None)


def _fingerprint(rows: datasets.Dataset) -> str:
    return fingerprint({name: rows[name] for name in ("prompt", "response", "reward")})


def _compare(trainer: PolicyTrainer, options: TrainConfig, held_out: datasets.Dataset, reward_function: Any):
    prompts = list({prompt_key(prompt): prompt for prompt in held_out["prompt"]}.values())
    reference = load(replace(options, dtype="float32"))[0] if not options.lora_rank else None
    return evaluate(
        trainer.model,  # type: ignore[arg-type]
        trainer.processing_class,  # type: ignore[arg-type]
        prompts,
        reward_function,
        reference=reference,
        decoding=replace(
            decoding_of(options, options.seed), max_prompt_length=options.max_prompt_length or options.max_length
        ),
        samples_per_prompt=options.samples_per_prompt,
        kl_prompts=options.kl_prompts,
        progress=True,
    )


def _finish(folder: Path, trainer: PolicyTrainer, evaluation: Evaluation | None, record: dict, title: str, notes: list):
    history = trainer.state.log_history
    metrics = {
        "evaluation": evaluation.to_dict() if evaluation else None,
        "partition": trainer.report.to_dict() if trainer.report else None,
        "training": history[-1] if history else None,
    }
    write_json(folder / "metrics.json", metrics)
    report = trainer.report
    write_report(
        folder, title=title, manifest=record, evaluation=evaluation, partition=report, history=history, notes=notes
    )


def generate(options: GenerateConfig) -> Path:
    """One response per prompt, written as JSON lines.

    Raises:
        ServingError: prompts that the server left without an answer; the answers of the others are written.
    """
    prompts = read_prompts(options.prompts, options.prompt)
    file = Path(options.out)
    if options.server is not None:
        return _generate_remote(prompts, file, options, options.server)
    model, tokenizer = load_there(options)
    _, ids = generate_ids(model, tokenizer, prompts, decoding_of(options, options.seed), progress=True)
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as stream:
        for prompt, text in zip(prompts, texts, strict=True):
            stream.write(_line(prompt, text))
    return file


def _line(prompt: Prompt, response: str) -> str:
    return json.dumps({"prompt": prompt, "response": response}, ensure_ascii=False) + "\n"


def _generate_remote(prompts: list[Prompt], file: Path, options: GenerateConfig, server: str) -> Path:
    """Ask a server; each answer is written as soon as those before it are there, so that --resume finds it."""
    answered = _answered(file) if options.resume else set()
    missing = [prompt for prompt in prompts if prompt_key(prompt) not in answered]
    names = ("model", "api_key_env", "concurrency", "timeout_seconds", "max_retries")
    settings = {name: getattr(options, name) for name in names}
    answers = ask(missing, server=server, decoding=decoding_of(options, options.seed), **settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    errors = []
    with file.open("a" if options.resume else "w", encoding="utf-8", buffering=1) as stream:
        for prompt, answer in zip(missing, tqdm(answers, desc="ask", total=len(missing), leave=False), strict=True):
            if answer.text is None:
                errors.append(answer.error)
            else:
                stream.write(_line(prompt, answer.text))
    if errors:
        raise ServingError(
            f"{len(errors)} of {len(missing)} prompts have no answer (first error: {errors[0]}). The others are in "
            f"{file}; the same command with --resume asks for the rest."
        )
    return file


def _answered(file: Path) -> set[str]:
    """Keys of the prompts in a file of answers; a last line that was cut while it was written is removed."""
    if not file.exists():
        return set()
    whole, _, cut = file.read_bytes().rpartition(b"\n")
    if cut:
        file.write_bytes(whole + b"\n" if whole else b"")
    try:
        rows = [json.loads(line) for line in whole.split(b"\n") if line]
        return {prompt_key(row["prompt"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is not a file of answers ({error!r}), so --resume cannot add to it.") from error


def evaluate_policy(options: EvaluateConfig) -> tuple[Evaluation, Path]:
    """Rewards of a policy against its reference; writes metrics.json and report.html."""
    prompts = read_prompts(options.prompts, options.prompt)
    reward_function = load_reward(str(options.reward_function))
    record = manifest("evaluate", options.to_dict(), fingerprint=fingerprint({"prompt": prompts}))
    policy, tokenizer = load_there(options)
    reference = load(replace(options, model=options.reference))[0] if options.reference else None
    evaluation = evaluate(
        policy,
        tokenizer,
        prompts,
        reward_function,
        reference=reference,
        decoding=decoding_of(options, options.seed),
        samples_per_prompt=options.samples_per_prompt,
        kl_prompts=options.kl_prompts,
        progress=True,
    )
    folder = Path(options.out)
    write_json(folder / "metrics.json", evaluation.to_dict())
    write_report(folder, title=f"valuefree evaluate: {options.model}", manifest=record, evaluation=evaluation)
    return evaluation, folder
