"""Where a model would be loaded from: a folder, a GGUF file, the hub's cache or the hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, try_to_load_from_cache
from transformers import AutoConfig

from valuefree.errors import ConfigError
from valuefree.models.load import ADAPTER, model_of_run, split_gguf
from valuefree.runs.files import read_object

HUB_SECONDS = 5  # that an answer of the hub may take
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class Found:
    """A model that can be loaded. place: in words. base: the model itself, or the base of an adapter.

    here: whether its weights are on this machine.
    """

    place: str
    base: str
    here: bool

    def config(self, *, trust_remote_code: bool = False) -> Any:
        """The config of transformers; of a model on the hub a small download."""
        folder, gguf_file = split_gguf(self.base, None)
        extra = {"gguf_file": gguf_file} if gguf_file else {}
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, **extra)


def find_model(name: str) -> Found:
    """Where `load_model` would find `name`; asks the hub once, and only for a model that is not on this machine.

    Raises:
        ConfigError: there is no such model, or it cannot be reached.
    """
    name = model_of_run(name)
    path = Path(name)
    if (path / ADAPTER).exists():
        base = read_object(path / ADAPTER).get("base_model_name_or_path")
        if not base:
            raise ConfigError(f"{path / ADAPTER} does not name the adapter's base model (base_model_name_or_path).")
        inner = find_model(base)
        return Found(f"adapter in a folder; its base model {base}: {inner.place}", inner.base, inner.here)
    if path.exists():
        return _on_disk(path)
    if path.suffix == ".gguf" or path.is_absolute() or name.startswith((".", "~")):
        raise ConfigError(f"no such file or folder: {name}.")
    if any(isinstance(try_to_load_from_cache(name, file), str) for file in WEIGHTS):
        return Found("in the hub's cache", name, here=True)
    try:
        HfApi().model_info(name, timeout=HUB_SECONDS)
    except Exception as error:  # the client raises many types: offline mode, network, name, gated
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"{name!r} is neither a folder nor in the hub's cache, and the hub did not give it: {reason}. Where the "
            f"hub can be reached, run `hf download {name}`, then copy its folder here."
        ) from error
    return Found("on the hub, not downloaded yet", name, here=False)


def _on_disk(path: Path) -> Found:
    folder, gguf_file = split_gguf(str(path), None)
    if gguf_file:
        return Found("GGUF file", str(Path(folder) / gguf_file), here=True)
    if not (path / "config.json").exists():
        raise ConfigError(f"{path} holds neither config.json nor one .gguf file: it is no model.")
    if not any(path.glob("*.safetensors")):
        raise ConfigError(f"{path} holds no *.safetensors file, and weights of other formats are not read.")
    return Found("folder", str(path), here=True)
