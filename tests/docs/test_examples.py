"""Every file in examples/configs loads, and the command on its second line is one that both programs take."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser

from valuefree.cli.parse import parse

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "examples" / "configs").glob("*.yaml"))
LAUNCH = [file for file in FILES if "distributed_type" in file.read_text(encoding="utf-8")]
RECIPES = [file for file in FILES if file not in LAUNCH]


def command_of(file: Path) -> list[str]:
    what, command = file.read_text(encoding="utf-8").splitlines()[:2]
    assert what.startswith("# ")
    assert what.endswith(".")
    command = command.removeprefix("# ").removeprefix("ACCELERATE_USE_CPU=true ")
    assert command.startswith("accelerate launch --config_file examples/configs/")
    assert f"examples/configs/{file.name}" in command
    words = shlex.split(command)
    return [{"$RANK": "3", "$HOST0": "10.0.0.1"}.get(word, word) for word in words]


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_command_on_top_is_one_that_both_programs_take(file):
    given = launch_command_parser().parse_args(command_of(file)[2:])
    assert given.module
    assert given.training_script == "valuefree"
    assert Path(given.config_file) in [path.relative_to(ROOT) for path in LAUNCH]
    verb, *rest = given.training_script_args
    options = parse(verb, rest)
    if load_config_from_file(given.config_file).mixed_precision == "bf16":
        assert options.bf16, "training in bfloat16 needs scores in bfloat16"


@pytest.mark.parametrize("file", LAUNCH, ids=lambda file: file.name)
def test_accelerate_knows_every_key(file):
    config = load_config_from_file(str(file))  # refuses unknown keys at the top
    known = vars(launch_command_parser().parse_args(["script.py"]))
    for group in (config.fsdp_config, config.deepspeed_config):
        assert set(group) <= set(known)


@pytest.mark.parametrize(
    ("name", "kind", "processes", "hosts"),
    [
        ("ddp_cpu_2processes", "MULTI_GPU", 2, 1),
        ("ddp_8gpu", "MULTI_GPU", 8, 1),
        ("fsdp2_8gpu", "FSDP", 8, 1),
        ("fsdp2_64gpu", "FSDP", 64, 8),
        ("deepspeed_zero2", "DEEPSPEED", 8, 1),
        ("deepspeed_zero3", "DEEPSPEED", 8, 1),
    ],
)
def test_a_configuration_is_what_its_name_says(name, kind, processes, hosts):
    config = load_config_from_file(f"examples/configs/{name}.yaml")
    assert (config.distributed_type.value, config.num_processes, config.num_machines) == (kind, processes, hosts)
    if kind == "FSDP":
        assert config.fsdp_config["fsdp_version"] == 2
    if kind == "DEEPSPEED":
        assert config.deepspeed_config["zero_stage"] == int(name[-1])


def test_every_launch_configuration_is_tested_by_name():
    assert len(LAUNCH) == 6
    assert sorted(file.stem for file in RECIPES) == ["flan_t5_xl", "llama_8b_lora", "paper_flan_t5_xl"]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.name)
def test_recipes_are_recipes_of_train(file):
    options = parse("train", ["--config", str(file)])
    assert set(yaml.safe_load(file.read_text(encoding="utf-8"))) <= set(options.to_dict())
    assert options.bf16


@pytest.mark.slow
def test_two_processes_start_and_are_one_group(tmp_path):
    """As the command on top says; without ACCELERATE_USE_CPU each process would take itself for the only one."""
    file = ROOT / "examples" / "configs" / "ddp_cpu_2processes.yaml"
    assert "\n# ACCELERATE_USE_CPU=true accelerate launch " in file.read_text(encoding="utf-8")
    script = tmp_path / "say.py"
    script.write_text(
        "from transformers import TrainingArguments\n"
        f"args = TrainingArguments(output_dir={str(tmp_path)!r})\n"
        "print(f'{args.process_index} of {args.world_size} {args.distributed_state.backend}')\n"
    )
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
    command += ["--main_process_port", "0"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
    }
    run = {"capture_output": True, "text": True, "check": True, "timeout": 120, "env": environment}
    # Two processes share the pipe, so a line of one may stand inside a line of the other.
    said = subprocess.run([*command, str(script)], **run).stdout
    assert [said.count(f"{rank} of 2 gloo") for rank in (0, 1)] == [1, 1]
    assert subprocess.run([*command, "-m", "valuefree", "--version"], **run).stdout.count("0.1.0") == 2
