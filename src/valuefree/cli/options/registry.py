"""The objectives as their files declare them: name, fields, defaults, help texts and presets. No torch.

The files in `valuefree.objectives` import torch, which takes seconds, so they are parsed here and not imported. A new
file there adds its objective to the command line, the recipe schema and the studies. The rules: an objective is a
public class whose bases lead to `Objective` within its file; every field is a call of `knob` on literals or constants
of the file; the signature of the class method ``preset`` names the presets and the fields that they leave open.
"""

import ast
import math
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

from valuefree.cli.options.bounds import bounds_of
from valuefree.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "objectives"
DEFAULT = "rpo"
TYPES = {"bool": bool, "float": float, "int": int, "str": str}
Nodes = Mapping[str, ast.expr]  # the constants of a file, by name


class Knob(NamedTuple):
    """One field.

    kind: its type, without None. otherwise: the value that None stands for, or a text about it. minimum, above,
    maximum: bounds of a number.
    """

    kind: Any
    default: Any
    help: str
    otherwise: Any = None
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None

    @property
    def bounds(self) -> dict[str, float]:
        """Bounds of a number."""
        return bounds_of(self.minimum, self.above, self.maximum)

    @property
    def shown(self) -> Any:
        """The default as a reader wants it."""
        return self.otherwise if self.default is None else self.default


class Declaration(NamedTuple):
    """One objective.

    name: on the command line, the class name in lower case. presets: their names. open: the fields that may be given
    beside a preset, with their defaults there. columns: of the data, which it reads where they are there.
    partitioned: whether it needs V(x).
    """

    name: str
    module: str
    class_name: str
    knobs: dict[str, Knob]
    presets: tuple[str, ...]
    open: dict[str, Any]
    columns: tuple[str, ...]
    partitioned: bool

    def load(self) -> type[Any]:
        """The class itself; imports torch."""
        return getattr(import_module(f"valuefree.objectives.{self.module}"), self.class_name)


@cache
def declarations() -> dict[str, Declaration]:
    """All objectives by name, the default first.

    Raises:
        ConfigError: a field that is not declared by `knob` with literals, with its file and line.
    """
    found = {item.name: item for file in sorted(FOLDER.glob("*.py")) for item in read_declarations(file)}
    return {DEFAULT: found[DEFAULT]} | found


def read_declarations(file: Path) -> Iterator[Declaration]:
    """The objectives in one file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for name, node in classes.items():
        ancestors = _ancestors(node, classes)
        if ancestors and not name.startswith("_"):
            try:
                yield _declaration(
                    file.stem, name, [item for ancestor in ancestors for item in ancestor.body], constants
                )
            except ValueError as error:
                raise ConfigError(f"{file}, class {name}: {error}") from error


def _ancestors(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> list[ast.ClassDef]:
    """The class after those of its file that it inherits from; empty where these do not lead to `Objective`."""
    for base in node.bases:
        name = ast.unparse(base)
        if name == "Objective":
            return [node]
        if name in classes and (above := _ancestors(classes[name], classes)):
            return [*above, node]
    return []


def _declaration(module: str, name: str, body: list[ast.stmt], constants: Nodes) -> Declaration:
    knobs: dict[str, Knob] = {}
    columns, presets, left_open = (), (), {}
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == "preset":
            presets = _type_of(node.args.args[1].annotation, constants).__args__
            defaults = [_value_of(item, constants) for item in node.args.kw_defaults]
            left_open = dict(zip((argument.arg for argument in node.args.kwonlyargs), defaults, strict=True))
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if not ast.unparse(node.annotation).startswith("ClassVar"):
            knobs[node.target.id] = _knob(node, constants)
        elif node.target.id == "columns":
            columns = _value_of(node.value, constants)
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    return Declaration(
        name.lower(), module, name, knobs, presets, left_open, columns, partitioned="partition" in functions
    )


def _knob(node: ast.AnnAssign, constants: Nodes) -> Knob:
    call = node.value
    if not isinstance(call, ast.Call) or ast.unparse(call.func) != "knob":
        raise ValueError(f"line {node.lineno}: expected {ast.unparse(node.target)} = knob(default, help).")
    default, text = (_value_of(argument, constants) for argument in call.args)
    named = {str(word.arg): _value_of(word.value, constants) for word in call.keywords}
    return Knob(_type_of(node.annotation, constants), default, text, **named)


def _value_of(node: ast.expr | None, constants: Nodes) -> Any:
    """The value of a literal, or of a constant of the file that is one."""
    node = constants.get(node.id, node) if isinstance(node, ast.Name) else node
    try:
        unlimited = node is not None and ast.unparse(node) == "math.inf"
        return math.inf if unlimited else ast.literal_eval(node or ast.Constant(None))
    except ValueError:
        where = f"line {getattr(node, 'lineno', '?')}: {ast.unparse(node) if node else node}"
        raise ValueError(f"{where} is no literal, and no constant of the file that is one.") from None


def _type_of(node: ast.expr | None, constants: Nodes) -> Any:
    """The type that an annotation names, without None: float, int, bool, str or a Literal.

    A Literal with ``| str`` lists the choices of the command line; Python takes more.
    """
    match node:
        case ast.Name(id=name) if name in TYPES:
            return TYPES[name]
        case ast.Name(id=name) if name in constants:
            return _type_of(constants[name], constants)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            values = ast.literal_eval(choices)
            return Literal[values]
        case ast.BinOp(left=kind, op=ast.BitOr(), right=ast.Constant(value=None) | ast.Name(id="str")):
            return _type_of(kind, constants)
    raise ValueError(f"{ast.unparse(node) if node else node}: expected bool, float, int, str or Literal, maybe | None.")
