"""One run on the demo's task: train by one objective, and measure the policy mid-run and at the end."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedTokenizerBase

from studies.harness.training import MeasureAt, objective_of, ranking_accuracy
from valuefree.cli.commands.demo import NEW_TOKENS, load_policy, split_feedback, training_arguments
from valuefree.cli.options.demo import DemoConfig
from valuefree.demo.data import reward, shuffle_rewards
from valuefree.evaluation.generation import Decoding, generate_ids
from valuefree.evaluation.held_out.logged_responses import LoggedResponses
from valuefree.evaluation.kl import kl_to_reference
from valuefree.evaluation.reward_functions import rewards_of
from valuefree.training.trainer import PolicyTrainer

REFERENCE = "reference"  # the label of the cells that sample the untouched reference


@dataclass(frozen=True)
class Cell:
    """One run. label: the objective as it is written in Python, such as ``RPO()``, or `REFERENCE`."""

    label: str
    seed: int
    shuffled: bool = False

    @property
    def title(self) -> str:
        """In tables and figures."""
        return f"{self.label}, rewards shuffled" if self.shuffled else self.label

    @property
    def name(self) -> str:
        """Of the cell's file."""
        return f"{self.label}{'-shuffled' if self.shuffled else ''}-seed{self.seed}"


def options_of(seed: int) -> DemoConfig:
    """The demo's settings with 160 training and 80 held-out prompts."""
    return DemoConfig(seed=seed, train_prompts=160, test_prompts=80, samples_per_prompt=2)


def measure_cell(cell: Cell, folder: Path) -> list[dict[str, Any]]:
    """The measurements of a cell: of a reference one, of an objective one after half of the steps and one at the end.

    The last one also has the resolved ``objective``, its ``losses``, and ``rising_loss``, the warning of a loss that
    rose.
    """
    options = options_of(cell.seed)
    train, held_out, prompts = split_feedback(options)
    if cell.shuffled:
        train = shuffle_rewards(train, seed=cell.seed)
    model, tokenizer, adapter = load_policy(options, train, folder)
    if cell.label == REFERENCE:
        return [{"prompts": prompts} | _sampled(model, tokenizer, prompts, options)]
    trainer = PolicyTrainer(
        model,
        objective_of(cell.label),
        training_arguments(options, folder / "work" / cell.name),
        train,
        processing_class=tokenizer,
        peft_config=adapter,
    )
    logged = LoggedResponses.prepare(held_out, trainer.scorer)
    curve: list[dict[str, Any]] = []

    def measure(step: int) -> None:
        policy: Any = trainer.model
        decoding = Decoding(max_new_tokens=NEW_TOKENS, batch_size=96, seed=cell.seed)
        kl = kl_to_reference(policy, tokenizer, prompts[: options.test_prompts // 2], None, decoding)
        sampled = _sampled(policy, tokenizer, prompts, options)
        curve.append({"step": step, "kl": kl.value, "ranking_accuracy": ranking_accuracy(logged, policy), **sampled})

    steps = int(trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())[-1])
    trainer.add_callback(MeasureAt((steps // 2, steps), measure))
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    curve[-1] |= {
        "objective": trainer.objective.to_dict(),
        "losses": losses,
        "rising_loss": trainer.rising_loss.warning,
    }
    return curve


def _sampled(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: list[str], options: DemoConfig
) -> dict[str, Any]:
    """Mean reward of each prompt's samples, and tokens per response, under the demo's decoding."""
    decoding = Decoding(max_new_tokens=NEW_TOKENS, top_p=1.0, batch_size=96, seed=options.seed)
    samples = options.samples_per_prompt
    _, ids = generate_ids(model, tokenizer, prompts, decoding, samples=samples)
    texts = [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    rewards = rewards_of(reward, [prompt for prompt in prompts for _ in range(samples)], texts)
    return {
        "rewards": rewards.reshape(len(prompts), samples).mean(axis=1).tolist(),
        "length": float(np.mean([len(answer) for answer in ids])),
    }
