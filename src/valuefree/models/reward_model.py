"""Load a reward model, a sequence classifier with one output, and configure how rows are rendered for it."""

import inspect
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from valuefree.batches.reward_inputs import RewardInputs
from valuefree.errors import ConfigError
from valuefree.models.load import DTYPES, model_of_run
from valuefree.models.names import check_local, unreachable
from valuefree.models.pickles import check_weights
from valuefree.models.weights import LOAD_ERRORS, pretrained

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
        name: hub name or folder. For the folder of a run, its model is loaded.
        new_head: add an untrained output to a model without one.
        dtype: float32, bfloat16 or float16; default: as saved.
        attn_implementation, trust_remote_code: see `valuefree.load_model`.

    Raises:
        ConfigError: no such model, a model with another number of outputs, an unknown dtype.
    """
    options: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": trust_remote_code}
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"unknown dtype {dtype!r}; choose from {', '.join(DTYPES)}.")
    options |= {"dtype": DTYPES[dtype]} if dtype is not None else {}
    options |= {"attn_implementation": attn_implementation} if attn_implementation else {}
    options |= {"num_labels": 1} if new_head else {}
    check_local(name)
    name = model_of_run(name)
    check_weights(name, "AutoModelForSequenceClassification")
    options["local_files_only"] = not Path(name).exists() and unreachable() is not None
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, trust_remote_code=trust_remote_code, local_files_only=options["local_files_only"]
        )
        model = pretrained(AutoModelForSequenceClassification, name, new_head=new_head, **options).eval()
    except LOAD_ERRORS as error:
        raise ConfigError(
            f"could not load a reward model from {name!r}: {error}\nExpected a hub name or a folder with config.json "
            "and safetensors weights, of an architecture for which transformers has a sequence classifier."
        ) from error
    if model.config.num_labels != 1:
        raise ConfigError(f"{name} has {model.config.num_labels} outputs; a reward model has one.")
    return model, tokenizer


def reward_inputs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int) -> RewardInputs:
    """The renderer of rows for `model`; also gives tokenizer and model the same padding token.

    A tokenizer without a padding token pads with its end-of-sequence token. Rows are at most as long as the tokenizer's
    `model_max_length`.
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
