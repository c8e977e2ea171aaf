"""``valuefree demo``: train on feedback that comes with the package, and compare on held-out prompts."""

import logging
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch

from valuefree.cli import show
from valuefree.cli.commands.from_options import lora
from valuefree.cli.options.demo import DemoConfig
from valuefree.cli.output import bars
from valuefree.data import split_by_prompt, summarize
from valuefree.data.seen_prompts import SeenPrompts
from valuefree.data.triplets import prompts_of
from valuefree.demo.data import feedback, reward, shuffle_rewards, take_prompts
from valuefree.demo.smollm2 import smollm2_folder
from valuefree.demo.tiny import make_tiny_t5
from valuefree.errors import ConfigError
from valuefree.evaluation.generation import Decoding
from valuefree.evaluation.held_out.assessment import Assessment, HeldOutResponses
from valuefree.evaluation.policy_evaluation import Evaluation, evaluate
from valuefree.models.load import load_model
from valuefree.objectives import RPO
from valuefree.report import read_report, write_report
from valuefree.report.gains import verdict
from valuefree.runs.files import write_json, write_jsonl
from valuefree.runs.manifest import COMPLETIONS, fingerprint, manifest
from valuefree.runs.run_folder import MANIFEST, RunFolder
from valuefree.training.callbacks import MetricsFile, StopOnSignal
from valuefree.training.log_lines import log_lines
from valuefree.training.step_zero import step_zero_noise
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments

logger = logging.getLogger(__name__)

NEW_TOKENS = 40  # the limit of the committed answers
RANK = 16


@dataclass(frozen=True)
class DemoResult:
    """What the policy gained, what the logged rows say of it, the folder of the run, and what the run cost."""

    evaluation: Evaluation
    assessment: Assessment
    folder: Path
    seconds: float
    peak_memory_gb: float


def run(options: DemoConfig, *, say: Callable[[str], None]) -> DemoResult:
    """Split by prompt, inspect, train by RPO, compare on the held-out prompts, write the results.

    Args:
        options: of the verb. say: takes one line of progress at a time.

    Raises:
        ConfigError: SmolLM2 is not installed; interrupted by a signal.
    """
    start = time.perf_counter()
    output = RunFolder(options.out, overwrite=options.overwrite)
    folder = output.path
    train, held_out_rows, prompts = split_feedback(options)
    if options.shuffle_rewards:
        train = shuffle_rewards(train, seed=options.seed)
        say("control: the rewards of the training rows are permuted within each prompt")
    say(f"training rows: {summarize(train)}")
    objective = RPO(target_std=options.target_std)
    record = manifest(
        "demo",
        options.to_dict(),
        given=options.given(),
        objective=objective.to_dict(),
        fingerprint={"train": _fingerprint(train), "held_out": fingerprint({"prompt": prompts})},
    )
    if options.model == "smollm2":
        smollm2_folder()  # raises before anything is written if the model is not installed
    output.open()
    write_json(folder / MANIFEST, record)
    model, tokenizer, adapter = load_policy(options, train, folder)
    say(f"model: {options.model}, {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")
    signals = StopOnSignal()
    trainer = PolicyTrainer(
        model,
        objective,
        training_arguments(options, folder),
        train,
        processing_class=tokenizer,
        peft_config=adapter,
        callbacks=[MetricsFile(folder), signals],
    )
    say(f"\n{trainer.report}\n")
    noise = step_zero_noise(trainer)
    say(
        f"log-ratio of the untouched policy: at most {noise['rho_max']:.2g} nats (scores reach {noise['logp_max']:.0f})"
    )
    held_out = HeldOutResponses.prepare(
        trainer.scorer, report=held_out_rows, selection=None, training=train, seed=options.seed
    )
    log_lines(trainer, bar=bars())
    trainer.train()
    if signals.received is not None:
        raise ConfigError(
            f"stopped by {signals.received.name}; the demo does not resume, run it again with --overwrite."
        )
    say(f"trained: {trainer.state.global_step} steps, {time.perf_counter() - start:.0f} s since the start")
    reference = None if adapter is not None else load_model(str(folder / "tiny-t5"))[0]
    decoding = Decoding(max_new_tokens=NEW_TOKENS, top_p=1.0, batch_size=96, seed=options.seed)
    evaluation = evaluate(
        trainer.model,
        tokenizer,
        prompts,
        reward,
        reference=reference,
        decoding=decoding,
        samples_per_prompt=options.samples_per_prompt,
        kl_prompts=32,
        seen=SeenPrompts.of(train["prompt"]).among(prompts),
    )
    assessment = held_out.assess(trainer.model, tau=trainer.temperature, seed=options.seed)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    _write(folder, options, trainer, evaluation, assessment, record, noise, seconds, memory)
    output.close()
    return DemoResult(evaluation, assessment, folder, seconds, memory)


def split_feedback(options: DemoConfig) -> tuple[datasets.Dataset, datasets.Dataset, list[str]]:
    """Training rows, rows of the held-out prompts, and these prompts, each once."""
    train, held_out = split_by_prompt(feedback(), test_prompts=options.test_prompts, seed=options.seed)
    return take_prompts(train, options.train_prompts), held_out, prompts_of(held_out)


def load_policy(options: DemoConfig, train: datasets.Dataset, folder: Path) -> tuple[Any, Any, Any]:
    """Model, tokenizer and adapter; the tiny T5 is small enough to train whole.

    Seeds torch's global generator, from which the adapter's first weights are drawn: a command owns its process.
    """
    if options.model == "tiny-t5":
        made = make_tiny_t5(folder / "tiny-t5", train, seed=options.seed, score_cache_dir=options.cache_dir)
        model, tokenizer = load_model(str(made))
        torch.manual_seed(options.seed)
        return model, tokenizer, None
    model, tokenizer = load_model(str(smollm2_folder()))
    layers = model.config.num_hidden_layers
    torch.manual_seed(options.seed)
    # Adapters in the upper half only: the backward pass ends there, which saves a quarter of a step.
    return model, tokenizer, lora(RANK, layers=range(layers // 2, layers))


def training_arguments(options: DemoConfig, folder: Path) -> PolicyTrainingArguments:
    """Arguments of the demo: the learning rate decays linearly to zero, and no checkpoints are kept."""
    return PolicyTrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=options.epochs,
        learning_rate=options.lr,
        warmup_steps=3,
        lr_scheduler_type="linear",
        weight_decay=0.0,
        per_device_train_batch_size=8,
        # On a CPU always float32: the published table was made with it, even where the processor has bfloat16.
        bf16=options.model == "smollm2" and torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        use_cpu=not torch.accelerator.is_available(),
        seed=options.seed,
        save_strategy="no",
        logging_steps=8,
        disable_tqdm=not bars(),
        logging_first_step=True,
        report_to=[],
        max_length=256,
        # An answer that was cut while sampling has no end to learn.
        max_response_length=NEW_TOKENS if options.model == "smollm2" else None,
        score_cache_dir=options.cache_dir,
    )


def _fingerprint(rows: datasets.Dataset) -> str:
    return fingerprint({name: rows[name] for name in ("prompt", "response", "reward")})


def _write(
    folder: Path,
    options: DemoConfig,
    trainer: PolicyTrainer,
    evaluation: Evaluation,
    assessment: Assessment,
    record: dict[str, Any],
    noise: dict[str, float],
    seconds: float,
    memory: float,
) -> None:
    metrics = {
        "notes": [str(trainer.train_dataset.truncation), f"{seconds:.0f} s, {memory:.1f} GB at most"],
        "model": options.model,
        "seed": options.seed,
        "shuffled": options.shuffle_rewards,
        "seconds": seconds,
        "peak_memory_gb": memory,
        "step_zero_noise": noise,
        "evaluation": evaluation.to_dict(),
        "logged": {"policy": assessment.to_dict()},
        "partition": trainer.report.to_dict() if trainer.report else None,
        "training": trainer.state.log_history[-1],
        "commit": record["commit"],
        "machine": record["machine"],
    }
    write_json(folder / "metrics.json", metrics)
    write_jsonl(folder / COMPLETIONS, evaluation.completions)
    write_report(read_report([folder]), folder)


def command(options: DemoConfig) -> None:
    """Run the demo and print its table."""
    if options.dry_run:
        show.settings(options)
        return
    result = run(options, say=lambda text: print(text, flush=True))
    show.evaluation(result.evaluation)
    print(f"\n{verdict(result.evaluation.to_dict())}")
    print("\nWhat the logged responses to the held-out prompts say, without the reward function:")
    show.assessment(result.assessment)
    print(f"\n{result.seconds:.0f} s, {result.peak_memory_gb:.1f} GB at most\nreport: {result.folder / 'report.html'}")
    print("The demo keeps no policy. With your own rows: valuefree train FILE --model MODEL --out run")
