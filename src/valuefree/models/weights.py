"""Load pretrained weights so that missing, foreign or damaged tensors are errors.

transformers and peft fill missing tensors with random numbers and skip foreign ones, with no more than a warning.
"""

import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from valuefree.errors import ConfigError

SHOWN = 5
ADAPTER_WEIGHTS = "adapter_model.safetensors"
# What transformers, peft and safetensors raise for files that are missing, damaged or of another kind.
LOAD_ERRORS = (OSError, ValueError, ImportError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError)


def pretrained(auto: Any, name: str, *, new_head: bool = False, **options: Any) -> Any:
    """`auto.from_pretrained(name, **options)`, if the file holds exactly the tensors of the model.

    Tied weights, and keys that the architecture declares to be harmless, do not count.

    Args:
        new_head: the head may be missing, or be that of another task.

    Raises:
        ConfigError: missing, foreign or mismatched tensors. Others: as `from_pretrained`; see `LOAD_ERRORS`.
    """
    with _quiet():
        model, found = auto.from_pretrained(name, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    missing, foreign = found["missing_keys"], found["unexpected_keys"]
    if new_head:
        missing = [key for key in missing if _of_backbone(key, model)]
        # The backbone has its prefix in the model, but not in a file of the backbone alone.
        named = {key.split(".")[0] for key in model.base_model.state_dict()}
        foreign = [key for key in foreign if _of_backbone(key, model) or key.split(".")[0] in named]
    _check(name, missing, foreign, found["mismatched_keys"])
    return model


def with_adapter(model: Any, folder: str) -> Any:
    """`model` with the adapter of a folder, in evaluation mode, if the file holds exactly the adapter's tensors.

    Raises:
        ConfigError: missing or foreign tensors, or no safetensors file. Others: see `LOAD_ERRORS`.
    """
    from peft import PeftModel  # noqa: PLC0415  peft takes a second to import

    if not (Path(folder) / ADAPTER_WEIGHTS).exists():  # peft would read a pickle in its place
        raise ConfigError(f"the adapter {folder} has no {ADAPTER_WEIGHTS}. Save or fetch it again.")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found missing adapter keys")
        adapted = PeftModel.from_pretrained(model, folder)
    found = adapted.load_adapter(folder, "default")  # a second time, since only this call returns the keys
    foreign = [key for key in found.unexpected_keys if key != "prompt_embeddings"]  # peft loads these apart
    _check(folder, found.missing_keys, foreign, ())
    return adapted.eval()


def fault_of(folder: str) -> str | None:
    """What is wrong with the files of a model's folder, where that can be seen without loading it; else None."""
    if not Path(folder).is_dir():
        return None
    if not (Path(folder) / "config.json").exists():
        return "the folder has no config.json."
    for file in sorted(Path(folder).glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            return f"{file.name} is cut or damaged ({error}). Save or fetch it again."
    return None


def _of_backbone(key: str, model: Any) -> bool:
    return key.startswith(f"{model.base_model_prefix}.") and ".pooler." not in key


def _check(name: str, missing: Collection[str], foreign: Collection[str], mismatched: Collection[Any]) -> None:
    shapes = [f"{key} {tuple(there)} in place of {tuple(made)}" for key, there, made in mismatched]
    faults = [
        f"{len(keys)} {what}: {', '.join(sorted(keys)[:SHOWN])}{' …' if len(keys) > SHOWN else ''}"
        for what, keys in (
            ("missing", missing),
            ("that the model does not have", foreign),
            ("of another shape", shapes),
        )
        if keys
    ]
    if faults:
        raise ConfigError(
            f"the weights of {name} do not fit the model that its config describes. Tensors {'; '.join(faults)}. "
            "A missing tensor would be filled with random numbers. Fetch or save the weights again, with their config."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Transformers does not log its table of keys, which `_check` says in one sentence."""
    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(_no_table)
    try:
        yield
    finally:
        logger.removeFilter(_no_table)


def _no_table(record: logging.LogRecord) -> bool:
    return record.funcName != "log_state_dict_report"
