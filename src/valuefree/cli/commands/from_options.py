"""From the options of the command line to the objects of the Python API."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
from peft import LoraConfig
from transformers.utils.logging import disable_progress_bar

from valuefree.batches.rendering import Limits, Prompt
from valuefree.cli.options.groups import DecodingOptions, LengthOptions, ModelOptions
from valuefree.cli.options.inspect import InspectConfig
from valuefree.cli.options.objective import ObjectiveOptions
from valuefree.cli.options.registry import declarations
from valuefree.cli.options.train import TrainConfig
from valuefree.data import read_triplets
from valuefree.data.faults import RowError
from valuefree.data.sources import rows_of
from valuefree.data.validation import distinct_prompts, prompt_of
from valuefree.errors import DataError
from valuefree.evaluation.generation import Decoding
from valuefree.models.load import load_model
from valuefree.models.modules import accelerator_device, to_device
from valuefree.objectives import Objective
from valuefree.runs.files import read_text


def objective_of(options: ObjectiveOptions) -> Objective:
    """The objective that the options describe; what is not given keeps the objective's own default."""
    kind, knobs = declarations()[options.objective].load(), options.knobs()
    return kind.preset(options.preset, **knobs) if options.preset else kind(**knobs)


def reference_samples_of(options: InspectConfig | TrainConfig) -> datasets.Dataset | None:
    """Scored samples of the reference, under the names that ``valuefree sample`` gives their columns."""
    if options.reference_samples is None:
        return None
    return read_triplets(options.reference_samples, on_bad=options.on_bad, ignore_case=options.ignore_case)


def load(options: ModelOptions, name: str | None = None) -> tuple[Any, Any]:
    """Model and tokenizer of the options, or with a name of another model, loaded in the same way."""
    disable_progress_bar()  # transformers' bars of loading and saving; those of downloads stay
    return load_model(
        name if name is not None else options.model,
        dtype=options.dtype,
        attn_implementation=options.attn_implementation,
        quantize=options.quantize,
        trust_remote_code=options.trust_remote_code,
    )


def load_on_device(options: ModelOptions, name: str | None = None) -> tuple[Any, Any]:
    """As `load`, on the GPU if there is one."""
    model, tokenizer = load(options, name)
    return to_device(model, accelerator_device()), tokenizer


def decoding_of(options: DecodingOptions, seed: int) -> Decoding:
    """How to sample."""
    return Decoding(
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        batch_size=options.generation_batch_size,
        seed=seed,
    )


def limits_of(options: LengthOptions) -> Limits:
    """Longest sequences."""
    return Limits(options.max_length, options.max_prompt_length, options.max_response_length)


def read_prompts(source: str, column: str) -> list[Prompt]:
    """Distinct prompts of a file of rows, or the lines of a ``.txt`` file."""
    if source.endswith(".txt"):
        try:
            lines = read_text(Path(source)).splitlines()
        except OSError as error:
            raise DataError(f"could not read {source}: {error}") from error
        found: list[Prompt] = [line for line in lines if line.strip()]
    else:
        found = []
        for row in rows_of(source, None):
            if row.fault:
                raise DataError(f"{row.where}: {row.fault}")
            if column not in row.values:
                there = ", ".join(row.values)
                raise DataError(f"{row.where}: no column {column!r} (there are: {there}); name it by --prompt.")
            if not row.values[column]:
                raise DataError(f"{row.where}: no {column!r}")
            try:
                found.append(prompt_of(row.values, column))
            except RowError as fault:
                raise DataError(f"{row.where}: {fault}") from None
    if not found:
        raise DataError(f"{source} holds no prompts.")
    return distinct_prompts(found)


def lora(rank: int, *, layers: Sequence[int] | None = None) -> LoraConfig:
    """An adapter on every linear layer (of some layers only, for speed)."""
    if layers is None:
        return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, layers_to_transform=list(layers))
