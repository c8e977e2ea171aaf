"""The inputs that all cells of a scale share: training rows, held-out prompts with the best answers, the reference."""

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import datasets

from studies.harness.cells import claim
from studies.paper.scales import Scale
from valuefree.data import split_by_prompt, summarize
from valuefree.data.feedback_sets.ultrafeedback import read_ultrafeedback, split_top_score
from valuefree.demo.data import feedback, shuffle_rewards, take_prompts
from valuefree.demo.smollm2 import smollm2_folder
from valuefree.demo.tiny import make_tiny_t5
from valuefree.evaluation.generation import Decoding
from valuefree.evaluation.validation import best_responses
from valuefree.models.load import load_model
from valuefree.runs.files import read_json, write_json

SPLIT_SEED = 0  # the same rows and held-out prompts for every seed, as in the paper
GREEDY = {"temperature": 0.0, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}


@dataclass(frozen=True)
class Setup:
    """Folder of a study and the settings that its cells share, apart from the scale; passed to the worker processes.

    data, score10, reward_field: options of UltraFeedback, for the scales that read it. reward_function: as for
    `valuefree.evaluation.reward_functions.load_reward`, or None. decoding: ``same`` for all methods, or ``authors``: as
    the published scripts have it.
    """

    folder: Path
    data: str
    score10: Literal["keep", "drop", "fix"] = "drop"
    reward_field: Literal["overall", "fine_grained"] = "overall"
    reward_function: str | None = None
    decoding: Literal["same", "authors"] = "same"

    def reward_of(self, scale: Scale) -> str | None:
        """The reward function of a scale; by default that of the demo for the demo's prompts."""
        if self.reward_function is None and scale.feedback == "demo":
            return "valuefree.demo.data:reward"
        return self.reward_function

    def place(self, scale: Scale) -> Path:
        """Folder of a scale's shared files."""
        return self.folder / "world" / scale.name

    def claim(self, scale: Scale) -> None:
        """Note the settings that the cells of a scale share.

        Raises:
            ConfigError: the folder holds runs of this scale with other settings.
        """
        claim(self.place(scale), asdict(self) | asdict(scale) | {"folder": None})


def decoding_of(setup: Setup, scale: Scale, method: str, seed: int) -> Decoding:
    """How responses are generated: sampled as in the paper's scripts, the same for every method.

    With ``authors`` KTO is decoded greedily and without penalties, as in its script; the scripts of RPO and DRO sample
    with penalties.
    """
    shared: dict[str, Any] = {
        "max_new_tokens": scale.max_new_tokens,
        "max_prompt_length": scale.prompt_limit,
        "batch_size": scale.generation_batch,
        "seed": seed,
    }
    settings = {"temperature": 0.7, "top_k": 50, "top_p": 0.95, "repetition_penalty": 1.2, "no_repeat_ngram_size": 3}
    if setup.decoding == "authors" and method == "KTO":
        settings |= GREEDY
    return Decoding(**shared, **settings)


def made(setup: Setup, scale: Scale) -> bool:
    """Whether `make_world` has finished; it writes the held-out prompts last."""
    return (setup.place(scale) / "held_out.json").exists()


def make_world(setup: Setup, scale: Scale) -> None:
    """Write training rows and held-out prompts of a scale, and train the reference where there is none to load."""
    place = setup.place(scale)
    place.mkdir(parents=True, exist_ok=True)
    train, held_out, sentences = _rows(setup, scale)
    train.to_parquet(str(place / "train.parquet"))
    if scale.model is None and scale.kind == "encoder-decoder":
        reference = place / "reference"
        amount = {"epochs": scale.reference_epochs, "width": scale.width}
        make_tiny_t5(reference, train, seed=SPLIT_SEED, score_cache_dir=str(setup.folder / "scores"), **amount)
    elif scale.model is None:
        smollm2_folder()
    prompts, answers = best_responses(held_out)
    world = {"prompts": prompts, "references": answers, "data": sentences, "train_rows": len(train)}
    write_json(place / "held_out.json", world)


def _rows(setup: Setup, scale: Scale) -> tuple[datasets.Dataset, datasets.Dataset, list[str]]:
    """(train, held out, sentences about the data)."""
    if scale.feedback == "demo":
        rows = feedback()
        train, held_out = split_by_prompt(rows, test_prompts=scale.test_prompts, seed=SPLIT_SEED)
        if scale.train_prompts is not None:
            train = take_prompts(train, scale.train_prompts)
        return train, held_out, [f"The feedback rows of the package: {summarize(rows)}"]
    rows, report = read_ultrafeedback(setup.data, score10=setup.score10, reward_field=setup.reward_field)
    train, held_out = split_top_score(
        rows, validation_prompts=scale.test_prompts, seed=SPLIT_SEED, top_score=report.top
    )
    return train, held_out, str(report).splitlines()


@dataclass(frozen=True)
class HeldOut:
    """Prompts that no cell trains on, and the best known answer to each; sentences about the data."""

    prompts: list[Any]
    references: list[str]
    data: list[str]
    train_rows: int


def held_out_of(setup: Setup, scale: Scale) -> HeldOut:
    """The held-out prompts of a scale whose world is made."""
    return HeldOut(**read_json(setup.place(scale) / "held_out.json"))


def train_rows(setup: Setup, scale: Scale, seed: int, *, shuffled: bool) -> datasets.Dataset:
    """The training rows; shuffled, with the rewards permuted within each prompt."""
    rows = _train_rows(str(setup.place(scale) / "train.parquet"))
    return shuffle_rewards(rows, seed=seed) if shuffled else rows


@lru_cache(maxsize=2)
def _train_rows(file: str) -> datasets.Dataset:
    return datasets.Dataset.from_parquet(file)


def load_reference(setup: Setup, scale: Scale) -> tuple[Any, Any]:
    """Model and tokenizer, fresh."""
    if scale.model is not None:
        return load_model(scale.model)
    if scale.kind == "encoder-decoder":
        return load_model(str(setup.place(scale) / "reference"))
    return load_model(str(smollm2_folder()))
