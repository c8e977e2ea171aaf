"""Undamaged inputs of every sort, and how each is read: by functions, and by whole commands."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet as pq
import torch
import yaml

from faults.training import subjects
from valuefree.cli.commands.from_options import read_prompts
from valuefree.cli.commands.judge_agreement import read_verdicts
from valuefree.cli.main import run as command
from valuefree.cli.parse import parse
from valuefree.data import read_pairs, read_triplets
from valuefree.data.exports.feedback import read_feedback
from valuefree.demo.data import feedback, take_prompts
from valuefree.evaluation.judging.cache import JudgementCache
from valuefree.evaluation.outputs import read_outputs
from valuefree.models.load import load_model
from valuefree.report import read_report
from valuefree.runs.files import write_jsonl

EXPORTS = Path(__file__).parent.parent / "tests" / "data" / "exports" / "fixtures"
TOOL = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
CALL = {"type": "function", "function": {"name": "clock", "arguments": '{"zone": "UTC"}'}}
# A row in the layout of UltraFeedback.
FEEDBACK_SET = {
    "instruction": "Say hello.",
    "source": "x",
    "completions": [
        {"response": f"hello {n}", "overall_score": float(n), "fine-grained_score": float(n), "critique": "good"}
        for n in (1, 5)
    ],
}


@dataclass(frozen=True)
class Sort:
    """A sort of input.

    make: writes the undamaged files into a folder. read: what a function reads from the folder; a value that can be
    compared. commands: arguments of whole commands, of the folder and of a place for output. damaged: which of the
    files are damaged, as a pattern. share: of the tries, against those of other sorts.
    """

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], Any]
    commands: tuple[Callable[[Path, Path], list[str]], ...]
    damaged: str = "**/*"
    share: float = 1.0

    def files(self, folder: Path) -> list[Path]:
        """The files of the folder that are damaged."""
        return sorted(path for path in folder.glob(self.damaged) if path.is_file() and path.suffix != ".lock")


def longer(question: str) -> str:
    """A judge: which of the two responses is longer."""
    first, _, second = question.partition("RESPONSE B")
    return "A" if len(first) > len(second) else "B"


def length(prompts: Iterable[str], responses: Iterable[str]) -> list[float]:
    """A reward: the number of characters."""
    return [float(len(text)) for text in responses]


JUDGE = ("--judge", "faults.good_inputs:longer")

# --------------------------------------------------------------------------------------------------------------- rows


def _triplets() -> list[dict[str, Any]]:
    rows = take_prompts(feedback(), 12)
    return [{name: row[name] for name in ("prompt", "response", "reward")} for row in rows]


def _conversations() -> list[dict[str, Any]]:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What time is it?"}]
    answer = [{"role": "assistant", "content": None, "tool_calls": [CALL]}]
    answer += [{"role": "tool", "content": "12:00"}, {"role": "assistant", "content": "Noon."}]
    rows = [
        {"prompt": asked, "response": answer, "reward": 1.0, "tools": [TOOL]},
        {"prompt": json.dumps(asked), "response": "Noon.", "reward": 0.5, "chat_template_kwargs": {"x": True}},
        {"prompt": "What time is it?", "responses": [{"text": "Noon.", "reward": 1}, {"text": "Why?", "reward": 0.5}]},
    ]
    return rows * 2


def _save_array(folder: Path) -> None:
    (folder / "rows.json").write_text(json.dumps(_triplets(), indent=1), encoding="utf-8")


def _save_table(folder: Path, suffix: str) -> None:
    table = pyarrow.Table.from_pylist(_triplets()[:12])
    write = pq.write_table if suffix == ".parquet" else pyarrow.csv.write_csv
    write(table, folder / f"rows{suffix}")


def _rows(folder: Path) -> list[dict[str, Any]]:
    return list(read_triplets(str(next(folder.glob("rows.*")))))


def _pairs(folder: Path) -> list[dict[str, Any]]:
    return list(read_pairs(str(folder / "pairs.jsonl")))


def _save_pairs(folder: Path) -> None:
    rows = [{"prompt": f"question {n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(8)]
    write_jsonl(folder / "pairs.jsonl", rows)


def _save_recipe(folder: Path) -> None:
    write_jsonl(folder / "rows.jsonl", _triplets())
    recipe = {"data": str(folder / "rows.jsonl"), "model": "google/flan-t5-small", "objective": "rpo", "lr": 5e-4}
    recipe |= {"epochs": 1, "batch_size": 8, "lora_rank": 16, "target_std": 12, "test_prompts": 2, "on_bad": "raise"}
    recipe |= {"bf16": False, "categories": ["good=1", "bad=-1"], "seed": 0, "split": None}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")


def _recipe(folder: Path) -> str:
    return repr(parse("train", ["--config", str(folder / "recipe.yaml")]))


# -------------------------------------------------------------------------------------------------------- predictions


def _save_predictions(folder: Path) -> None:
    rows = [{"prompt": f"question {n}", "prediction": f"an answer {n}", "reference": f"answer {n}"} for n in range(8)]
    write_jsonl(folder / "predictions.jsonl", rows)


def _predictions(folder: Path) -> str:
    file = str(folder / "predictions.jsonl")
    return repr((read_outputs(file, response="prediction"), read_prompts(file, "prompt")))


def _save_systems(folder: Path) -> None:
    for name, size in (("long", 5), ("short", 1)):
        rows = [{"prompt": f"question {n}", "response": f"{name} " * (size + n % 3)} for n in range(8)]
        write_jsonl(folder / f"{name}.jsonl", rows)


def _judge(folder: Path, out: Path) -> list[str]:
    return ["judge", str(folder / "long.jsonl"), str(folder / "short.jsonl"), *JUDGE, "--out", str(out)]


def _save_cache(folder: Path) -> None:
    _save_systems(folder)
    command([*_judge(folder, folder / "out"), "--cache", str(folder / "cache.jsonl")])


def _cache(folder: Path) -> Any:
    with JudgementCache(folder / "cache.jsonl", write=False) as cache:
        return cache.answers


def _save_agreement(folder: Path) -> None:
    _save_systems(folder)
    write_jsonl(folder / "people.jsonl", [{"prompt": f"question {n}", "score": n % 3 / 2} for n in range(8)])


def _save_judged(folder: Path) -> None:
    _save_systems(folder)
    command(_judge(folder, folder / "run"))


# ---------------------------------------------------------------------------------------------------- runs and models


def _save_runs(folder: Path) -> None:
    """A training run, and an evaluation of its policy on logged rows."""
    subject = subjects(folder)[0]
    command([*subject.command(folder / "run"), "--reward-function", "faults.good_inputs:length", "--max-steps", "2"])
    base = str(folder / "base-0")
    command(["evaluate", "--rows", str(folder / "rows.jsonl"), "--model", base, "--reference", base])


def _report(folder: Path) -> Any:
    """The verdict and the tables of the report."""
    report = read_report([folder / "run"])
    return repr((report.verdict, report.sections, report.completions))


def _save_model(folder: Path, place: int) -> None:
    subjects(folder)
    (folder / f"base-{place}").rename(folder / "model")


def _save_adapter(folder: Path) -> None:
    subject = subjects(folder)[1]
    command([*subject.command(folder / "run"), "--max-steps", "2"])
    (folder / "run" / "model").rename(folder / "model")


def _model(folder: Path) -> str:
    model, tokenizer = load_model(str(folder / "model"))
    ids = tokenizer("How do I boil an egg?", return_tensors="pt")["input_ids"]
    decoder = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        logits = model(input_ids=ids, **decoder).logits
    return hashlib.sha256(logits.numpy().tobytes()).hexdigest()


def _score(folder: Path, out: Path) -> list[str]:
    model = str(folder / "model")
    return ["score", str(folder / "rows.jsonl"), "--model", model, "--out", str(out), "--cache-dir", f"{out}.cache"]


SCORES = {"argilla": "quality", "label_studio": "stars", "langfuse": "helpful", "langsmith": "user_score"}
SCORES["phoenix"] = "quality"
LOG = ("--from", "csv", "--prompt", "user_question", "--response", "bot_answer", "--reward", "thumb", "--thumbs")


def _export(source: Path) -> Sort:
    """An export of a tool: files of the fixtures."""
    chosen = {"score_name": SCORES.get(source.stem)}
    flags = ("--score-name", SCORES[source.stem]) if source.stem in SCORES else LOG if source.suffix == ".csv" else ()
    if source.suffix == ".csv":
        chosen |= dict(zip(("from_", "prompt", "response", "reward", "thumbs"), (*LOG[1::2], True), strict=True))

    def make(folder: Path) -> None:
        for file in sorted(source.glob("*")) if source.is_dir() else [source]:
            if file.name != "demonstrations.jsonl":
                (folder / file.name).write_bytes(file.read_bytes())

    def read(folder: Path) -> Any:
        found = read_feedback(str(folder), **chosen)  # type: ignore[arg-type]
        return repr((found.rows, str(found.account)))

    convert = (lambda folder, out: ["import", str(folder), "--out", str(out), *flags],)
    return Sort(f"export: {source.stem}", make, read, convert, share=0.5)


def _of_rows(file: str) -> tuple[Callable[[Path, Path], list[str]], ...]:
    return (
        lambda folder, out: ["train", str(folder / file), "--dry-run", "--out", str(out)],
        lambda folder, out: ["init", str(folder / file), "--model", "none", "--out", str(out)],
        lambda folder, out: ["import", str(folder / file), "--from", "csv", "--yes", "--out", str(out)],
    )


def _of_pairs(file: str) -> tuple[Callable[[Path, Path], list[str]], ...]:
    more = ("--objective", "dpo", "--dry-run", "--out")
    return (lambda folder, out: ["train", str(folder / file), *more, str(out)],)


def _prepare(folder: Path, out: Path) -> list[str]:
    return ["prepare", str(folder / "set.jsonl"), "--validation-prompts", "0", "--out", str(out)]


def _measure(folder: Path, out: Path) -> list[str]:
    file = str(folder / "predictions.jsonl")
    return ["evaluate", "--predictions", file, "--metrics", "rouge1,length", "--out", str(out)]


def _of_report(folder: Path, out: Path) -> list[str]:
    return ["report", str(folder / "run"), "--out", str(out)]


def sorts() -> list[Sort]:
    """Every sort of input."""
    return [
        Sort(
            "rows, JSONL",
            lambda folder: write_jsonl(folder / "rows.jsonl", _triplets()),
            _rows,
            _of_rows("rows.jsonl"),
            share=2,
        ),
        Sort("rows, JSON", _save_array, _rows, _of_rows("rows.json")),
        Sort(
            "rows, messages and tools",
            lambda folder: write_jsonl(folder / "rows.jsonl", _conversations()),
            lambda folder: list(read_triplets(str(folder / "rows.jsonl"), thumbs=True, train_on="all")),
            _of_rows("rows.jsonl"),
            share=1.5,
        ),
        Sort("rows, CSV", lambda folder: _save_table(folder, ".csv"), _rows, _of_rows("rows.csv"), share=2),
        Sort("rows, Parquet", lambda folder: _save_table(folder, ".parquet"), _rows, _of_rows("rows.parquet"), share=2),
        Sort("pairs", _save_pairs, _pairs, _of_pairs("pairs.jsonl")),
        Sort(
            "recipes",
            _save_recipe,
            _recipe,
            (lambda folder, out: ["train", "--config", str(folder / "recipe.yaml"), "--dry-run", "--out", str(out)],),
            "recipe.yaml",
            share=1.5,
        ),
        Sort("predictions", _save_predictions, _predictions, (_measure,)),
        Sort(
            "systems to judge", _save_systems, lambda folder: repr(read_outputs(str(folder / "long.jsonl"))), (_judge,)
        ),
        Sort(
            "judge caches",
            _save_cache,
            _cache,
            (lambda folder, out: [*_judge(folder, out), "--cache", str(folder / "cache.jsonl")],),
            "cache.jsonl",
            share=1.5,
        ),
        Sort(
            "agreement files",
            _save_agreement,
            lambda folder: repr(read_verdicts(str(folder / "people.jsonl")).labels),
            (lambda folder, out: [*_judge(folder, out), "--agreement", str(folder / "people.jsonl")],),
            "people.jsonl",
        ),
        Sort(
            "feedback sets",
            lambda folder: write_jsonl(folder / "set.jsonl", [FEEDBACK_SET] * 3),
            lambda folder: command([*_prepare(folder, folder / "out"), "--dry-run"]),
            (_prepare,),
        ),
        Sort("run folders, train", _save_runs, _report, (_of_report,), "run/*.json*", share=3),
        Sort("run folders, judge", _save_judged, _report, (_of_report,), "run/*.json*", share=2),
        Sort("models, T5", lambda folder: _save_model(folder, 0), _model, (_score,), "model/*", share=1.5),
        Sort("models, Llama", lambda folder: _save_model(folder, 4), _model, (_score,), "model/*"),
        Sort("adapters", _save_adapter, _model, (_score,), "model/*", share=1.5),
        *map(_export, sorted(EXPORTS.iterdir())),
    ]
