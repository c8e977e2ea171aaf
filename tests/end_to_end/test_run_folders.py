"""The folder of a run: one run in it, resumed by the same settings alone; and which prompts a policy was trained on."""

import json
import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from conftest import make_llama
from valuefree.cli import main as cli
from valuefree.cli.commands.resuming import IF_NOTHING_SELECTS, MAY_DIFFER, ROWS
from valuefree.cli.commands.runs import no_empty_folders
from valuefree.cli.options.groups import key_of
from valuefree.cli.options.train import TrainConfig
from valuefree.demo.data import feedback, take_prompts
from valuefree.errors import ConfigError, DataError, DivergenceError
from valuefree.runs.lock import locked

QUICK = [
    "--test-prompts",
    "4",
    "--max-steps",
    "3",
    "--max-length",
    "96",
    "--max-prompt-length",
    "48",
    "--lora-rank",
    "2",
]
QUICK += ["--max-new-tokens", "4", "--kl-prompts", "0", "--batch-size", "8", "--save-steps", "2", "--warmup-steps", "0"]
REWARD = ["--reward-function", "own_length:count"]


def write_rows(file: Path, *, flip: float = 1.0, prompts: int = 12) -> Path:
    rows = take_prompts(feedback(), prompts)
    lines = [{"prompt": r["prompt"], "response": r["response"], "reward": flip * r["reward"]} for r in rows]
    file.write_text("\n".join(json.dumps(line) for line in lines))
    return file


@pytest.fixture
def here(tmp_path, tokenizer, monkeypatch):
    make_llama(tokenizer).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    write_rows(tmp_path / "rows.jsonl")
    (tmp_path / "own_length.py").write_text(
        "def count(prompts, responses):\n    return [float(len(response)) for response in responses]\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*more: str, data: str = "rows.jsonl", out: str = "run") -> None:
    cli.run(["train", data, "--model", "base", *QUICK, "--out", out, *more])


def checkpoints(run: Path) -> set[str]:
    return {file.name for file in (run / "checkpoints").glob("checkpoint-*")}


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def json_lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def interrupted(run: Path) -> None:
    """Leave the folder as a run that was killed after step 2 does."""
    shutil.rmtree(run / "checkpoints" / "checkpoint-3")


# ------------------------------------------------------------------------------------------------------------ resuming


DIFFERENCES = {
    ("--lr", "0.1"): "--lr: 0.0005 → 0.1",
    ("--objective", "sft"): "--objective: 'rpo' → 'sft'",
    ("--tau", "3"): "--tau: None → 3.0",
    ("--seed", "5"): "--seed: 0 → 5",
    ("--max-steps", "9"): "--max-steps: 3 → 9",
    ("--batch-size", "4", "--lora-rank", "4"): "--batch-size: 8 → 4\n  --lora-rank: 2 → 4",
}


def test_resume_refuses_other_settings_and_names_both_values_of_each(here):
    train()
    interrupted(here / "run")
    before = (here / "run" / "manifest.json").read_text()
    for more, words in DIFFERENCES.items():
        with pytest.raises(ConfigError) as error:
            train("--resume", *more)
        assert words in str(error.value)
    assert (here / "run" / "manifest.json").read_text() == before
    assert checkpoints(here / "run") == {"checkpoint-2"}


def test_resume_refuses_other_rows_and_takes_the_same_rows_from_another_file(here, caplog):
    train()
    interrupted(here / "run")
    write_rows(here / "other.jsonl", flip=-1)
    with pytest.raises(ConfigError, match=r"(?s)training rows.*--data: 'rows.jsonl' → 'other.jsonl'"):
        train("--resume", data="other.jsonl")
    shutil.move(here / "rows.jsonl", here / "moved.jsonl")
    caplog.set_level("INFO", logger="valuefree")
    train("--resume", data="moved.jsonl")
    assert "resumed from step 2" in caplog.text


def test_resume_refuses_another_number_of_processes(here, monkeypatch):
    """The batch of a step counts the rows of all processes."""
    train()
    interrupted(here / "run")
    monkeypatch.setattr("valuefree.cli.commands.runs.launched", lambda: (0, 2))
    with pytest.raises(ConfigError, match="processes: 1 → 2"):
        train("--resume")


def test_resume_says_the_step_and_keeps_the_record_of_the_first_start(here, caplog):
    train()
    interrupted(here / "run")
    first = json.loads((here / "run" / "manifest.json").read_text())
    caplog.set_level("INFO", logger="valuefree")
    moved = here / "elsewhere"
    shutil.move(here / "run", moved)
    train("--resume", "--logging-steps", "1", "--save-steps", "1", "--cache-dir", "scores", out=str(moved))
    assert "resumed from step 2" in caplog.text
    record = json.loads((moved / "manifest.json").read_text())
    (resumed,) = record.pop("resumed")
    assert resumed["step"] == 2
    assert record == first


def test_resume_takes_a_change_that_is_allowed_and_records_it(here, capsys):
    """The rate decays over 3 steps without warm-up: step 3 has 1/3 of the peak, 0.01 from here on."""
    train("--logging-steps", "1")
    interrupted(here / "run")
    with pytest.raises(ConfigError, match="allow the change by --allow-changed lr, or start a new run"):
        train("--resume", "--lr", "0.03")
    with pytest.raises(ConfigError, match=r"(?s)--seed: 0 → 5"):
        train("--resume", "--lr", "0.03", "--seed", "5", "--allow-changed", "lr")
    with pytest.raises(ConfigError, match="only lr, epochs, max_steps, warmup_steps can change in mid-run, not seed"):
        train("--resume", "--seed", "5", "--allow-changed", "seed")
    with pytest.raises(ConfigError, match="nothing reads allow_changed without resume"):
        train("--allow-changed", "lr", out="other")
    train("--resume", "--lr", "0.03", "--allow-changed", "lr,epochs", "--logging-steps", "1")
    rates = {row["step"]: row["learning_rate"] for row in json_lines(here / "run" / "metrics.jsonl") if "loss" in row}
    assert rates == pytest.approx({1: 0.0005, 2: 0.0005 * 2 / 3, 3: 0.01})
    record = json.loads((here / "run" / "manifest.json").read_text())
    assert record["config"]["lr"] == 0.03
    assert record["resumed"][0]["changed"] == {"lr": [0.0005, 0.03]}


def test_resume_goes_back_to_a_whole_checkpoint_and_names_the_damage(here, caplog):
    train()
    kept = (here / "run" / "model" / "adapter_model.safetensors").read_bytes()
    weights = here / "run" / "checkpoints" / "checkpoint-3" / "adapter_model.safetensors"
    flipped = bytearray(weights.read_bytes())
    flipped[-1] ^= 1
    weights.write_bytes(flipped)
    train("--resume")
    assert "checkpoint-3: adapter_model.safetensors is not as it was written (checksum)" in caplog.text
    assert (here / "run" / "model" / "adapter_model.safetensors").read_bytes() == kept
    for step in (2, 3):
        (here / "run" / "checkpoints" / f"checkpoint-{step}" / "optimizer.pt").unlink()
    with pytest.raises(ConfigError, match=r"(?s)no whole checkpoint.*checkpoint-3: optimizer.pt is missing.*overwrite"):
        train("--resume")


def test_resume_refuses_the_folder_of_another_command(here):
    train()
    record = here / "run" / "manifest.json"
    record.write_text(record.read_text().replace('"command": "train"', '"command": "demo"'))
    with pytest.raises(ConfigError, match="run is of valuefree demo"):
        train("--resume")


def test_every_option_that_may_differ_on_resume_exists_and_has_a_reason():
    listed = {**MAY_DIFFER, **IF_NOTHING_SELECTS}
    assert {*listed, *ROWS} <= {key_of(item.name) for item in fields(TrainConfig)}
    assert all(listed.values())


# ------------------------------------------------------------------------------------------------------ reused folders


def test_train_refuses_a_folder_that_holds_a_run(here):
    train(*REWARD)
    before = {name: (here / "run" / name).stat().st_mtime_ns for name in files(here / "run")}
    with pytest.raises(ConfigError, match=r"run holds a run \(manifest.json, .*model.*--resume.*--overwrite"):
        train("--lr", "0.1")
    assert {name: (here / "run" / name).stat().st_mtime_ns for name in files(here / "run")} == before


def test_overwrite_removes_what_the_run_wrote_and_nothing_else(here):
    train(*REWARD)
    own = ["notes.txt", "model/notes.txt", "figures/own.png", "checkpoints/notes.txt", "deep/er.txt"]
    for name in own:
        (here / "run" / name).parent.mkdir(exist_ok=True)
        (here / "run" / name).write_text("mine")
    train("--max-steps", "1", "--overwrite")  # no reward function: no completions of its own
    left = files(here / "run")
    assert all((here / "run" / name).read_text() == "mine" for name in own)
    assert "completions.jsonl" not in left
    assert "figures/gains.svg" not in left
    assert checkpoints(here / "run") == {"checkpoint-1"}
    assert {line["step"] for line in json_lines(here / "run" / "metrics.jsonl")} == {1}
    train("--max-steps", "1", "--overwrite", "--save-steps", "0")
    assert all((here / "run" / name).read_text() == "mine" for name in own)


def test_a_run_that_does_not_start_leaves_the_earlier_one_and_no_trace_of_its_own(here):
    train()
    before = files(here / "run")
    with pytest.raises(Exception, match="nowhere"):
        cli.run(["train", "rows.jsonl", "--model", str(here / "nowhere"), *QUICK, "--out", "run", "--overwrite"])
    assert files(here / "run") == before
    with pytest.raises(Exception, match="nowhere"):
        cli.run(["train", "rows.jsonl", "--model", str(here / "nowhere"), *QUICK, "--out", "new"])
    train("--max-steps", "1", out="new")


def test_a_run_without_checkpoints_leaves_no_folder_for_them(here):
    train("--save-steps", "0", "--save-minutes", "0")
    assert not (here / "run" / "checkpoints").exists()


def test_the_folders_that_a_trainer_makes_are_removed_where_they_are_empty(tmp_path):
    run = tmp_path / "run"
    with no_empty_folders(run):
        (run / "checkpoints").mkdir(parents=True)
    assert not run.exists()


def test_overwrite_does_not_remove_what_the_new_run_reads(here):
    train()
    with pytest.raises(ConfigError, match=r"--overwrite would remove run/model"):
        cli.run(["train", "rows.jsonl", "--model", "run/model", *QUICK, "--out", "run", "--overwrite"])
    with pytest.raises(ConfigError, match=r"--overwrite would remove run/held_out.jsonl"):
        train("--overwrite", "--test-prompts", "1", data="run/held_out.jsonl")


def test_overwrite_leaves_files_of_which_no_list_says_that_a_run_wrote_them(here):
    for name in ("model/weights.bin", "completions.jsonl"):
        (here / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "own" / name).write_text("mine")
        for more in ([], ["--overwrite"]):
            with pytest.raises(ConfigError, match=r"may be your own|holds a run"):
                train(*more, out="own")
        assert (here / "own" / name).read_text() == "mine"
        (here / "own" / name).unlink()


def test_a_finished_run_without_checkpoints_is_not_said_to_go_on(here):
    train("--save-steps", "0", "--save-minutes", "0")
    with pytest.raises(ConfigError) as refused:
        train("--save-steps", "0", "--save-minutes", "0")
    assert "--resume" not in str(refused.value)
    with pytest.raises(ConfigError, match="no checkpoint in run/checkpoints, and the run is finished"):
        train("--resume")


def test_a_folder_has_one_writer(here):
    with locked(here / "run"), pytest.raises(ConfigError, match="run is being written by process"):
        train()
    train("--max-steps", "1")
    assert not {".lock", ".lock-holder"} & files(here / "run")


def test_a_run_that_diverges_saves_the_state_before_and_no_model(here):
    """At a learning rate of 1e30 the first update overflows every score."""
    with pytest.raises(DivergenceError, match=r"(?s)step 2 has loss.*finite state is saved in run/checkpoints/checkp"):
        train("--lr", "1e30")
    assert not (here / "run" / "model").exists()
    assert checkpoints(here / "run") == {"checkpoint-1"}


def test_resume_and_overwrite_contradict_each_other(here):
    with pytest.raises(ConfigError, match="resume continues the run, overwrite replaces it"):
        train("--resume", "--overwrite")


def test_the_demo_and_evaluate_refuse_a_folder_that_holds_a_run(here):
    train()
    demo = ["demo", "--model", "tiny-t5", "--train-prompts", "8", "--test-prompts", "4", "--samples-per-prompt", "1"]
    ask = ["evaluate", "rows.jsonl", "--model", "run/model", "--max-new-tokens", "2"]
    before = (here / "run" / "manifest.json").read_text()
    for command in (demo, [*ask, *REWARD], [*ask, "--metrics", "length"]):
        with pytest.raises(ConfigError, match="run holds a run"):
            cli.run([*command, "--out", "run"])
    assert (here / "run" / "manifest.json").read_text() == before
    cli.run([*ask, *REWARD, "--out", "found"])
    with pytest.raises(ConfigError, match="found holds a run"):
        cli.run([*ask, "--metrics", "length", "--out", "found"])
    cli.run([*ask, "--metrics", "length", "--out", "found", "--overwrite"])
    assert not {"completions.jsonl", "report.html"} & files(here / "found")
    assert {"metrics.csv", "predictions.jsonl"} <= files(here / "found")


def test_judge_refuses_the_folder_of_another_verb_and_takes_its_own_again(here):
    train()
    for name in ("a", "b"):
        (here / f"{name}.jsonl").write_text(json.dumps({"prompt": "p", "response": name * 3}))
    command = ["judge", "a.jsonl", "b.jsonl", *REWARD, "--out"]
    with pytest.raises(ConfigError, match="run is of valuefree train"):
        cli.run([*command, "run"])
    assert json.loads((here / "run" / "manifest.json").read_text())["command"] == "train"
    for _ in range(2):
        cli.run([*command, "judged"])


def test_overwrite_replaces_a_run_whose_evaluation_failed(here):
    (here / "broken.py").write_text("def fails(prompts, responses):\n    return [1.0] * min(len(responses), 2)\n")
    with pytest.raises(DataError, match="the reward function gave"):
        train("--reward-function", "broken:fails")
    train("--overwrite", "--max-steps", "1")
    assert checkpoints(here / "run") == {"checkpoint-1"}


# --------------------------------------------------------------------------------------------------- prompts seen


def test_train_writes_the_rows_of_the_prompts_it_held_out(here):
    train()
    held_out, everything = json_lines(here / "run" / "held_out.jsonl"), json_lines(here / "rows.jsonl")
    prompts = {row["prompt"] for row in held_out}
    assert len(prompts) == 4
    assert held_out == [row for row in everything if row["prompt"] in prompts]


def test_evaluate_says_which_prompts_the_policy_was_trained_on(here, capsys):
    train()
    ask = ["--model", "run/model", "--max-new-tokens", "2", "--kl-prompts", "0", *REWARD]
    spaced = [{"prompt": row["prompt"].replace(" ", "  ") + "\n"} for row in json_lines(here / "rows.jsonl")]
    (here / "spaced.jsonl").write_text("\n".join(json.dumps(row) for row in spaced))
    for number, (source, words) in enumerate(
        [
            ("run/held_out.jsonl", "On prompts it never saw"),
            ("rows.jsonl", "On 12 prompts, of which 8 were trained on"),
            ("spaced.jsonl", "On 12 prompts, of which 8 were trained on"),
        ]
    ):
        capsys.readouterr()
        cli.run(["evaluate", source, *ask, "--out", f"out{number}"])
        printed, written = capsys.readouterr().out, (here / f"out{number}" / "report.md").read_text()
        for text in (printed, written):
            assert words in " ".join(text.split())
            assert ("never saw" in text) == (number == 0)
            assert number == 0 or "held-out" not in text
    cli.run(["report", "out0", "out1", "--out", "both"])
    both = (here / "both" / "report.md").read_text()
    assert "never saw" not in both
    assert "out1: 8 of 12 prompts were trained on" in both


def test_evaluate_of_a_model_of_unknown_origin_claims_nothing(here, capsys):
    train()
    shutil.copytree(here / "run" / "model", here / "copied")
    cli.run(
        ["evaluate", "run/held_out.jsonl", "--model", "copied", "--max-new-tokens", "2", "--kl-prompts", "0", *REWARD]
    )
    printed = capsys.readouterr().out
    assert "On these prompts" in printed
    assert "never saw" not in printed
    assert "held-out" not in printed


def test_what_a_policy_was_trained_on_before_counts_too(here, capsys):
    """A second run starts from the first one's policy, and holds out prompts that the first one was trained on."""
    train()
    cli.run(["train", "rows.jsonl", "--model", "run/model", *QUICK, "--lora-rank", "0", "--out", "two", "--seed", "1"])
    capsys.readouterr()
    ask = ["--model", "two/model", "--reference", "base", "--max-new-tokens", "2", "--kl-prompts", "0", *REWARD]
    cli.run(["evaluate", "two/held_out.jsonl", *ask])
    trained = {row["prompt"] for row in json_lines(here / "rows.jsonl")} - {
        row["prompt"] for row in json_lines(here / "run" / "held_out.jsonl")
    }
    again = {row["prompt"] for row in json_lines(here / "two" / "held_out.jsonl")} & trained
    assert again
    assert f"On 4 prompts, of which {len(again)} were trained on" in capsys.readouterr().out


def test_validation_prompts_are_named_for_they_chose_the_checkpoint(here, capsys):
    train("--validation-prompts", "3", "--eval-steps", "2")
    capsys.readouterr()
    ask = ["--model", "run/model", "--max-new-tokens", "2", "--kl-prompts", "0", *REWARD]
    cli.run(["evaluate", "rows.jsonl", *ask])
    printed = " ".join(capsys.readouterr().out.split())
    assert "On 12 prompts, of which 5 were trained on and 3 were validation prompts" in printed
