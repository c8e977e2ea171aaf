"""What may import what, what must stay light, and that every public name has its text."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import valuefree
import valuefree.evaluation

SOURCE = Path(valuefree.__file__).parent
ROOT = SOURCE.parents[1]
LEVELS = [  # a module imports modules of its own or an earlier part
    "errors",
    "runs",
    "data",
    "batches",
    "models",
    "partition",
    "objectives",
    "training",
    "evaluation",
    "report",
    "demo",
    "cli",
    "__main__",
]
OUTSIDE = ("studies", "benchmarks", "calibration", "faults")


def package_of(file: Path) -> tuple[str, str]:
    """The dotted name of a file's module, and of the package that relative names would start from."""
    base = SOURCE.parent if SOURCE in file.parents else ROOT
    name = ".".join(file.relative_to(base).with_suffix("").parts)
    return name.removesuffix(".__init__"), name


MODULES = {
    package_of(file)[0]: file
    for folder in (SOURCE, *(ROOT / name for name in OUTSIDE))
    for file in folder.rglob("*.py")
}


def imports(file: Path, *, lazy: bool = True) -> set[str]:
    """Modules of this repository that a file imports; with `lazy` also within functions and under TYPE_CHECKING."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree) if lazy else tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in submodules if name in MODULES} or {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & set(MODULES)


def part_of(module: str) -> str | None:
    """The part of the package that a module is in; None for the package itself and for what is not in it."""
    package, *rest = module.split(".")
    return rest[0] if package == "valuefree" and rest else None


@pytest.mark.parametrize("module", [name for name in MODULES if part_of(name)])
def test_imports_go_down_only(module):
    own = LEVELS.index(str(part_of(module)))
    for name in imports(MODULES[module]):
        part = part_of(name)
        assert name == "valuefree" or (part in LEVELS and LEVELS.index(part) <= own), f"{module} imports {name}"


def test_the_package_root_holds_four_files_at_most():
    assert len([path for path in SOURCE.iterdir() if path.is_file()]) <= 4


def test_no_import_cycle():
    """At import time; every module can be imported first."""
    graph = {name: imports(file, lazy=False) - {name} for name, file in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"import cycle: {' → '.join([*path[path.index(name) :], name])}"
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("file", sorted((SOURCE / "objectives").glob("*.py")), ids=lambda file: file.name)
def test_an_objective_imports_the_standard_library_torch_and_parts_that_run_no_model(file):
    allowed = sys.stdlib_module_names | {"torch", "jaxtyping", "valuefree"}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert {name.split(".")[0] for name in names} <= allowed, f"line {node.lineno}"
    parts = {part_of(name) for name in imports(file)}
    assert parts <= {"errors", "partition", "objectives"}, f"{file} imports {parts}: an objective runs no model"


LIGHT = [
    "valuefree",
    "valuefree.cli.options.train",
    "valuefree.errors",
    "valuefree.evaluation.stats",
    "valuefree.evaluation.held_out",
    "valuefree.cli.main",
    "valuefree.runs.manifest",
    "valuefree.report",
    "valuefree.cli.commands.report",
    "valuefree.cli.commands.schema",
    "valuefree.cli.commands.completion",
]


@pytest.mark.parametrize("module", LIGHT)
def test_no_torch_at_import(module):
    code = f"import sys, {module}; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("verb", ["", "init", "doctor", "train", "inspect", "judge", "demo", "schema", "completion"])
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
    for name in valuefree.evaluation.__all__:
        assert (getattr(valuefree.evaluation, name).__doc__ or "").strip(), name
    assert {"judge", "text_metrics", "win_rate_table"} <= set(valuefree.evaluation.__all__)
    with pytest.raises(AttributeError):
        _ = valuefree.no_such_name


def test_the_trainer_names_no_objective():
    text = (SOURCE / "training" / "trainer.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"RPO", "SFT", "DRO", "KTO", "NCA", "DPO", "IPO", "SLiC"}
