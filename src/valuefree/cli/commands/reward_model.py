"""``valuefree train --objective reward-model``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from valuefree.cli import show
from valuefree.cli.commands.closing import reward_model_result, stopped_result
from valuefree.cli.commands.from_options import lora
from valuefree.cli.commands.runs import Run, no_empty_folders, shared_arguments
from valuefree.cli.options.objective import REWARD_MODEL
from valuefree.cli.options.train import TrainConfig
from valuefree.cli.output import Result
from valuefree.models.reward_model import load_reward_model
from valuefree.report import read_report, write_report
from valuefree.report.gains import pairs_verdict
from valuefree.report.model_card import Origin, code_block, write_card
from valuefree.report.serving import loading_code
from valuefree.runs.files import write_json
from valuefree.training.reward_model_trainer import RewardModelArguments, RewardModelTrainer, RewardPairs


@dataclass(frozen=True)
class RewardModelResult:
    """Loss, accuracy and margin on held-out pairs, if there are any; where the run lies; the signal that stopped it."""

    held_out: dict[str, float] | None
    folder: Path
    stopped: str | None


def train_reward_model(options: TrainConfig) -> RewardModelResult:
    """Train on pairs; writes its numbers, report and the model into its folder."""
    knobs: dict[str, Any] = options.knobs()
    run = Run.start(options, {"name": REWARD_MODEL, **knobs})
    disable_progress_bar()  # of transformers, for loading and saving
    torch.manual_seed(options.seed)  # of the new head and the adapter; a command owns its process
    settings = {"dtype": options.dtype, "attn_implementation": options.attn_implementation}
    model, tokenizer = load_reward_model(
        options.model, new_head=True, trust_remote_code=options.trust_remote_code, **settings
    )
    with no_empty_folders(run.folder):
        trainer = RewardModelTrainer(
            model,
            RewardModelArguments(**shared_arguments(options), max_length=options.max_length),
            run.rows,
            eval_dataset=run.evaluated,
            processing_class=tokenizer,
            peft_config=lora(options.lora_rank) if options.lora_rank else None,
            callbacks=run.callbacks(),
            **knobs,
        )
    stopped = run.train(trainer)
    if stopped is not None:
        return RewardModelResult(None, run.folder, stopped)
    held_out = None
    if run.held_out is not None:
        pairs = RewardPairs.of(run.held_out, knobs.get("pairs", "best_worst"))
        # A name of its own in the log: `eval_` is the curve on validation pairs.
        found = trainer.evaluate(pairs, metric_key_prefix="held_out")  # type: ignore[arg-type]  # a torch Dataset
        held_out = {name: found[f"held_out_{name}"] for name in ("loss", "accuracy", "margin")}
        held_out["pairs"] = len(pairs)
    if trainer.is_world_process_zero():
        history = trainer.state.log_history
        metrics = {
            "held_out_pairs": held_out,
            "training": history[-1] if history else None,
            "notes": [str(run.summary), *([trainer.meter.warning] if trainer.meter.warning else [])],
        }
        write_json(run.folder / "metrics.json", metrics)
        write_report(read_report([run.folder]), run.folder)
        loads = code_block("python", loading_code("THIS_FOLDER", encoder_decoder=False, classifier=True))
        write_card(run.folder / "model", Origin.of(run.folder), kind="reward model", loads=loads)
        run.output.close()
    return RewardModelResult(held_out, run.folder, None)


def command(options: TrainConfig) -> Result:
    """Train a reward model and print its accuracy on held-out pairs."""
    result = train_reward_model(options)
    if result.stopped:
        return stopped_result(result.folder, result.stopped)
    found = []
    if result.held_out is not None:
        names = {
            "pairs": "pairs",
            "accuracy": "share ordered correctly",
            "margin": "margin, nats",
            "loss": "loss, nats",
        }
        show.table("On held-out pairs", [(text, f"{result.held_out[name]:.4g}") for name, text in names.items()])
        found = [pairs_verdict(result.held_out)]
    return reward_model_result(result.folder, found)
