"""A JSON Lines file of responses that grows while they are made; ``--resume`` goes on where it ends."""

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from valuefree.cli.options.generate import GenerateConfig
from valuefree.cli.options.groups import DecodingOptions, ModelOptions, flag
from valuefree.cli.options.sample import SampleConfig
from valuefree.cli.output import bars
from valuefree.data.prompts import Prompt
from valuefree.data.validation import prompt_key
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.generation import Decoding, generate_ids, response_texts, stops_of
from valuefree.runs.files import atomic_write, json_line, read_json, write_json

logger = logging.getLogger(__name__)

BATCHES = 8  # of generation between two writes
BEGIN_AGAIN = "To begin again, replace --resume by --overwrite, or name another file by --out."
START = b'{"prompt": '  # of every line


@dataclass(frozen=True)
class Sampled:
    """Responses, in the order of the prompts, and how many of them were cut at max_new_tokens."""

    texts: list[str]
    cut: int


def settings_of(options: SampleConfig | GenerateConfig) -> dict[str, Any]:
    """The settings on which responses depend."""
    names = [item.name for group in (ModelOptions, DecodingOptions) for item in fields(group)]
    return {name: getattr(options, name) for name in (*names, "seed")}


def progress_file(file: Path) -> Path:
    """What says how far a run has come that writes responses to `file`; it is there until the run has ended."""
    return file.with_name(f"{file.name}.progress.json")


def sample_responses(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    decoding: Decoding,
    *,
    samples: int = 1,
    file: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    found: Sampled | None = None,
) -> Sampled:
    """Sample `samples` responses per prompt in parts of about `BATCHES` batches, each written once it is there.

    Every part has its own seed, so that a run that was stopped and one that was not give the same responses.

    Args:
        file: of rows prompt and response; none: nothing is written.
        settings: what `resumed` compares, for `progress_file`.
        found: what `resumed` has found.
    """
    part = max(1, BATCHES * decoding.batch_size // samples)  # prompts
    texts, cut = (list(found.texts), found.cut) if found else ([], 0)
    stops = stops_of(model, tokenizer)
    if file is not None and found is None:
        progress_file(file).unlink(missing_ok=True)
    starts = range(len(texts) // samples, len(prompts), part)
    try:
        for start in tqdm(starts, desc="parts", leave=False, disable=not bars() or len(starts) < 2):
            seeded = replace(decoding, seed=_seed(decoding.seed, start // part))
            asked = prompts[start : start + part]
            _, ids = generate_ids(model, tokenizer, asked, seeded, samples=samples, progress=bars())
            texts += response_texts(model, tokenizer, ids)
            cut += sum(answer[-1] not in stops for answer in ids)
            if file is None:
                continue
            if start > starts[0] and file.exists():
                with file.open("ab") as stream:
                    stream.writelines(_lines(prompts, texts, samples, start * samples))
            else:  # the first part, or the file is gone
                with atomic_write(file) as stream:
                    stream.writelines(_lines(prompts, texts, samples, 0))
            write_json(progress_file(file), {"settings": settings, "rows": len(texts), "cut": cut})
    except KeyboardInterrupt:
        if file is not None and texts:
            total = len(prompts) * samples
            logger.info("%s of %s responses are in %s; with --resume the same command goes on", len(texts), total, file)
        raise
    return Sampled(texts, cut)


def _seed(seed: int, part: int) -> int:
    """The seed of a part; that of the first is `seed` itself."""
    return int(np.random.SeedSequence((seed, part)).generate_state(1, np.uint64)[0]) if part else seed


def _lines(prompts: Sequence[Prompt], texts: Sequence[str], samples: int, first: int) -> Iterator[bytes]:
    for number in range(first, len(texts)):
        yield json_line({"prompt": prompts[number // samples], "response": texts[number]}).encode("utf-8")


def resumed(file: Path, prompts: Sequence[Prompt], samples: int, settings: Mapping[str, Any]) -> Sampled | None:
    """What a stopped run has left in `file`; none if there is no such file.

    Raises:
        ConfigError: the run had other settings or other prompts, or ended.
        DataError: the file holds something else.
    """
    if not file.exists():
        return None
    progress = progress_file(file)
    if not progress.exists():
        raise ConfigError(f"{file} is not of a run that was stopped: there is no {progress.name}. {BEGIN_AGAIN}")
    left = read_json(progress)
    before = left["settings"]
    other = [f"{flag(name)} is {now}, it was {before[name]}" for name, now in settings.items() if before[name] != now]
    if other:
        raise ConfigError(f"--resume needs the settings of the run that was stopped: {'; '.join(other)}. {BEGIN_AGAIN}")
    rows = read_rows(file, "reward")[: left["rows"]]
    expected = [prompt_key(prompt) for prompt in prompts for _ in range(samples)][: left["rows"]]
    if [prompt_key(row["prompt"]) for row in rows] != expected or len(rows) < left["rows"]:
        raise ConfigError(
            f"{file} does not begin with the {left['rows']} responses to these prompts that {progress.name} counts: "
            f"the prompts are others, or the file was changed. {BEGIN_AGAIN}"
        )
    return Sampled([row["response"] for row in rows], left["cut"])


def read_rows(file: Path, *columns: str) -> list[dict[str, Any]]:
    """Rows of a file of responses, without a last line that was cut while it was written; none if there is no file.

    Args:
        columns: that rows may have beside prompt and response.

    Raises:
        DataError: the file holds something else.
    """
    if not file.exists():
        return []
    try:
        whole, _, cut = file.read_bytes().rpartition(b"\n")
        rows = [_row_of(line, columns) for line in whole.split(b"\n") if line]
        if cut:
            rows += _last_row(cut, columns)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{file} is not a file of responses ({error!r}), so --resume cannot add to it, and it is left as it is."
        ) from error
    return rows


def end_last_line(file: Path) -> None:
    """Make a file that `read_rows` has read end in a line break, so that lines can be appended: without a cut line."""
    whole, _, cut = file.read_bytes().rpartition(b"\n") if file.exists() else (b"", b"", b"")
    if cut and _last_row(cut, ()):
        with file.open("ab") as stream:
            stream.write(b"\n")
    elif cut:
        os.truncate(file, len(whole) + 1 if whole else 0)


def _last_row(line: bytes, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The row of a last line that has no line break; none if the line was cut while it was written."""
    try:
        return [_row_of(line, columns)]
    except (json.JSONDecodeError, UnicodeDecodeError):
        if not (line.startswith(START) or START.startswith(line)):
            raise
        return []


def _row_of(line: bytes, columns: Sequence[str]) -> dict[str, Any]:
    row = json.loads(line)
    if not {"prompt", "response"} <= set(row) <= {"prompt", "response", *columns} or not isinstance(
        row["response"], str
    ):
        raise ValueError(f"a row with {', '.join(map(str, row))}; a response has prompt and response")
    prompt_key(row["prompt"])
    return row
