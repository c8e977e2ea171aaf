"""``valuefree prepare``: a public feedback set as files of prompt, response and reward."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from valuefree.cli import show
from valuefree.cli.options.prepare import PrepareConfig
from valuefree.data import DataSummary, FeedbackReport, read_ultrafeedback, split_top_score, summarize
from valuefree.data.columns import batches
from valuefree.data.sources import SCHEMA
from valuefree.runs.files import write_json, write_jsonl
from valuefree.runs.manifest import fingerprint, manifest
from valuefree.runs.run_folder import MANIFEST, RunFolder

NAMES = (
    MANIFEST,
    "report.json",
    *(f"{part}.{end}" for part in ("train", "validation") for end in ("jsonl", "parquet")),
)


@dataclass(frozen=True)
class Parts:
    """Rows to train and to validate on, None for none."""

    train: datasets.Dataset
    validation: datasets.Dataset | None

    def by_name(self) -> dict[str, datasets.Dataset]:
        """The rows by the name of their file."""
        return {"train": self.train} | ({"validation": self.validation} if self.validation is not None else {})

    def counts(self) -> dict[str, DataSummary]:
        """Counts of each part."""
        return {name: summarize(rows) for name, rows in self.by_name().items()}

    def __str__(self) -> str:
        return "\n".join(f"{name}: {counts}" for name, counts in self.counts().items())


def output_of(options: PrepareConfig) -> RunFolder:
    """The folder to write into; raises ConfigError if it holds files that --overwrite may not or shall not remove."""
    output = RunFolder(options.out, overwrite=options.overwrite, verbs=("prepare",), names=NAMES)
    output.check_inputs([options.source])
    return output


def read(options: PrepareConfig) -> tuple[datasets.Dataset, FeedbackReport]:
    """The rows, and what was found in the set."""
    return read_ultrafeedback(
        options.source,
        schema=options.schema,
        split=options.split,
        reward_field=options.reward_field,
        score10=options.score10,
        system_prompt=options.system_prompt,
        on_bad=options.on_bad,
    )


def split(options: PrepareConfig, rows: datasets.Dataset, report: FeedbackReport) -> Parts:
    """The rows, split if validation prompts are held out."""
    if not options.validation_prompts:
        return Parts(rows, None)
    top = report.top if options.top_score is None else options.top_score
    held_out = {"validation_prompts": options.validation_prompts, "seed": options.seed, "top_score": top}
    return Parts(*split_top_score(rows, **held_out))


def write(output: RunFolder, options: PrepareConfig, divided: Parts, report: FeedbackReport) -> list[Path]:
    """Write train, validation, report.json and manifest.json; the files of rows."""
    folder = output.path
    parts, counts = divided.by_name(), divided.counts()
    found: dict[str, Any] = report.to_dict() | {name: counts[name].to_dict() for name in parts}
    prints = {name: fingerprint({column: rows[column] for column in SCHEMA.names}) for name, rows in parts.items()}
    output.open()
    write_json(folder / MANIFEST, manifest("prepare", options.to_dict(), fingerprint=prints))
    write_json(folder / "report.json", found)
    files = []
    for name, rows in parts.items():
        files.append(folder / f"{name}.{options.format}")
        if options.format == "parquet":
            rows.select_columns(SCHEMA.names).to_parquet(files[-1])
        else:
            write_jsonl(files[-1], (row for table in batches(rows, SCHEMA.names) for row in table.to_pylist()))
    return files


def command(options: PrepareConfig) -> None:
    """Read a public feedback set, say what was found in it, and where its rows are."""
    output = None if options.dry_run else output_of(options)
    rows, report = read(options)
    if options.dry_run:
        show.settings(options)
    print(report)
    parts = split(options, rows, report)
    print(parts)
    if output is not None:
        print("\n".join(f"written: {file}" for file in write(output, options, parts, report)))
