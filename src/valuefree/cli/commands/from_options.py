"""From the options of the command line to the objects of the Python API."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
from peft import LoraConfig
from transformers.utils.logging import disable_progress_bar

from valuefree.batches.rendering import Limits, Prompt
from valuefree.cli.options.groups import DataOptions, DecodingOptions, LengthOptions, ModelOptions
from valuefree.cli.options.inspect import InspectConfig
from valuefree.cli.options.objective import REWARD_MODEL, ObjectiveOptions, objectives_that_read
from valuefree.cli.options.registry import declarations
from valuefree.cli.options.train import TrainConfig
from valuefree.data import DataSummary, read_pairs_with_summary, read_triplets, read_with_summary
from valuefree.data.exports.feedback import Feedback, export_in
from valuefree.data.faults import RowError
from valuefree.data.sources import rows_of
from valuefree.data.validation import distinct_prompts, prompt_of
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.generation import Decoding
from valuefree.models.load import accelerator_device, load_model, to_device
from valuefree.objectives import Objective


def objective_of(options: ObjectiveOptions) -> Objective:
    """The objective that the options describe; what is not given keeps the objective's own default."""
    kind, knobs = declarations()[options.objective].load(), options.knobs()
    return kind.preset(options.preset, **knobs) if options.preset else kind(**knobs)


def read(options: DataOptions) -> tuple[datasets.Dataset, DataSummary]:
    """The rows, and what was odd about them; of pairs where the options name their columns, or an export has them."""
    names = ("on_bad", "ignore_case", "train_on", "json_prompts")
    how: dict[str, Any] = {name: getattr(options, name) for name in names}
    where: dict[str, Any] = {"prompt": options.prompt, "split": options.split}
    desirable = None
    if isinstance(options, TrainConfig):
        desirable = options.desirable
        if options.chosen is not None and options.rejected is not None:
            return read_pairs_with_summary(
                options.data, chosen=options.chosen, rejected=options.rejected, **where, **how
            )
    columns: dict[str, Any] = {"response": options.response, "reward": options.reward, "desirable": desirable}
    chosen: dict[str, Any] = {"categories": options.categories, "thumbs": options.thumbs}
    export = export_of(options, desirable)
    if export is None:
        return read_with_summary(options.data, score_name=options.score_name, **where, **columns, **chosen, **how)
    if export.pairs:
        return read_pairs_with_summary(export.rows, **how)
    if desirable is None and _reads_desirable(options) and "desirable" in export.rows[0]:
        desirable = "desirable"
    return read_with_summary(export.rows, desirable=desirable, **how)


def export_of(options: DataOptions, desirable: str | None) -> Feedback | None:
    """The rows of an export; None for rows of this package.

    Raises:
        ConfigError: an export of pairs for an objective that reads none.
    """
    export = export_in(
        options.data,
        from_=options.from_,
        split=options.split,
        names=(options.prompt, options.response, options.reward),
        desirable=desirable,
        thumbs=options.thumbs,
        score_name=options.score_name,
        categories=options.categories,
    )
    of_pairs = (*objectives_that_read("pair_id"), REWARD_MODEL)
    if export is not None and export.pairs and getattr(options, "objective", None) not in of_pairs:
        raise ConfigError(
            f"{options.data} holds pairs of a chosen and a rejected response, without rewards. Train on them with "
            f"--objective {', '.join(of_pairs[:-1])} or {of_pairs[-1]}."
        )
    return export


def _reads_desirable(options: DataOptions) -> bool:
    """Whether the objective takes a column of true/false, and no threshold was given in its place."""
    if not isinstance(options, TrainConfig):
        return False
    return options.objective in objectives_that_read("desirable") and "threshold" not in options.knobs()


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
            lines = Path(source).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
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
