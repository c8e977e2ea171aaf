"""Arguments of the trainer: those of transformers, and further ones."""

import os
from dataclasses import dataclass, field

from transformers import TrainingArguments

from valuefree.batches.rendering import Limits
from valuefree.errors import ConfigError
from valuefree.models.logprobs import CHUNK_TOKENS, MAX_LOGIT_BYTES
from valuefree.training.divergence import check_on_divergence, on_divergence_field

STRATEGIES = ("auto", "random", "sequential", "group_by_length")


@dataclass
class PolicyTrainingArguments(TrainingArguments):
    """The TrainingArguments of transformers, and further ones. `per_device_train_batch_size` counts responses."""

    learning_rate: float = field(default=1e-4, metadata={"help": "peak learning rate; 1e-4 suits LoRA"})
    per_device_train_batch_size: int = field(default=16, metadata={"help": "responses per micro-batch and device"})
    per_device_eval_batch_size: int = field(default=16, metadata={"help": "responses per evaluation batch and device"})
    max_length: int = field(default=1024, metadata={"help": "tokens of prompt + response (decoder) or of each (T5)"})
    max_prompt_length: int | None = field(default=None, metadata={"help": "tokens of the prompt alone"})
    max_response_length: int | None = field(default=None, metadata={"help": "tokens of the response alone"})
    standardize_rewards: bool = field(default=True, metadata={"help": "to mean 0 and variance 1 over the train rows"})
    disable_dropout: bool = field(default=True, metadata={"help": "in the policy; the reference is scored without"})
    train_sampling_strategy: str = field(
        default="auto",
        metadata={"help": "random, sequential, group_by_length; auto: by length where batches have padding"},
    )
    batch_tokens: int | None = field(
        default=None,
        metadata={"help": "positions per micro-batch, padding included: whole prompts until this or the batch size"},
    )
    share_prompts: bool = field(default=True, metadata={"help": "run a prompt once for its responses, where exact"})
    padding_free: bool = field(default=True, metadata={"help": "pack a batch into one row, where exact"})
    score_batch_tokens: int = field(default=8192, metadata={"help": "padded tokens per batch of reference scoring"})
    score_cache_dir: str | None = field(default=None, metadata={"help": "default: valuefree/scores in the user cache"})
    on_divergence: str = on_divergence_field()
    chunk_tokens: int = field(default=CHUNK_TOKENS, metadata={"help": "response tokens per projection of the head"})
    max_logit_bytes: int = field(default=MAX_LOGIT_BYTES, metadata={"help": "logits kept for backward, in bytes"})

    def __post_init__(self) -> None:
        self.remove_unused_columns = False  # the objective reads columns that are no arguments of the model
        self.logging_nan_inf_filter = False  # the trainer stops at, or skips, a loss that is not finite
        if self.ddp_find_unused_parameters is None:
            self.ddp_find_unused_parameters = False  # the loss depends on every trained parameter
        super().__post_init__()
        check_on_divergence(self.on_divergence)
        if self.train_sampling_strategy not in STRATEGIES:
            raise ConfigError(
                f"train_sampling_strategy is {self.train_sampling_strategy!r}; choose from {', '.join(STRATEGIES)}."
            )
        for name in ("score_batch_tokens", "chunk_tokens", "batch_tokens"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 1.")

    def check_processes(self) -> None:
        """Raise ConfigError unless there is one process per GPU, and each sees the others."""
        if self.n_gpu > 1:
            raise ConfigError(
                f"one process sees {self.n_gpu} GPUs, which is torch's DataParallel. Start one process per GPU with "
                f"`accelerate launch` or `torchrun --nproc-per-node {self.n_gpu}`, or set CUDA_VISIBLE_DEVICES=0."
            )
        started = int(os.environ.get("WORLD_SIZE", "1"))
        if started != self.world_size:
            raise ConfigError(
                f"{started} processes were started, but the training arguments see {self.world_size}: each would train "
                "alone. Without a GPU pass use_cpu=True to the arguments."
            )

    def limits(self) -> Limits:
        """Longest sequences."""
        return Limits(self.max_length, self.max_prompt_length, self.max_response_length)
