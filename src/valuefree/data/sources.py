"""Read rows from where people keep them, each with its place; only what cannot be read is judged here."""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from valuefree.errors import ConfigError, DataError

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")


@dataclass(frozen=True)
class Row:
    """One raw row. `where` is ``file:line``; `fault` why it could not be read; `typed` is false where all is text."""

    where: str
    values: dict[str, Any]
    fault: str | None = None
    typed: bool = True


def rows_of(source: Any, split: str | None) -> Iterator[Row]:
    """Rows of a file, a folder, a hub name or a `datasets` object.

    Raises:
        DataError: no such file, nothing to read in a folder. ConfigError: a split that does not exist or is needed.
    """
    if isinstance(source, (datasets.Dataset, datasets.DatasetDict)):
        yield from _of_datasets(source, split, "row")
        return
    path = Path(source)
    if not path.exists():
        if path.suffix in SUFFIXES or path.is_absolute() or str(source).startswith(("./", "../", "~")):
            raise DataError(f"no such file or folder: {source}")
        yield from _of_hub(str(source), split)
        return
    if path.is_dir() and ((path / "state.json").exists() or (path / "dataset_dict.json").exists()):
        yield from _of_datasets(datasets.load_from_disk(str(path)), split, path.name)
        return
    if split is not None:
        raise ConfigError(f"split={split!r} was given, but {source} is a file or folder, which has no splits.")
    files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{source} holds no {', '.join(SUFFIXES)} file.")
    for file in files:
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        yield from _of_file(file, name)


def _of_file(file: Path, name: str) -> Iterator[Row]:
    if file.suffix == ".csv":
        yield from _of_csv(file, name)
    elif file.suffix == ".parquet":
        yield from _of_parquet(file, name)
    elif file.suffix in (".jsonl", ".json"):
        yield from _of_json(file, name)
    else:
        raise DataError(f"{file}: do not know the format {file.suffix!r}; expected one of {', '.join(SUFFIXES)}.")


def _of_hub(name: str, split: str | None) -> Iterator[Row]:
    try:
        loaded = datasets.load_dataset(name, split=split)
    except Exception as error:  # whatever the hub client raises: network, name, builder
        raise DataError(f"{name!r} is no local file, and could not be loaded as a hub data set: {error}") from error
    yield from _of_datasets(loaded, split if isinstance(loaded, datasets.DatasetDict) else None, name, chosen=True)


def _of_datasets(
    source: datasets.Dataset | datasets.DatasetDict, split: str | None, name: str, *, chosen: bool = False
) -> Iterator[Row]:
    if isinstance(source, datasets.DatasetDict):
        wanted = split or ("train" if "train" in source or len(source) != 1 else next(iter(source)))
        if wanted not in source:
            raise ConfigError(f"no split {wanted!r}; there are {', '.join(map(str, source))}.")
        source = source[wanted]
    elif split is not None and not chosen:
        raise ConfigError(f"split={split!r} was given, but the data set is a single one, without splits.")
    for index, values in enumerate(source):
        yield Row(f"{name}:{index}", dict(values))


def _of_parquet(file: Path, name: str) -> Iterator[Row]:
    index = 0
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(batch_size=4096):
                for values in batch.to_pylist():
                    yield Row(f"{name}:row {index}", values)
                    index += 1
    except (OSError, pa.ArrowException) as error:
        yield Row(name, {}, f"not a readable Parquet file: {error}")


def _bad_bytes(text: str) -> str | None:
    """What to say of text that was decoded with surrogate escapes, if it holds any."""
    wrong = [character for character in text if "\udc80" <= character <= "\udcff"]
    if not wrong:
        return None
    byte = ord(wrong[0]) - 0xDC00
    return f"not UTF-8: byte 0x{byte:02x} at character {text.index(wrong[0]) + 1} (mixed encodings?)"


def _of_json(file: Path, name: str) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as stream:
        if file.suffix == ".json" and stream.read(1) == "[":
            yield from _of_json_array(file, name)
            return
        stream.seek(0)
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield _json_row(line, f"{name}:{number}")


def _json_row(line: str, where: str) -> Row:
    fault = _bad_bytes(line)
    if fault:
        return Row(where, {}, fault)
    try:
        values = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        return Row(where, {}, f"broken JSON: {error}")
    if not isinstance(values, dict):
        return Row(where, {}, f"expected a JSON object, got {type(values).__name__}")
    return Row(where, values)


def _of_json_array(file: Path, name: str) -> Iterator[Row]:
    text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    try:
        items = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        yield Row(name, {}, f"broken JSON: {error}")
        return
    for index, values in enumerate(items):
        fault = None if isinstance(values, dict) else f"expected a JSON object, got {type(values).__name__}"
        fault = fault or _bad_bytes(json.dumps(values, ensure_ascii=False))
        yield Row(f"{name}:item {index}", values if fault is None else {}, fault)


def _of_csv(file: Path, name: str) -> Iterator[Row]:
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            yield from _csv_rows(csv.reader(stream, strict=True), name)
    finally:
        csv.field_size_limit(limit)


def _csv_rows(reader: Any, name: str) -> Iterator[Row]:
    header = next(reader, None)
    if header is None:
        yield Row(name, {}, "the file is empty")
        return
    line = reader.line_num + 1
    try:
        for cells in reader:
            where, line = f"{name}:{line}", reader.line_num + 1
            if not cells:
                continue
            fault = _bad_bytes("\n".join(cells))
            if len(cells) != len(header):
                fault = f"{len(cells)} fields where the header has {len(header)}"
            yield Row(where, dict(zip(header, cells, strict=False)), fault, typed=False)
    except csv.Error as error:
        yield Row(f"{name}:{line}", {}, f"broken CSV from here on: {error}")
