"""``valuefree train``, of a policy."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import torch

from valuefree.cli import show
from valuefree.cli.commands import reward_model as reward_models
from valuefree.cli.commands.assess import assess, choose_learning_rate, held_out_responses
from valuefree.cli.commands.closing import policy_result, stopped_result
from valuefree.cli.commands.from_options import decoding_of, load, lora, objective_of
from valuefree.cli.commands.measure import text_metrics_of
from valuefree.cli.commands.planned import planned
from valuefree.cli.commands.runs import Run, no_empty_folders, shared_arguments
from valuefree.cli.options.objective import REWARD_MODEL
from valuefree.cli.options.train import TrainConfig
from valuefree.cli.output import Result, bars
from valuefree.data.prompts import decoded
from valuefree.data.triplets import prompts_of
from valuefree.errors import ConfigError, number_of
from valuefree.evaluation.generation import Decoding
from valuefree.evaluation.held_out.assessment import Assessment
from valuefree.evaluation.held_out.during_training import HeldOutMetrics
from valuefree.evaluation.metrics.measure import TextMetrics
from valuefree.evaluation.policy_evaluation import Evaluation, evaluate
from valuefree.evaluation.reward_functions import check_reward, load_reward
from valuefree.evaluation.validation import ValidationMetrics, best_responses
from valuefree.models.logprobs import patch_forward
from valuefree.models.modules import is_encoder_decoder, unwrap_model
from valuefree.models.quantization import check_quantization
from valuefree.report import read_report, write_report
from valuefree.report.model_card import write_policy_card
from valuefree.runs.files import write_json, write_jsonl
from valuefree.runs.manifest import COMPLETIONS, launched
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments

logger = logging.getLogger(__name__)

EXAMPLES = 2  # rows to try a reward function on before training


def training_arguments(options: TrainConfig) -> PolicyTrainingArguments:
    """The trainer's arguments from the options."""
    return PolicyTrainingArguments(
        **shared_arguments(options),
        batch_tokens=options.batch_tokens,
        max_length=options.max_length,
        max_prompt_length=options.max_prompt_length,
        max_response_length=options.max_response_length,
        score_batch_tokens=options.score_batch_tokens,
        score_cache_dir=options.cache_dir,
    )


@dataclass(frozen=True)
class TrainResult:
    """The trainer, the folder, and what was measured.

    evaluation: rewards of responses to the report prompts, if a reward function was given. assessment: what the logged
    responses to these prompts say, if there are any. stopped: the signal that stopped the run.
    """

    trainer: PolicyTrainer
    evaluation: Evaluation | None
    assessment: Assessment | None
    folder: Path
    stopped: str | None


def parameters(model: torch.nn.Module) -> str:
    """``77.0 M parameters, 1.4 M of them trained``."""
    every = sum(weight.numel() for weight in model.parameters())
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return f"{every / 1e6:.1f} M parameters, {trained / 1e6:.1f} M of them trained"


def _check_processes(options: TrainConfig) -> None:
    """Raise ConfigError for what runs in one process alone."""
    if options.reward_function and launched()[1] > 1:
        raise ConfigError(
            "reward_function compares policies in one process, and this run has several: leave it out, and run "
            "`valuefree evaluate` on the trained model."
        )
    if options.measured() and launched()[1] > 1:
        raise ConfigError(
            "metrics samples responses in one process, and this run has several: leave it out (the loss on validation "
            "prompts remains), and run `valuefree evaluate --metrics` on the trained model."
        )


def train(options: TrainConfig) -> TrainResult:
    """Train a policy on the user's rows; writes metrics, completions, report and model into the folder of the run."""
    _check_processes(options)
    check_quantization(options.quantize)  # before the rows are read
    reward_function = load_reward(options.reward_function) if options.reward_function else None
    texts = text_metrics_of(options, options.measured())
    objective = objective_of(options)
    run = Run.start(options, objective.to_dict())
    if reward_function is not None:
        first = run.rows[:EXAMPLES]
        prompts = [decoded(prompt) for prompt in first["prompt"]]
        check_reward(reward_function, prompts, first["response"], name=str(options.reward_function))
    model, tokenizer = load(options)
    logged = HeldOutMetrics() if options.eval_steps and run.evaluated is not None and launched()[1] == 1 else None
    measuring = [*([logged] if logged else []), *_measuring(options, run.validation, texts, tokenizer)]
    torch.manual_seed(options.seed)  # the adapter must not depend on what loading drew; a command owns its process
    with no_empty_folders(run.folder):
        trainer = PolicyTrainer(
            model,
            objective,
            training_arguments(options),
            run.rows,
            eval_dataset=run.evaluated if options.eval_steps else None,
            processing_class=tokenizer,
            peft_config=lora(options.lora_rank) if options.lora_rank else None,
            reference_samples=run.reference_samples,
            callbacks=run.callbacks(*measuring),
        )
    for callback in measuring:
        callback.trainer = trainer
    logger.info("model: %s, %s", options.model, parameters(trainer.model))
    if trainer.report is not None:
        logger.info("%s", trainer.report.summary())
    held_out = held_out_responses(trainer, run)
    if logged is not None and held_out is not None:
        logged.measure_on(
            held_out.selection or held_out.report, tau=trainer.temperature, sampled=held_out.origin.sampled
        )
    notes = choose_learning_rate(trainer, run, held_out) if options.lr == "auto" else []
    stopped = run.train(trainer)
    if stopped is not None:
        return TrainResult(trainer, None, None, run.folder, stopped)
    reference = _loaded_reference(trainer, options) if reward_function is not None or held_out is not None else None
    assessment = assess(trainer, run, held_out, reference) if held_out is not None else None
    evaluation = None
    if reward_function is not None and run.held_out is not None:
        evaluation = _compare(trainer, run, run.held_out, reward_function, reference)
    if trainer.is_world_process_zero():
        _finish(run, trainer, evaluation, assessment, notes)
    return TrainResult(trainer, evaluation, assessment, run.folder, None)


def _loaded_reference(trainer: PolicyTrainer, options: TrainConfig) -> Any:
    """The untrained model, where the trained one has no adapter to switch off; otherwise None."""
    if options.lora_rank:
        return None
    reference = load(options)[0]
    patch_forward(reference)
    return trainer.accelerator.prepare_model(reference, evaluation_mode=True)  # under the policy's autocast


def _decoding(options: TrainConfig) -> Decoding:
    return replace(
        decoding_of(options, options.seed), max_prompt_length=options.max_prompt_length or options.max_length
    )


def _measuring(
    options: TrainConfig, validation: datasets.Dataset | None, texts: TextMetrics | None, tokenizer: Any
) -> list[ValidationMetrics]:
    """The callback that measures on the validation prompts; none without metrics."""
    if not options.measured() or validation is None:
        return []
    if texts is not None and options.tokenizer is None:
        texts.count_tokens_of(tokenizer)
    kl = "kl" in options.measured()
    return [ValidationMetrics(texts, *best_responses(validation), _decoding(options), kl=kl)]


def _compare(
    trainer: PolicyTrainer, run: Run, held_out: datasets.Dataset, reward_function: Any, reference: Any
) -> Evaluation:
    options = run.options
    prompts = prompts_of(held_out)
    return evaluate(
        trainer.model,
        trainer.processing_class,
        prompts,
        reward_function,
        reference=reference,
        decoding=_decoding(options),
        samples_per_prompt=options.samples_per_prompt,
        kl_prompts=options.kl_prompts,
        seen=run.seen.among(prompts),
        progress=bars(),
    )


def _finish(
    run: Run,
    trainer: PolicyTrainer,
    evaluation: Evaluation | None,
    assessment: Assessment | None,
    notes: list[str],
) -> None:
    history = trainer.state.log_history
    warnings = [trainer.short_run.warning, trainer.rising_loss.warning, trainer.meter.warning]
    pairs, authorship = trainer.train_dataset.columns.get("pairs"), trainer.train_dataset.authorship
    metrics = {
        "notes": [
            str(run.summary),
            *notes,
            str(trainer.train_dataset.truncation),
            *([f"Trained on {number_of(int(pairs.sum()), 'pair')}."] if pairs is not None else []),
            *(f"Warning: {warning}" for warning in warnings if warning),
        ],
        "evaluation": evaluation.to_dict() if evaluation else None,
        "logged": {"policy": assessment.to_dict()} if assessment else None,
        "partition": trainer.report.to_dict() if trainer.report else None,
        "authorship": authorship.to_dict() if authorship else None,
        "training": history[-1] if history else None,
    }
    write_json(run.folder / "metrics.json", metrics)
    if evaluation is not None:
        write_jsonl(run.folder / COMPLETIONS, evaluation.completions)
    write_report(read_report([run.folder]), run.folder)
    write_policy_card(run.folder, encoder_decoder=is_encoder_decoder(unwrap_model(trainer.model)))
    run.output.close()


def command(options: TrainConfig) -> Result | None:
    """Train, and print what the policy has learned, by the held-out rows and by a reward function if there is one."""
    reward_model = options.objective == REWARD_MODEL
    if options.dry_run:
        show.settings(options, *planned(options))
        return None
    if reward_model:
        return reward_models.command(options)
    result = train(options)
    if result.stopped:
        return stopped_result(result.folder, result.stopped)
    if result.evaluation is not None:
        show.evaluation(result.evaluation)
    return policy_result(options, result.folder, result.assessment, result.evaluation)
