"""UltraFeedback and other public feedback sets as triplets, with known faults handled, counted and reported."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import polars as pl

from valuefree.data.columns import TextHashes, batches, factorize, to_numpy
from valuefree.data.feedback_sets.releases import HUB_SPLITS, recognise
from valuefree.data.feedback_sets.report import FeedbackReport, Tens
from valuefree.data.feedback_sets.schemas import SCHEMAS, Item, Schema, schema_of
from valuefree.data.reading import read_validated
from valuefree.data.sources import RawRow
from valuefree.data.summary import DataSummary, summarize
from valuefree.data.triplets import selected
from valuefree.data.validation import RowError, check_there, prompt_key, unreadable
from valuefree.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

RewardField = Literal["overall", "fine_grained", "preference"]
Handling = Literal["keep", "drop", "fix"]
TEN = 10.0
CERTAIN = 2.0  # fine-grained mean up to which a ten is certainly wrong
DOUBTFUL = 4.0
COUNTS = ("rows", "responses", "no_prompt", "no_response", "no_reward", "not_given", "off_scale")


def read_ultrafeedback(
    source: Any = "openbmb/UltraFeedback",
    *,
    schema: str = "auto",
    split: str | None = None,
    reward_field: RewardField = "overall",
    score10: Handling = "drop",
    system_prompt: Literal["leave", "front"] = "leave",
    on_bad: Literal["raise", "drop"] = "raise",
) -> tuple[datasets.Dataset, FeedbackReport]:
    """A public feedback set as (prompt, response, reward) rows, and a report of its counts and faults.

    Reads ``openbmb/UltraFeedback``, ``HuggingFaceH4/ultrafeedback_binarized``,
    ``argilla/ultrafeedback-binarized-preferences-cleaned``, ``bilalfaye/ultrafeedback-rpo-split``,
    ``nvidia/HelpSteer2`` and ``nvidia/HelpSteer3`` (its preferences), from the hub or from files in the same layout.
    The reader was not tested on downloads of these sets; layouts and counts come from their cards and scripts.

    Args:
        source: as of `valuefree.data.read_triplets`. For another revision of a hub set pass what
            ``datasets.load_dataset(name, revision=…)`` gives.
        schema: ``ultrafeedback``, ``ultrafeedback-binarized``, ``argilla-binarized``, ``rpo-split``, ``helpsteer2``,
            ``helpsteer3``; ``auto`` recognises it by the columns.
        split: default ``train``, of the H4 set ``train_prefs``.
        reward_field: ``overall`` (GPT-4's overall score, 1 to 10; HelpSteer2: helpfulness, 0 to 4) or ``fine_grained``
            (mean of the ratings of four aspects, 1 to 5; HelpSteer2: of helpfulness, correctness and coherence). N/A,
            null and values outside the scale do not enter the mean. ``preference``, of HelpSteer3 alone, gives the
            responses of a pair −p/2 and +p/2 for a preference of p (−3 to 3); only their difference is meaningful.
        score10: what to do with responses of overall score 10. The first release gave this score also to responses
            that GPT-4 had scored 1. ``keep`` all, for exact reproduction; ``drop`` those with a fine-grained mean of at
            most 2 (certainly wrong), or of at most 4 or without ratings (doubtful); ``fix`` sets the certain ones to 1,
            as the authors of the set did, and drops the doubtful ones, for which they asked GPT-4 again. Rows without
            ratings cannot be fixed; there ``drop`` leaves out every 10 of a release known to be faulty, and none of
            another. The fault does not affect the other rewards, so nothing is dropped with these.
        system_prompt: UltraFeedback stores a system prompt with each response, apart from the instruction. ``leave`` it
            out, or put it in ``front`` as a system message; then responses to one instruction mostly have different
            prompts and no longer form a group.
        on_bad: for rows that do not fit the layout: ``raise`` one error that lists them, or ``drop`` them, counted in
            ``report.data``. Missing prompts, responses and scores are always left out and counted.

    Returns:
        Rows as of `valuefree.data.read_triplets`, with equal instructions as one prompt, and the report.

    Raises:
        DataError: columns of no known schema, unexpected rows, or no usable row.
        ConfigError: settings that the set cannot satisfy.
    """
    _check(schema, reward_field, score10, system_prompt)
    if split is None and isinstance(source, str) and not Path(source).exists():
        split = HUB_SPLITS.get(source)
    validator = _Validator(None if schema == "auto" else SCHEMAS[schema], reward_field, score10, system_prompt)
    try:
        dataset, data = read_validated(source, split, validator, on_bad=on_bad, prompt="prompt")
    except DataError as error:
        validator.explain(error, _name(source))
        raise
    dataset, report = validator.finish(dataset, data, _name(source))
    if report.release.fixed is False:
        logger.warning("%s; score10=%s: %s", report.release, score10, report.tens)
    return dataset, report


def _check(schema: str, reward_field: str, score10: str, system_prompt: str) -> None:
    choices = {
        "schema": (schema, ("auto", *SCHEMAS)),
        "reward_field": (reward_field, ("overall", "fine_grained", "preference")),
        "score10": (score10, ("keep", "drop", "fix")),
        "system_prompt": (system_prompt, ("leave", "front")),
    }
    for name, (value, known) in choices.items():
        if value not in known:
            raise ConfigError(f"{name} is {value!r}; choose from {', '.join(known)}.")
    if score10 == "fix" and reward_field != "overall":
        raise ConfigError(f"score10='fix' changes overall scores, but reward_field is {reward_field!r}; leave it out.")


def _name(source: Any) -> str:
    return str(source) if isinstance(source, (str, Path)) else type(source).__name__


class _Validator:
    """Validates each row, as `read_validated` calls it, and counts what is found; the counts of `FeedbackReport`."""

    def __init__(self, schema: Schema | None, reward_field: str, score10: str, system_prompt: str):
        self.schema = schema
        self.reward_field, self.score10, self.system_prompt = reward_field, score10, system_prompt
        self.checked = False
        self.counts: Counter[str] = Counter()
        self.tens: Counter[str] = Counter()
        self.instructions: set[bytes] = set()

    def __call__(self, row: RawRow) -> Iterator[tuple[str, tuple[Any, ...] | RowError]]:
        """Place and (prompt, response, reward) of each usable response of a row, or the fault of the row."""
        if row.fault:
            yield row.where, unreadable(row.fault)
            return
        schema = self._schema(row)
        self.counts["rows"] += 1
        try:
            for name in schema.needs:
                if name not in row.values:
                    check_there(row.values, name)
            prompt = schema.prompt(row.values)
            items = list(schema.items(row.values))
        except RowError as fault:
            yield row.where, fault
            return
        if prompt is not None:
            self.counts["prompted_rows"] += 1
            self.instructions.add(hashlib.blake2b(prompt_key(prompt).encode(), digest_size=16).digest())
        for number, item in enumerate(items, start=1):
            triplet = self._triplet(schema, prompt, item)
            if triplet is not None:
                yield f"{row.where}, response {number}", triplet if isinstance(triplet, RowError) else (*triplet, None)

    def _schema(self, row: RawRow) -> Schema:
        """The schema, recognised by the first row and checked against the settings."""
        if self.schema is None:
            self.schema = schema_of(row.values, row.where)
        if not self.checked:
            self.schema.check_reward(self.reward_field)
            if self.score10 == "fix" and self.schema.tens != "checked":
                raise ConfigError(f"score10='fix' needs the ratings of each response, which {self.schema.name} lacks.")
            if self.system_prompt == "front" and not self.schema.system_prompts:
                raise ConfigError(f"system_prompt='front' needs system prompts, which {self.schema.name} lacks.")
            self.checked = True
        return self.schema

    def _triplet(self, schema: Schema, prompt: Any, item: Item) -> tuple[Any, ...] | None:
        """(prompt, response, reward), or None for a response that is left out and counted."""
        self.counts["responses"] += 1
        self.counts["not_given"] += item.ratings.not_given
        self.counts["off_scale"] += item.ratings.off_scale
        self.counts["system_prompts"] += item.system_prompt is not None
        fault = self._fault(schema, item)
        reward = item.scores[self.reward_field]
        missing = {"no_prompt": prompt, "no_response": item.response, "no_reward": reward}
        reason = next((name for name, value in missing.items() if value is None), None)
        if reason is not None:
            self.counts[reason] += 1
            return None
        if fault is not None and self.score10 != "keep" and self.reward_field == "overall":
            if fault == "doubtful" or self.score10 == "drop":
                self.tens["dropped"] += 1
                return None
            self.tens["fixed"] += 1
            reward = 1.0
        if self.system_prompt == "front" and item.system_prompt is not None:
            prompt = [{"role": "system", "content": item.system_prompt}, {"role": "user", "content": prompt}]
        return prompt, item.response, reward

    def _fault(self, schema: Schema, item: Item) -> Literal["certain", "doubtful"] | None:
        """How certain it is that a ten is wrong; None for a correct one, and where there is nothing to check it by."""
        if schema.tens == "none" or item.scores["overall"] != TEN:
            return None
        self.tens["all"] += 1
        mean = item.scores.get("fine_grained")
        if schema.tens == "unchecked" or (mean is not None and mean > DOUBTFUL):
            return None
        fault = "certain" if mean is not None and mean <= CERTAIN else "doubtful"
        self.tens[fault] += 1
        return fault

    def explain(self, error: DataError, source: str) -> None:
        """Raise an error that says why nothing is left, if every response was left out for a known reason."""
        counts = self.counts
        if error.faults or not counts["responses"]:
            return
        raise DataError(
            f"{source}: none of {counts['responses']} responses in {counts['rows']} rows is usable: "
            f"{counts['no_prompt']} have no prompt, {counts['no_response']} are empty, {counts['no_reward']} have no "
            f"{self.reward_field} score, {self.tens['dropped']} are faulty tens (score10={self.score10!r})."
        ) from error

    def finish(
        self, dataset: datasets.Dataset, data: DataSummary, source: str
    ) -> tuple[datasets.Dataset, FeedbackReport]:
        """The rows and the report. Tens of a release known to be faulty are dropped if they cannot be checked."""
        schema = self.schema
        assert schema is not None  # no row, no data set
        release = recognise(schema.name, self.counts["rows"], self.tens["all"], self.tens["certain"])
        self.tens["unchecked"] = self.tens["all"] if schema.tens == "unchecked" else 0
        if self.tens["unchecked"] and release.fixed is False and self.score10 == "drop":
            keep_R = to_numpy(dataset["reward"], np.float64) != TEN
            if not keep_R.any():
                raise DataError(f"{source}: every usable score is a 10 of {release.name}; score10='keep' keeps them.")
            self.tens["dropped"] = int((~keep_R).sum())
            dataset = selected(dataset, to_numpy(dataset["prompt_id"], np.int64), keep_R)
            data = summarize(dataset, data.dropped)
        counts = {name: self.counts[name] for name in COUNTS}
        repeated = self.counts["prompted_rows"] - len(self.instructions)
        report = FeedbackReport(
            source=source,
            schema=schema.name,
            reward_field=self.reward_field,
            score10=self.score10,
            system_prompt=self.system_prompt,
            top=schema.tops[self.reward_field],
            **counts,
            duplicates=repeated if schema.alone else None,
            system_prompts=self.counts["system_prompts"] if schema.system_prompts else None,
            tens=Tens(**{item.name: self.tens[item.name] for item in fields(Tens)}) if schema.tens != "none" else None,
            release=release,
            data=data,
        )
        return dataset, report


def split_top_score(
    dataset: datasets.Dataset, *, validation_prompts: int = 1000, seed: int, top_score: float = TEN
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """(train, validation): all responses to prompts drawn from those whose best response has the top score.

    No response to a drawn instruction stays in train, whatever its system message is. The paper validates on 1,000 such
    prompts; its metrics compare with the best response to each.

    Args:
        dataset: of `read_ultrafeedback` or `valuefree.data.read_triplets`.
        validation_prompts: how many to draw.
        seed: of the draw.
        top_score: least reward of the best response (``report.top``).

    Raises:
        ConfigError: there are fewer such prompts, or no prompt would be left to train on.
    """
    keys_R = _instruction_ids(dataset)
    best_P = np.full(int(keys_R.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(best_P, keys_R, to_numpy(dataset["reward"], np.float64))
    candidates = np.flatnonzero(best_P >= top_score)
    if not 0 < validation_prompts <= len(candidates):
        raise ConfigError(
            f"validation_prompts is {validation_prompts}; expected 1 to {len(candidates)}: of {len(best_P)} prompts so "
            f"many have a response rewarded {top_score:g} or more; the highest reward is {best_P.max():g}."
        )
    if validation_prompts == len(best_P):
        raise ConfigError(f"validation_prompts is {validation_prompts} of {len(best_P)} prompts: none to train on.")
    drawn = np.random.default_rng(seed).choice(candidates, size=validation_prompts, replace=False)
    in_validation_R = np.isin(keys_R, drawn)
    ids_R = to_numpy(dataset["prompt_id"], np.int64)
    return selected(dataset, ids_R, ~in_validation_R), selected(dataset, ids_R, in_validation_R)


def _instruction_ids(dataset: datasets.Dataset) -> np.ndarray:
    """Number of each row's instruction, without its system message; int64, shape (R,)."""
    if isinstance(dataset.features["prompt"], datasets.Value):
        return factorize(to_numpy(dataset["prompt_id"], np.int64))
    hashes = TextHashes()
    for table in batches(dataset, ["prompt"]):
        prompts = table.column("prompt").to_pylist()
        instructions = [[message for message in prompt if message["role"] != "system"] for prompt in prompts]
        hashes.add(pl.Series(map(prompt_key, instructions), dtype=pl.String))
    return factorize(*hashes.take())
