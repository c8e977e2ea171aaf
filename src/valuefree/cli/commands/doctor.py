"""``valuefree doctor``: what this machine can do, and whether a model's training fits."""

import json
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

from safetensors import safe_open

from valuefree.cli import show
from valuefree.cli.commands.recipe import BATCH, FULL, LADDER, RANK
from valuefree.cli.options.doctor import DoctorConfig
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.nltk_data import COMMAND, use_nltk_data
from valuefree.models.availability import find_model
from valuefree.models.footprint import Shape
from valuefree.models.load import ADAPTER, model_of_run
from valuefree.models.machine import Machine, measure_machine

LIBRARIES = ("valuefree", "torch", "transformers", "accelerate", "datasets", "peft")
# What needs packages that are not always installed: modules, and the command that adds them.
EXTRAS = {
    "text metrics": (("sacrebleu", "rouge_score", "nltk", "bert_score"), "pip install 'valuefree[metrics]'"),
    "serving by transformers serve": (("fastapi", "uvicorn"), "pip install 'transformers[serving]'"),
    "model servers as clients": (("openai",), "pip install 'valuefree[serving]'"),
    "GGUF files": (("gguf",), "pip install gguf"),
    "quantised base weights": (("bitsandbytes",), "pip install bitsandbytes"),
    "DeepSpeed": (("deepspeed",), "pip install deepspeed"),
}
TOKENS = 512  # per row, where no data say otherwise


def examine(model: str | None) -> dict[str, Any]:
    """Everything that is printed, as JSON takes it."""
    machine = measure_machine()
    found: dict[str, Any] = {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES},
        "extras": {name: _missing(modules, command) for name, (modules, command) in EXTRAS.items()},
        "nltk data": _nltk_data(),
        "machine": machine.to_dict() | {"free_disk": shutil.disk_usage(Path.cwd()).free},
    }
    if model is not None:
        found["model"] = _model(model, machine)
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _missing(modules: tuple[str, ...], command: str) -> str | None:
    """The command that adds what is missing; None if nothing is."""
    return None if all(find_spec(module) for module in modules) else command


def _nltk_data() -> str | None:
    """What METEOR lacks, with the command; None if nothing."""
    try:
        use_nltk_data()
    except ConfigError as error:
        return str(error)
    return None


def _model(name: str, machine: Machine) -> dict[str, Any]:
    """Where the model is, or why it cannot be loaded, and what its training needs."""
    try:
        place = find_model(name)
        shape = Shape.of(place.config())
    except (ConfigError, OSError, ValueError) as error:
        return {"name": name, "error": str(error)}
    gpu = machine.gpu is not None
    needs = {
        label: shape.memory(rank=rank, rows=BATCH, tokens=TOKENS, gpu=gpu)
        for label, rank in ((f"LoRA, rank {RANK}", RANK), ("all weights", 0))
    }
    return {
        "name": name,
        "place": place.place,
        "parameters": shape.parameters,
        "adapter": _adapter_parameters(Path(model_of_run(name))),
        "memory": {label: {"bytes": need, "fits": need <= FULL * machine.memory} for label, need in needs.items()},
    }


def _adapter_parameters(folder: Path) -> int | None:
    """Parameters of the adapter in a folder; None where there is none."""
    if not (folder / ADAPTER).exists() or not (folder / "adapter_model.safetensors").exists():
        return None
    with safe_open(folder / "adapter_model.safetensors", framework="np") as weights:
        return sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118  # no dict


def _print(found: dict[str, Any], machine: str) -> None:
    model = found.get("model")
    if model is not None and "error" not in model:
        _print_model(model)
    show.table("Machine", [("", machine), ("free disk", f"{found['machine']['free_disk'] / 1e9:.1f} GB")])
    extras = [
        (name, "there" if command is None else f"missing: {command}") for name, command in found["extras"].items()
    ]
    meteor = f"missing: {COMMAND} (docs/metrics.md)" if found["nltk data"] else "there"
    show.table("Extras", [*extras, ("WordNet and punkt, for METEOR", meteor)])
    show.table("Versions", [(name, value or "not installed") for name, value in found["versions"].items()])
    if model is None:
        print(f"For a model: valuefree doctor --model NAME, such as {next(iter(LADDER))}")
    elif "error" not in model:
        print(f"next: valuefree init FILE --model {model['name']}")


def _print_model(model: dict[str, Any]) -> None:
    parameters = f"{model['parameters'] / 1e6:.1f} M parameters"
    if model["adapter"] is not None:
        both = (model["parameters"] + model["adapter"]) / 1e6
        parameters += f"; with the adapter {both:.1f} M, {model['adapter'] / 1e6:.1f} M of them trained"
    rows = [("place", model["place"]), ("size", parameters)]
    rows += [
        (f"memory to train, {label}", f"{need['bytes'] / 1e9:.1f} GB, {'fits' if need['fits'] else 'does not fit'}")
        for label, need in model["memory"].items()
    ]
    show.table(f"Model {model['name']}", rows)
    print(f"Rough estimate (docs/scaling.md) for {BATCH} rows of {TOKENS} tokens; fits: {FULL:.0%} of free memory.")


def command(options: DoctorConfig) -> None:
    """Print what was found.

    Raises:
        ConfigError: the model that was given cannot be loaded.
    """
    found = examine(options.model)
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        values = {name: value for name, value in found["machine"].items() if name != "free_disk"}
        _print(found, str(Machine(**values)))
    error = found.get("model", {}).get("error")
    if error is not None:
        raise ConfigError(error)
