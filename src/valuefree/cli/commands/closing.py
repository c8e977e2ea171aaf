"""The end of a training run in words, and as the object of ``--json``."""

import signal
from pathlib import Path
from typing import Any

from valuefree.cli import show
from valuefree.cli.options.train import TrainConfig
from valuefree.cli.output import Result
from valuefree.report.gains import verdict
from valuefree.report.held_out import strength_sentences
from valuefree.runs.files import read_json
from valuefree.runs.manifest import COMPLETIONS, HELD_OUT, MANIFEST, launched

# Files that a verb leaves in its folder, by their key in ``paths`` of the object of --json, and what they hold.
FILES = {
    "report": ("report.html", "all findings, with figures"),
    "model": ("model", "the trained weights"),
    "metrics": ("metrics.json", "all numbers of the report"),
    "log": ("metrics.jsonl", "all numbers of training, by step"),
    "manifest": (MANIFEST, "settings, versions and data of the run"),
    "held_out": (HELD_OUT, "the rows that were held out"),
    "completions": (COMPLETIONS, "sampled responses and their rewards"),
    "predictions": ("predictions.jsonl", "sampled responses"),
}


def paths_of(folder: Path) -> dict[str, str]:
    """The files in the folder of a run, by the keys of `FILES`; `folder` itself as "folder"."""
    there = {key: folder / name for key, (name, _) in FILES.items()}
    return {"folder": str(folder)} | {key: str(path) for key, path in there.items() if path.exists()}


def values_of(folder: Path) -> dict[str, Any]:
    """The content of metrics.json, and the paths of the files."""
    file = folder / "metrics.json"
    return (read_json(file) if file.exists() else {}) | {"paths": paths_of(folder)}


def policy_result(options: TrainConfig, folder: Path, assessment: Any, evaluation: Any) -> Result:
    """What a policy has learned, by a reward function and by the held-out rows, as far as they were measured."""
    found = [verdict(evaluation.to_dict())] if evaluation is not None else []
    if assessment is not None:
        found += [*assessment.learned.summary(), *strength_sentences(assessment.to_dict())]
        found += assessment.learned.next_steps(measured=evaluation is not None)
    steps = {f"valuefree generate prompts.txt --model {folder}": "sample from the policy"}
    if options.lora_rank:
        steps[f"valuefree merge {folder} --out DIR"] = "one model without adapter, to serve it"
    if assessment is None and (folder / HELD_OUT).exists():
        steps[f"valuefree evaluate --rows {folder / HELD_OUT} --model {folder}"] = "measure it on its held-out rows"
    else:
        steps[f"valuefree evaluate --rows FILE --model {folder}"] = "measure it on other logged rows"
    steps[f"valuefree report {folder} OTHER"] = "compare it with another run"
    steps[f"valuefree.load_model({str(folder)!r})"] = "model and tokenizer, in Python"
    return _result(folder, "What the policy has learned", found, steps)


def reward_model_result(folder: Path, found: list[str]) -> Result:
    """How well a reward model orders held-out pairs."""
    steps = {f"valuefree evaluate PROMPTS --model RUN --reward-function {folder / 'model'}": "reward a policy with it"}
    return _result(folder, "What the reward model has learned", found, steps)


def stopped_result(folder: Path, received: str) -> Result:
    """A run that a signal has stopped; its exit code is that of a process that the signal ends, such as 143."""
    values = {"stopped": received, "paths": paths_of(folder)}
    return Result(f"stopped by {received}; continue with --resume", values, 128 + signal.Signals[received])


def _result(folder: Path, title: str, found: list[str], steps: dict[str, str]) -> Result:
    if launched()[0] > 0:  # the first process of a launcher writes the files and prints
        return Result("", {})
    files = {name: text for name, text in FILES.values() if (folder / name).exists()}
    return Result(show.closing(title, found, **{f"Files in {folder}": files, "Next": steps}), values_of(folder))
