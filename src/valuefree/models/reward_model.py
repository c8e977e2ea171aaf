"""Load a sequence classifier with one output, and settle how rows are rendered for it."""

import inspect
from typing import Any

from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from valuefree.batches.reward_inputs import RewardInputs
from valuefree.errors import ConfigError
from valuefree.models.load import DTYPES

MAX_LENGTH = 1024


def load_reward_model(
    name: str,
    *,
    new_head: bool = False,
    dtype: str | None = None,
    attn_implementation: str | None = None,
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A sequence classifier with one output, in evaluation mode, and its tokenizer.

    Args:
        name: hub name or folder. new_head: add the output, untrained, to a model that has none.
        dtype: float32, bfloat16 or float16; default: as saved.
        attn_implementation, trust_remote_code: as of `valuefree.load_model`.

    Raises:
        ConfigError: no such model, one of another number of outputs, an unknown dtype.
    """
    options: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": trust_remote_code}
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"unknown dtype {dtype!r}; choose from {', '.join(DTYPES)}.")
    options |= {"dtype": DTYPES[dtype]} if dtype is not None else {}
    options |= {"attn_implementation": attn_implementation} if attn_implementation else {}
    options |= {"num_labels": 1} if new_head else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
        model = AutoModelForSequenceClassification.from_pretrained(name, **options).eval()
    except (OSError, ValueError, ImportError, RuntimeError) as error:  # the last: a head of other outputs
        raise ConfigError(
            f"could not load a reward model from {name!r}: {error}\nExpected a hub name or a folder with config.json "
            "and safetensors weights, of a kind that transformers has a sequence classifier for."
        ) from error
    if model.config.num_labels != 1:
        raise ConfigError(f"{name} has {model.config.num_labels} outputs; a reward model has one.")
    return model, tokenizer


def reward_inputs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int) -> RewardInputs:
    """How rows are rendered for `model`; makes tokenizer and model agree on the padding token.

    Without one of its own the tokenizer takes its end of sequence. Rows are no longer than the tokenizer says its model
    can take.
    """
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    return RewardInputs(
        tokenizer,
        min(max_length, tokenizer.model_max_length),
        encoder_decoder=bool(model.config.is_encoder_decoder),
        segments="token_type_ids" in inspect.signature(model.forward).parameters,
    )


def scores_of(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """One score per row, float32 of shape (R,)."""
    return model(**batch).logits[:, 0].float()
