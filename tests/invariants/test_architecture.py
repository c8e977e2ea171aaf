"""What may import what, what must stay light, and that every public name has its text."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import valuefree
import valuefree.evaluation

SOURCE = Path(valuefree.__file__).parent
LEVELS = [  # a module imports modules of its own or an earlier level
    {"errors"},
    {"manifest", "config", "data"},
    {"parsing", "models", "attention", "head", "processes"},
    {"logprobs", "value_network", "mismatched", "fingerprints"},
    {"reference", "features"},
    {"partition"},
    {"objectives"},
    {"arguments", "callbacks", "prepared", "metering"},
    {"preparation"},
    {"trainer", "reward_model"},
    {"evaluation"},
    {"report"},
    {"commands"},
    {"demo"},
    {"study"},
    {"cli"},
    {"__main__"},
]
ROOT_IMPORTS = {"__init__", "py.typed"}


def imports(file: Path) -> set[str]:
    """First names below `valuefree` that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("valuefree."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "valuefree":
            names |= {alias.name for alias in node.names}
    return names


def part_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


FILES = [file for file in SOURCE.rglob("*.py") if part_of(file) not in ROOT_IMPORTS]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_arrows_go_down_only(file):
    level = {name: number for number, names in enumerate(LEVELS) for name in names}
    own = level[part_of(file)]
    for name in imports(file) - {"__version__"}:
        assert level[name] <= own, f"{file} imports {name}, which stands above it"


def test_nothing_imports_the_command_line_and_it_alone_the_study():
    assert not [file for file in FILES if part_of(file) not in ("cli", "__main__") and "cli" in imports(file)]
    assert not [file for file in FILES if part_of(file) not in ("cli", "study") and "study" in imports(file)]


def test_objectives_import_torch_and_base_alone():
    for file in (SOURCE / "objectives").glob("[!_]*.py"):
        assert imports(file) <= {"errors", "objectives"}


LIGHT = [
    "valuefree",
    "valuefree.cli.options",
    "valuefree.errors",
    "valuefree.evaluation.stats",
    "valuefree.cli.main",
    "valuefree.runs.manifest",
    "valuefree.report",
    "valuefree.cli.commands.report",
]


@pytest.mark.parametrize("module", LIGHT)
def test_no_torch_at_import(module):
    code = f"import sys, {module}; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("verb", ["", "train", "inspect", "judge", "demo", "study", "study small"])
def test_help_is_quick_and_without_torch(verb):
    code = (
        "import sys; sys.argv = ['valuefree', *sys.argv[1:]]; from valuefree.cli.main import main\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *verb.split(), "--help"], capture_output=True, text=True, check=True
    )
    assert "usage: valuefree" in done.stdout


def test_every_public_name_is_there_and_documented():
    for name in valuefree.__all__:
        assert (getattr(valuefree, name).__doc__ or "").strip(), name
    assert sorted(valuefree.__all__) == sorted({*valuefree._HOME, *(n for n in dir(valuefree) if n.endswith("Error"))})
    assert sorted(valuefree.evaluation.__all__) == sorted(valuefree.evaluation._HOME)
    with pytest.raises(AttributeError):
        _ = valuefree.no_such_name


def test_the_trainer_names_no_objective():
    text = (SOURCE / "trainer.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"RPO", "SFT", "DRO", "KTO", "NCA", "DPO", "IPO", "SLiC"}
