"""The commands that the faults meet: one or more of each verb that writes, with their inputs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

# Imported once, before processes are forked.
import valuefree.cli.commands.demo
import valuefree.cli.commands.evaluate_policy
import valuefree.cli.commands.evaluate_rows
import valuefree.cli.commands.export
import valuefree.cli.commands.generate
import valuefree.cli.commands.import_
import valuefree.cli.commands.init
import valuefree.cli.commands.inspect
import valuefree.cli.commands.judge
import valuefree.cli.commands.merge
import valuefree.cli.commands.prepare
import valuefree.cli.commands.sample
import valuefree.cli.commands.train  # noqa: F401
from faults.commands import FUNCTION, OUT, Command
from faults.server import start_server
from faults.training import subjects, tiny_llama
from studies.__main__ import run as studies_run
from valuefree.cli.main import exit_with_message
from valuefree.runs.files import read_jsonl, write_jsonl


def _studies() -> None:
    exit_with_message(lambda: studies_run(sys.argv[1:]), name="studies")


@contextmanager
def commands(folder: Path) -> Iterator[dict[str, Command]]:
    """Commands by name, with inputs in `folder`; their server runs until the end."""
    t5, llama = subjects(folder)
    run = folder / "run"
    code, said = llama.start(run).finish()
    if code:
        raise RuntimeError(f"the run that others read failed: {said[-2000:]}")
    _write_inputs(folder)
    _save_for_export(folder / "byte-level")
    child, server = start_server(folder)
    try:
        found = [*_of_data(folder), *_of_models(folder, run), *_of_server(folder, server)]
        found += [
            Command(f"train ({subject.name})", ("train", *subject.arguments, *_scores(), "--out", f"{OUT}/run"))
            for subject in (t5, llama)
        ]
        yield {command.name: command for command in found}
    finally:
        child.kill()


def _scores() -> tuple[str, str]:
    return "--cache-dir", f"{OUT}/scores"


def _write_inputs(folder: Path) -> None:
    rows = read_jsonl(folder / "rows.jsonl")
    prompts = list(dict.fromkeys(row["prompt"] for row in rows))
    rated = {"helpfulness": 4, "correctness": 3, "coherence": 2}
    write_jsonl(
        folder / "rated.jsonl", [{"prompt": row["prompt"], "response": row["response"]} | rated for row in rows]
    )
    best = {row["prompt"]: row["response"] for row in sorted(rows, key=lambda row: row["reward"])}
    first = {row["prompt"]: row["response"] for row in reversed(rows)}
    write_jsonl(folder / "prompts.jsonl", [{"prompt": prompt} for prompt in prompts])
    for name, answers in (("best", best), ("first", first)):
        write_jsonl(folder / f"{name}.jsonl", [{"prompt": prompt, "response": answers[prompt]} for prompt in prompts])


def _save_for_export(folder: Path) -> None:
    """A Llama whose tokenizer has a form in GGUF."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    special = ["<pad>", "</s>", "<s>"]
    trainer = BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(["Why do cats purr?"], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", bos_token="<s>")
    tiny_llama(made).save_pretrained(folder)
    made.save_pretrained(folder)


def _of_data(folder: Path) -> list[Command]:
    rows = str(folder / "rows.jsonl")
    study = ("--quick", "--methods", "RPO(), untouched", "--seeds", "1", "--responses", "2", "--workers", "1")
    small = ("--prompts", "16", "--length", "4", "--alphabet", "3", "--control", "none")
    return [
        Command("init", ("init", rows, "--model", str(folder / "base-4"), "--out", f"{OUT}/recipe.yaml")),
        Command("import", ("import", rows, "--from", "csv", "--yes", "--out", f"{OUT}/rows.jsonl")),
        Command(
            "prepare",
            (
                "prepare",
                str(folder / "rated.jsonl"),
                "--schema",
                "helpsteer2",
                "--validation-prompts",
                "4",
                "--out",
                f"{OUT}/sets",
            ),
        ),
        Command(
            "evaluate (file)",
            (
                "evaluate",
                "--predictions",
                str(folder / "best.jsonl"),
                "--metrics",
                "distinct2",
                "--out",
                f"{OUT}/measured",
            ),
        ),
        Command("study", ("exact", *study, *small, "--out", f"{OUT}/study"), main=_studies),
    ]


def _of_models(folder: Path, run: Path) -> list[Command]:
    rows, prompts, base = (str(folder / name) for name in ("rows.jsonl", "prompts.jsonl", "base-4"))
    short = ("--max-new-tokens", "24", "--generation-batch-size", "4")
    logged = (rows, "--model", base, "--max-length", "96", *_scores())
    return [
        Command("inspect", ("inspect", *logged)),
        Command("score", ("score", *logged, "--out", f"{OUT}/scores.parquet")),
        Command(
            "sample",
            (
                "sample",
                prompts,
                "--model",
                base,
                "--samples",
                "4",
                "--score",
                FUNCTION,
                *short,
                "--out",
                f"{OUT}/samples.jsonl",
            ),
        ),
        Command("generate", ("generate", prompts, "--model", base, *short, "--out", f"{OUT}/responses.jsonl")),
        Command(
            "evaluate (policy)",
            (
                "evaluate",
                prompts,
                "--model",
                str(run),
                "--reward-function",
                FUNCTION,
                *short,
                "--kl-prompts",
                "4",
                "--out",
                f"{OUT}/evaluated",
            ),
        ),
        Command(
            "evaluate (rows)",
            (
                "evaluate",
                "--rows",
                rows,
                "--model",
                str(run),
                "--max-length",
                "96",
                *_scores(),
                "--out",
                f"{OUT}/evaluated",
            ),
        ),
        Command("strength", ("strength", f"{OUT}/run", "--scale", "0.5", *_scores()), given=run),
        Command("merge", ("merge", str(run), "--out", f"{OUT}/merged")),
        Command("export", ("export", str(folder / "byte-level"), "--gguf", f"{OUT}/model.gguf")),
        Command("report", ("report", str(run), "--out", f"{OUT}/report")),
        Command(
            "train (reward model)",
            (
                "train",
                rows,
                "--objective",
                "reward-model",
                "--model",
                base,
                "--max-steps",
                "12",
                "--save-steps",
                "4",
                "--test-prompts",
                "4",
                "--max-length",
                "96",
                "--out",
                f"{OUT}/run",
            ),
        ),
    ]


def _of_server(folder: Path, server: str) -> list[Command]:
    prompts, best, first = (str(folder / f"{name}.jsonl") for name in ("prompts", "best", "first"))
    asked = ("--server", server, "--concurrency", "2", "--model", "long", "--max-new-tokens", "8")
    judged = ("--judge", "m", "--server", server, "--concurrency", "2")
    return [
        Command("generate --server", ("generate", prompts, *asked, "--out", f"{OUT}/responses.jsonl"), ("--resume",)),
        Command("judge", ("judge", f"best={best}", f"first={first}", *judged, "--out", f"{OUT}/judged")),
    ]
