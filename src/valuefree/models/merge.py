"""Full weights of a trained policy in a plain transformers folder, which loads and is served without this package."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError
from transformers import PreTrainedTokenizerBase

from valuefree.batches.turns import stop_ids
from valuefree.errors import ConfigError
from valuefree.models.adapters import has_adapter, probe_logits
from valuefree.models.load import ADAPTER, load_model, load_tokenizer, model_of_run
from valuefree.models.modules import is_encoder_decoder
from valuefree.runs.files import read_json, use_umask

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.1}  # share of the largest logit: rounding, and no more
CLASSIFIER = "ForSequenceClassification"


@dataclass(frozen=True)
class Merged:
    """A merged model: its folder, and what decides which servers can serve it.

    has_template: the tokenizer has a chat template, which a chat server needs.
    """

    folder: Path
    encoder_decoder: bool
    has_template: bool


def merge(
    source: str | Path,
    out: str | Path,
    *,
    dtype: str = "float32",
    overwrite: bool = False,
    trust_remote_code: bool = False,
) -> Merged:
    """Write the model of `source` with its adapter merged into the weights: safetensors, tokenizer, generation config.

    Args:
        source: folder of a run, of its model, of an adapter or of full weights.
        out: new or empty folder.
        dtype: type of the weights: float32, bfloat16 or float16.
        overwrite: replace a model in `out`.
        trust_remote_code: run model code from the hub.

    Raises:
        ConfigError: `out` is not empty; a reward model; an adapter that cannot be merged.
    """
    folder = Path(out)
    check_out(folder, source, overwrite=overwrite)
    model, tokenizer = merged_model(source, dtype=dtype, trust_remote_code=trust_remote_code)
    for file in [*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")]:
        file.unlink()  # another number of shards would leave old ones behind
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    use_umask(folder)
    return Merged(folder, is_encoder_decoder(model), bool(tokenizer.chat_template))


def check_out(folder: Path, source: str | Path, *, overwrite: bool) -> None:
    """Raise ConfigError if `folder` is not empty, unless it holds full weights that may be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file; name a folder by --out.")
    if not overwrite:
        raise ConfigError(f"{folder} is not empty. Name another folder by --out, or pass --overwrite.")
    if Path(model_of_run(str(source))).resolve() == folder.resolve():
        raise ConfigError(f"{folder} is the model that is read; name another folder by --out.")
    if not (folder / "config.json").exists() or (folder / ADAPTER).exists():
        raise ConfigError(
            f"{folder} holds no merged model (config.json, and no {ADAPTER}), so its files may be your own and "
            "--overwrite does not replace them. Name another folder by --out."
        )


def merged_model(
    source: str | Path, *, dtype: str, trust_remote_code: bool = False
) -> tuple[Any, PreTrainedTokenizerBase]:
    """The model of `source` without an adapter, in evaluation mode, and the tokenizer that it was trained with.

    Generation ends at the end of the chat template's turn, as in training.

    Raises:
        ConfigError: a reward model; an adapter that cannot be merged, or whose merged weights have other logits.
    """
    name = model_of_run(str(source))
    _check_policy(Path(name))
    model, tokenizer = load_model(name, dtype=dtype, trust_remote_code=trust_remote_code)
    if (Path(name) / "tokenizer_config.json").exists():
        tokenizer = load_tokenizer(name, trust_remote_code=trust_remote_code)
    if has_adapter(model):
        model = _without_adapter(model, name, dtype)
    if model.generation_config is not None:
        model.generation_config.eos_token_id = stop_ids(tokenizer, model.generation_config)
    return model, tokenizer


def _check_policy(folder: Path) -> None:
    """Raise ConfigError for a sequence classifier, whose head a language model does not have."""
    for file, key in ((folder / ADAPTER, "task_type"), (folder / "config.json", "architectures")):
        kind = str(read_json(file).get(key)) if file.exists() else ""
        if "SEQ_CLS" in kind or CLASSIFIER in kind:
            raise ConfigError(
                f"{folder} is a reward model ({kind}); merge and export take policies. The folder of a reward model "
                "has full weights already."
            )


def _without_adapter(model: Any, name: str, dtype: str) -> Any:
    """The transformers model inside with merged weights; both must have the same logits on a few tokens."""
    kinds = ", ".join(type(config).__name__ for config in model.peft_config.values())
    if any(config.is_prompt_learning for config in model.peft_config.values()):
        raise ConfigError(f"{name} has an adapter of kind {kinds}, which adds inputs and has no weights to merge.")
    before = probe_logits(model)
    merged = model.merge_and_unload().eval()
    change = float((probe_logits(merged) - before).abs().max())
    if not change <= TOLERANCE[dtype] * float(before.abs().max()):
        raise ConfigError(
            f"the merged weights of {name} change the logits of a probe by {change:.2g}, so they are not the trained "
            f"policy. Tied weights of an adapted layer ({kinds}) do this, and so does float16 where it overflows: try "
            "--dtype float32 or bfloat16, or serve base model and adapter."
        )
    return merged


def push_to_hub(folder: Path, repository: str) -> str:
    """Upload the files of `folder` to a repository of the Hugging Face hub; a new repository is private. Its address.

    Raises:
        ConfigError: no access, or no connection.
    """
    api = HfApi()
    try:
        address = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
    except (OSError, HFValidationError) as error:  # the hub's own errors are OSErrors
        raise ConfigError(
            f"could not upload {folder} to {repository}: {error}\nThe folder is complete. Log in by `hf auth login`, "
            f"then run: hf upload {repository} {folder} --private"
        ) from error
    return str(address)
