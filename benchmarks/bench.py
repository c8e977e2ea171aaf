"""Setup that both sides of a comparison share: rows, tokenizer, model and training settings."""

from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import PreTrainedModel

from benchmarks.comparisons import MICRO_BATCH, Setting
from benchmarks.lengths import LIKE_ULTRAFEEDBACK, SHORT
from benchmarks.meter import Meter, MeterCallback
from benchmarks.models import SIZES, make_model, shape_of
from benchmarks.rows import make_rows, make_tokenizer, response_tokens

MAX_LENGTH = 1024  # the longest prompt plus the longest response, so no side truncates


class Bench:
    """Rows, tokenizer, model and meter of one side.

    Args:
        setting: the side to run. folder: output folder of the libraries. profiler: runs while the meter runs.
    """

    def __init__(self, setting: Setting, folder: Path, profiler: Any = None):
        comparison = setting.comparison
        self.setting, self.folder, self.profiler = setting, folder, profiler
        self.family = comparison.family
        vocabulary = SIZES[self.family, setting.size]["vocab_size"]
        self.lengths = SHORT if setting.size == "smoke" else LIKE_ULTRAFEEDBACK
        self.tokenizer = make_tokenizer(vocabulary)
        self.rows: datasets.Dataset = make_rows(
            setting.rows, comparison.per_prompt, vocabulary, lengths=self.lengths, seed=setting.seed
        )
        self.model = self.new_model()
        self.meter = self.new_meter(self.model)

    def new_model(self) -> PreTrainedModel:
        """A new model from the same seed."""
        return make_model(self.family, self.setting.size, seed=self.setting.seed)

    def new_meter(self, *models: PreTrainedModel) -> Meter:
        """A meter that records these models."""
        return Meter(shape_of(self.family, self.setting.size), *models, profiler=self.profiler)

    def training(self) -> dict[str, Any]:
        """Arguments of `transformers.TrainingArguments` that all sides share."""
        return {
            "output_dir": str(self.folder / "out"),
            "per_device_train_batch_size": MICRO_BATCH,
            "gradient_accumulation_steps": 1,
            "num_train_epochs": 1,
            "learning_rate": 1e-5,
            "lr_scheduler_type": "constant",
            "weight_decay": 0.0,
            "optim": "adamw_torch",
            "gradient_checkpointing": False,
            "bf16": False,
            "use_cpu": True,
            "logging_strategy": "no",
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            "seed": self.setting.seed,
        }

    def train(self, trainer: Any) -> dict[str, Any]:
        """Train with `trainer`; returns the measurements from its first to its last step."""
        self.warm_up()
        trainer.add_callback(MeterCallback(self.meter))
        trainer.train()
        return self.measured(self.meter)

    def measured(self, meter: Meter) -> dict[str, Any]:
        """Measurements of one pass over the rows.

        Raises:
            RuntimeError: the hooks recorded the head on fewer positions than there are response tokens.
        """
        measured = meter.measured(len(self.rows))
        tokens = response_tokens(self.rows)
        if measured["head_positions"] < tokens:
            raise RuntimeError(
                f"the recorder saw the head on {measured['head_positions']} positions for {tokens} response tokens: "
                "the head is no longer called as a module, so its operations would be missing from the bound."
            )
        return measured

    def warm_up(self) -> None:
        """Run one small step without an update, so that one-time costs of a process are not measured."""
        ids = torch.full((2, 32), 5)
        named = {"decoder_input_ids": ids} if self.family == "t5" else {}
        self.model.train()
        self.model(input_ids=ids, **named).logits.mean().backward()
        self.model.zero_grad(set_to_none=True)
