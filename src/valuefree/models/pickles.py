"""Weights in pickle files are not read: a pickle can hold code. The errors say how to convert them. No torch."""

from pathlib import Path

from valuefree.errors import ConfigError

ADAPTER_WEIGHTS = "adapter_model.safetensors"
CONVERT_ADAPTER = (
    'python -c "import torch, safetensors.torch as s; '
    "s.save_file(torch.load('{folder}/adapter_model.bin', weights_only=True), '{folder}/adapter_model.safetensors')\""
)
CONVERT_MODEL = (
    "python -c \"from transformers import {auto} as M; M.from_pretrained('{folder}').save_pretrained('{folder}-safe')\""
)


def check_adapter_weights(folder: str) -> None:
    """Check that the weights of an adapter are in a safetensors file.

    Raises:
        ConfigError: they are not, with the command that converts a pickle.
    """
    if (Path(folder) / ADAPTER_WEIGHTS).exists():
        return
    if (Path(folder) / "adapter_model.bin").exists():
        raise ConfigError(
            f"the weights of the adapter in {folder} are a pickle, adapter_model.bin, which is not read, because it "
            f"can hold code. If you trust it, convert it: {CONVERT_ADAPTER.format(folder=folder)}"
        )
    raise ConfigError(f"{folder} has no {ADAPTER_WEIGHTS}, the weights of its adapter; copy the folder again.")


def check_weights(folder: str, auto: str) -> None:
    """Check that the weights in a folder are not pickles only; any other name passes.

    auto: the class of transformers that reads the folder.

    Raises:
        ConfigError: they are, with the command that converts them.
    """
    if any(Path(folder).glob("pytorch_model*.bin")) and not any(Path(folder).glob("*.safetensors")):
        raise ConfigError(
            f"the weights in {folder} are pickles, pytorch_model.bin, which are not read, because they can hold "
            f"code. If you trust them, convert them: {CONVERT_MODEL.format(auto=auto, folder=folder)} "
            "(and copy the tokenizer)."
        )
