"""Two gloo processes give the numbers of one on the same global batch: DDP through accelerate, FSDP2 by fully_shard."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from conftest import make_llama, make_t5
from valuefree.runs.checkpoints import CHECKSUMS, fault_of

HERE = Path(__file__).parent


def run(arguments: list[str]) -> str:
    """What a Python process said, then its errors; it and all it launched end within two minutes."""
    command = [sys.executable, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **pipes) as process:
        try:
            said, complained = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0, complained[-4000:]
    return said + complained


def started(script: str, folder: Path, *args: object, processes: int) -> None:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    run([*launch, str(HERE / script), str(folder), *map(str, args)])


@pytest.fixture
def prepared(tmp_path, rows, tokenizer) -> Path:
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    names = ("prompt", "response", "reward")
    lines = [json.dumps({name: row[name] for name in names}, ensure_ascii=False) for row in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def relative(one: dict, two: dict) -> float:
    """Largest difference of any tensor, relative to the largest entry of all."""
    assert one.keys() == two.keys()
    scale = max(float(tensor.abs().max()) for tensor in one.values())
    return max(float((two[name] - one[name]).abs().max()) for name in one) / scale


@pytest.mark.parametrize(
    ("kind", "objective"),
    [
        ("t5", "rpo"),
        *(
            pytest.param(kind, objective, marks=pytest.mark.slow)  # every run starts three interpreters
            for kind, objective in (
                ("llama", "kto"),
                ("llama", "rpo"),
                ("llama", "sft"),
                ("t5", "kto"),
                ("llama", "dro"),
                ("llama", "dpo"),
            )
        ),
    ],
)
def test_two_processes_under_ddp_train_as_one(prepared, kind, objective):
    """16 rows in prompts of 4, 3, 1, 2 and 6: 2 × 8 against 16, three SGD steps."""
    started("two_processes.py", prepared, kind, objective, 8, 1, 3, processes=2)
    started("two_processes.py", prepared, kind, objective, 16, 1, 3, processes=1)
    two, one = (torch.load(prepared / f"{size}.pt") for size in (2, 1))
    assert json.loads((prepared / "2.json").read_text())["wrapped"] == "DistributedDataParallel"
    names = ("loss", "logratio", "loss_within", "loss_level", "kl_estimate", "value")
    ordering = ("logratio_reward_correlation", "pair_accuracy")
    for step, (mine, other) in enumerate(zip(one["logs"], two["logs"], strict=True)):
        # At the first step the policy is the reference: log-ratios are rounding, and so is their order.
        for name in (*names, *(ordering if step else ())):
            if name in mine:
                # Log-probabilities of responses lie between -30 and -130, where float32 rounds by up to 8e-6.
                assert other[name] == pytest.approx(mine[name], rel=1e-4, abs=1e-5), name
        assert other["loss"] == pytest.approx(mine["loss"], rel=1e-5)
    assert relative(one["gradients"], two["gradients"]) < 1e-5
    assert relative(one["weights"], two["weights"]) < 1e-5
    for name in ("eval_loss", "eval_logratio") if objective != "sft" else ("eval_loss",):
        assert two["evaluation"][name] == pytest.approx(one["evaluation"][name], rel=1e-5, abs=1e-5)
    # The second run finds every score of the first in the cache.
    assert one["scored"] == 0
    assert (two["scored"] > 0) == (objective != "sft")


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["rpo", "kto"])
def test_uneven_prompts_end_the_epoch_on_every_rank(prepared, objective):
    """Micro-batches of 4 rows cut the prompt of 6, and three ranks run out of rows unevenly; no rank waits for ever."""
    started("two_processes.py", prepared, "llama", objective, 4, 2, 4, processes=3)
    assert all(entry["loss"] > 0 for entry in torch.load(prepared / "3.pt")["logs"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_two_processes_with_sharded_parameters_train_as_one(prepared, kind):
    """`fully_shard` on every layer and the root; the started script asserts that every parameter is sharded."""
    started("two_processes_fsdp.py", prepared, kind, processes=2)
    started("two_processes_fsdp.py", prepared, kind, processes=1)
    two, one = (torch.load(prepared / f"{size}.pt") for size in (2, 1))
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert relative(one["gradients"], two["gradients"]) < 1e-5
    assert relative(one["weights"], two["weights"]) < 1e-5


@pytest.mark.slow
def test_two_processes_score_into_one_cache(prepared):
    """`valuefree score` under a launcher: half the batches each, all scores in one file, none left for a third run."""
    tokenizer = AutoTokenizer.from_pretrained(prepared / "tokenizer")
    model = prepared / "model"
    make_t5(tokenizer).save_pretrained(model)
    tokenizer.save_pretrained(model)
    verb = ["-m", "valuefree", "score", str(prepared / "rows.jsonl"), "--model", str(model)]
    verb += ["--score-batch-tokens", "60", "--cache-dir", str(prepared / "scores"), "--out"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    run([*launch, *verb, str(prepared / "two.parquet")])
    said = run([*verb, str(prepared / "one.parquet")])
    assert "16 rows, 0 computed, 16 from the cache" in said
    two, one = (pq.read_table(prepared / f"{name}.parquet") for name in ("two", "one"))
    assert two.equals(one)


@pytest.mark.slow
def test_two_processes_train_a_reward_model_as_one(tmp_path, tokenizer):
    """2 × 4 pairs against 8, two steps; and four held-out pairs, which fill one process alone."""
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), num_labels=1, pad_token_id=0, **size)
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "body")
    tokenizer.save_pretrained(tmp_path / "body")
    pairs = [
        {"prompt": f"the sea {i}", "chosen": "wide " * (1 + i % 3), "rejected": "blue " * (1 + i % 4)}
        for i in range(20)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(pair) for pair in pairs))
    verb = ["-m", "valuefree", "train", str(tmp_path / "pairs.jsonl"), "--objective", "reward-model"]
    verb += ["--chosen", "chosen", "--rejected", "rejected", "--model", str(tmp_path / "body"), "--lora-rank", "0"]
    verb += ["--test-prompts", "4", "--logging-steps", "1", "--lr", "1e-2", "--warmup-steps", "1", "--max-steps", "2"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    run([*launch, *verb, "--batch-size", "4", "--out", str(tmp_path / "two")])
    run([*verb, "--batch-size", "8", "--out", str(tmp_path / "one")])
    logs = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("two", "one")]
    two, one = ([entry for line in lines if "margin" in (entry := json.loads(line))] for lines in logs)
    assert len(one) == len(two) == 2
    for mine, other in zip(one, two, strict=True):
        for name in ("loss", "accuracy", "margin"):
            assert other[name] == pytest.approx(mine[name], rel=1e-4, abs=1e-6), name
    two, one = (json.loads((tmp_path / name / "metrics.json").read_text())["held_out_pairs"] for name in ("two", "one"))
    assert two == pytest.approx(one, rel=1e-4)


@pytest.mark.slow
def test_two_processes_save_into_a_fresh_folder_and_resume(prepared):
    """`valuefree train` under a launcher: checkpoints and the model are written, and each line is printed once."""
    tokenizer = AutoTokenizer.from_pretrained(prepared / "tokenizer")
    make_llama(tokenizer).save_pretrained(prepared / "base")
    tokenizer.save_pretrained(prepared / "base")
    verb = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "valuefree", "train"]
    verb += [str(prepared / "rows.jsonl"), "--model", str(prepared / "base"), "--test-prompts", "1", "--lora-rank", "2"]
    verb += ["--batch-size", "2", "--max-steps", "3", "--save-steps", "1", "--out", str(prepared / "run")]
    said = run(verb)
    assert said.count("Files in ") == said.count("Next") == said.count("16 responses to ") == 1
    checkpoints = prepared / "run" / "checkpoints"
    folders = [prepared / "run" / "model", checkpoints / "checkpoint-2", checkpoints / "checkpoint-3"]
    for folder in folders:
        assert (folder / "reward_scaler.json").exists()
        assert (folder / "adapter_model.safetensors").exists()
    assert {path.name for path in checkpoints.iterdir()} == {"checkpoint-2", "checkpoint-3"}
    for folder in folders[1:]:
        assert fault_of(folder) is None
        assert {"meter_0.json", "meter_1.json", "rng_state_0.pth", "rng_state_1.pth"} <= set(
            json.loads((folder / CHECKSUMS).read_text())
        )
    kept = load_file(prepared / "run" / "model" / "adapter_model.safetensors")
    (checkpoints / "checkpoint-3").rename(prepared / "put-away")
    said = run([*verb, "--resume"])
    assert said.count("resumed from step 2") == said.count("Files in ") == said.count("16 responses to ") == 1
    again = load_file(prepared / "run" / "model" / "adapter_model.safetensors")
    assert all(torch.equal(kept[name], again[name]) for name in kept)
