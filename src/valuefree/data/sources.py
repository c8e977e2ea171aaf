"""Raw rows from files, folders, the hub and `datasets` objects, each with its place, or why it is unreadable."""

import csv
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from valuefree.data.columns import BATCH_ROWS, batches
from valuefree.errors import ConfigError, DataError
from valuefree.runs.files import check_regular
from valuefree.runs.json_values import parse_json

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
WEIGHTS = ("adapter_config.json", "model.safetensors", "model.safetensors.index.json")  # files of a model
ROWS = 4096  # rows per chunk of Python values
BATCH_BYTES = 16 * 2**20  # approximate size of a chunk of Arrow arrays
READ_BYTES = 2**20  # without a buffer size, Parquet reads whole columns of a row group at once
TEXTS = (pa.string(), pa.large_string(), pa.string_view())
FLOATS = (pa.float32(), pa.float64())
SCHEMA = pa.schema({"prompt": pa.string(), "response": pa.string(), "reward": pa.float64()})


@dataclass(frozen=True)
class RawRow:
    """One row as it was read.

    where: ``file:line``. fault: why the row is unreadable. typed: false if every value is text, as in CSV.
    """

    where: str
    values: dict[str, Any]
    fault: str | None = None
    typed: bool = True


@dataclass(frozen=True)
class ArrowRows:
    """Rows whose text and number columns are Arrow arrays; row i is at ``where`` + (`first` + i)."""

    where: str
    first: int
    batch: pa.RecordBatch

    def __iter__(self) -> Iterator[RawRow]:
        return iter(_rows(self.batch, self.where, self.first))

    def row(self, index: int) -> RawRow:
        """Row `index` of the batch."""
        return next(iter(ArrowRows(self.where, self.first + index, self.batch.slice(index, 1))))

    def triplets(self, names: Sequence[str]) -> pa.RecordBatch | None:
        """Columns prompt, response (string) and reward (float64), read from the columns `names`.

        None where a text is not UTF-8, or where a column of texts is too long for one array.
        """
        arrays = [self.batch.column(name) for name in names]
        try:
            arrays = [pc.cast(array, kind, safe=False) for array, kind in zip(arrays, SCHEMA.types, strict=True)]
            for array in arrays:
                array.validate(full=True)  # until then Arrow accepts any bytes as text
        except pa.ArrowException:
            return None
        return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


Chunk = ArrowRows | list[RawRow]


def rows_of(source: Any, split: str | None) -> Iterator[RawRow]:
    """Rows of a file, a folder, a hub name, a `datasets` object or a list of rows.

    Raises:
        DataError: no such file, nothing to read in a folder. ConfigError: a split that does not exist or is needed.
    """
    for chunk in chunks_of(source, split, None):
        yield from chunk


def chunks_of(source: Any, split: str | None, names: Sequence[str] | None) -> Iterator[Chunk]:
    """The rows of `rows_of` in chunks: `ArrowRows` if the columns `names` are two of text and one of numbers."""
    if isinstance(source, (datasets.Dataset, datasets.DatasetDict)):
        yield from _of_datasets(source, split, "row", names)
        return
    if isinstance(source, list):
        yield from _chunked(RawRow(f"row:{index}", dict(values)) for index, values in enumerate(source))
        return
    if not str(source).strip():
        raise ConfigError("the data have no name; give a file, a folder or a hub name.")
    path = Path(source)
    if not path.exists():
        if path.suffix in SUFFIXES or path.is_absolute() or str(source).startswith(("./", "../", "~")):
            raise DataError(f"no such file or folder: {source}")
        yield from _of_hub(str(source), split, names)
        return
    _check_is_data(path)
    if path.is_dir() and ((path / "state.json").exists() or (path / "dataset_dict.json").exists()):
        yield from _of_datasets(datasets.load_from_disk(str(path)), split, path.name, names)
        return
    if split is not None:
        raise ConfigError(f"split={split!r} was given, but {source} is a file or folder, which has no splits.")
    files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{source} holds no {', '.join(SUFFIXES)} file.")
    for file in files:
        yield from _of_file(file, str(file.relative_to(path)) if path.is_dir() else file.name, names)


def _check_is_data(path: Path) -> None:
    """Raise DataError for the folder of a run or of a model."""
    run = (path / "manifest.json").exists() and any((path / name).is_dir() for name in ("model", "checkpoints"))
    if run or any((path / name).exists() for name in WEIGHTS):
        raise DataError(
            f"{path} is the folder of a {'run' if run else 'model'}, which holds no feedback. Give it by --model, and "
            "the file or folder of the rows in its place."
        )


def _of_file(file: Path, name: str, names: Sequence[str] | None) -> Iterator[Chunk]:
    check_regular(file)
    if file.suffix == ".parquet":
        yield from _of_parquet(file, name, names)
    elif file.suffix == ".csv":
        yield from _chunked(_of_csv(file, name))
    elif file.suffix in (".jsonl", ".json"):
        yield from _chunked(_of_json(file, name))
    else:
        raise DataError(f"{file}: do not know the format {file.suffix!r}; expected one of {', '.join(SUFFIXES)}.")


def _chunked(rows: Iterator[RawRow]) -> Iterator[list[RawRow]]:
    while chunk := list(itertools.islice(rows, ROWS)):
        yield chunk


# ----------------------------------------------------------------------------------------------------------- columns


def _are_plain(schema: pa.Schema, names: Sequence[str] | None) -> bool:
    """Whether each of the three columns exists once, two with text and one with integers or floats.

    False where other columns are part of the prompt.
    """
    if names is None or not {"tools", "chat_template_kwargs"}.isdisjoint(schema.names):
        return False
    # Parquet would take a dot in a name as the path of a nested field.
    if any(schema.names.count(name) != 1 or "." in name for name in names):
        return False
    prompt, response, reward = (schema.field(name).type for name in names)
    return _is_text(prompt) and _is_text(response) and (pa.types.is_integer(reward) or reward in FLOATS)


def _is_text(kind: pa.DataType) -> bool:
    return kind in TEXTS or (pa.types.is_dictionary(kind) and kind.value_type in TEXTS)


def _batch_rows(size: int, rows: int) -> int:
    """Rows per batch, for `rows` rows of `size` bytes in all."""
    return max(64, min(BATCH_ROWS, BATCH_BYTES * max(rows, 1) // max(size, 1)))


def _rows(batch: pa.RecordBatch, where: str, first: int) -> list[RawRow]:
    """Python values of each row, or the fault: bytes that are not UTF-8, a date out of the range of Python."""
    try:
        return [RawRow(f"{where}{first + index}", values) for index, values in enumerate(batch.to_pylist())]
    except (ValueError, OverflowError) as error:
        if len(batch) > 1:
            return [row for index in range(len(batch)) for row in _rows(batch.slice(index, 1), where, first + index)]
        if not isinstance(error, UnicodeDecodeError):
            return [RawRow(f"{where}{first}", {}, f"a value has no form in Python: {error}")]
        text = error.object.decode("utf-8", errors="surrogateescape")
        return [RawRow(f"{where}{first}", {}, _bad_bytes(text))]


def _of_parquet(file: Path, name: str, names: Sequence[str] | None) -> Iterator[Chunk]:
    index = 0
    try:
        with pq.ParquetFile(file, buffer_size=READ_BYTES) as parquet:
            plain = _are_plain(parquet.schema_arrow, names)
            groups = (parquet.metadata.row_group(number) for number in range(parquet.metadata.num_row_groups))
            size = _batch_rows(sum(group.total_byte_size for group in groups), parquet.metadata.num_rows)
            for batch in parquet.iter_batches(size if plain else ROWS, columns=list(names or ()) if plain else None):
                yield ArrowRows(f"{name}:row ", index, batch) if plain else _rows(batch, f"{name}:row ", index)
                index += len(batch)
    except (OSError, pa.ArrowException) as error:
        yield [RawRow(name, {}, f"not a readable Parquet file: {error}")]


def _of_hub(name: str, split: str | None, names: Sequence[str] | None) -> Iterator[Chunk]:
    try:
        loaded = datasets.load_dataset(name, split=split)
    except Exception as error:  # the hub client raises many types: network, name, builder
        raise DataError(f"{name!r} is not a local file, and could not be loaded as a hub data set: {error}") from error
    chosen = split if isinstance(loaded, datasets.DatasetDict) else None
    yield from _of_datasets(loaded, chosen, name, names, chosen=True)


def _of_datasets(
    source: datasets.Dataset | datasets.DatasetDict,
    split: str | None,
    name: str,
    names: Sequence[str] | None,
    *,
    chosen: bool = False,
) -> Iterator[Chunk]:
    if isinstance(source, datasets.DatasetDict):
        wanted = split or ("train" if "train" in source or len(source) != 1 else next(iter(source)))
        if wanted not in source:
            raise ConfigError(f"no split {wanted!r}; there are {', '.join(map(str, source))}.")
        source = source[wanted]
    elif split is not None and not chosen:
        raise ConfigError(f"split={split!r} was given, but the data set is a single one, without splits.")
    if not _gives_columns(source, names):
        yield from _chunked(RawRow(f"{name}:{index}", dict(values)) for index, values in enumerate(source))
        return
    first = 0
    for table in batches(source, names, _batch_rows(source.data.nbytes, len(source.data))):
        for batch in table.to_batches():
            yield ArrowRows(f"{name}:", first, batch)
            first += len(batch)


def _gives_columns(source: datasets.Dataset, names: Sequence[str] | None) -> bool:
    """Whether the values can be read as stored: no format changes or hides them, and the columns are plain."""
    shown = source.format
    return (
        shown["type"] is None
        and shown["columns"] == source.column_names
        and _are_plain(source.features.arrow_schema, names)
        and all(isinstance(source.features[name], datasets.Value) for name in names or ())
    )


# -------------------------------------------------------------------------------------------------------------- text


def not_unicode(text: str) -> bool:
    """Whether `text` contains half of a surrogate pair, which is not a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _bad_bytes(text: str) -> str | None:
    """The fault of a text that was decoded with surrogate escapes; None if it contains none."""
    wrong = [character for character in text if "\udc80" <= character <= "\udcff"] if not_unicode(text) else []
    if not wrong:
        return None
    byte = ord(wrong[0]) - 0xDC00
    return f"not UTF-8: byte 0x{byte:02x} at character {text.index(wrong[0]) + 1} (mixed encodings?)"


def _of_json(file: Path, name: str) -> Iterator[RawRow]:
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as stream:
        if file.suffix == ".json" and stream.read(1) == "[":
            yield from _of_json_array(file, name)
            return
        stream.seek(0)
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield _json_row(line, f"{name}:{number}")


def _json_row(line: str, where: str) -> RawRow:
    fault = _bad_bytes(line)
    if fault:
        return RawRow(where, {}, fault)
    try:
        values = parse_json(line)
    except ValueError as error:
        return RawRow(where, {}, str(error))
    if not isinstance(values, dict):
        return RawRow(where, {}, f"expected a JSON object, got {type(values).__name__}")
    return RawRow(where, values)


def _of_json_array(file: Path, name: str) -> Iterator[RawRow]:
    text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    try:
        items = parse_json(text)
    except ValueError as error:
        yield RawRow(name, {}, str(error))
        return
    for index, values in enumerate(items):
        fault = None if isinstance(values, dict) else f"expected a JSON object, got {type(values).__name__}"
        fault = fault or _bad_bytes(json.dumps(values, ensure_ascii=False))
        yield RawRow(f"{name}:item {index}", values if fault is None else {}, fault)


def _of_csv(file: Path, name: str) -> Iterator[RawRow]:
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            yield from _csv_rows(csv.reader(stream, strict=True), name)
    finally:
        csv.field_size_limit(limit)


def _csv_rows(reader: Any, name: str) -> Iterator[RawRow]:
    line = 1
    try:
        header = next(reader, None)
        fault = _header_fault(header)
        if header is None or fault:
            yield RawRow(name, {}, fault)
            return
        line = reader.line_num + 1
        for cells in reader:
            where, line = f"{name}:{line}", reader.line_num + 1
            if not cells:
                continue
            fault = _bad_bytes("\n".join(cells))
            if len(cells) != len(header):
                fault = f"{len(cells)} fields where the header has {len(header)}"
            yield RawRow(where, dict(zip(header, cells, strict=False)), fault, typed=False)
    except csv.Error as error:
        yield RawRow(f"{name}:{line}", {}, f"broken CSV from here on: {error}")


def _header_fault(header: list[str] | None) -> str | None:
    if header is None:
        return "the file is empty"
    twice = next((column for column in header if header.count(column) > 1), None)
    if twice is not None:
        return f"a column is given twice: {twice[:60]!r}"
    return _bad_bytes("\n".join(header))
