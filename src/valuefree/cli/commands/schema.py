"""``valuefree schema``: a JSON schema (draft 2020-12) of the recipes; no torch."""

import json
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from valuefree.cli.options import VERBS, options_of
from valuefree.cli.options.groups import key_of
from valuefree.cli.options.schema import SchemaConfig
from valuefree.cli.parse import default_of, described, kinds, words_of

DRAFT = "https://json-schema.org/draft/2020-12/schema"
NUMBER = r"^([-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|inf)$"  # PyYAML reads 1e-4 as text, and so recipes take such a text
TYPES: dict[Any, dict[str, Any]] = {
    bool: {"type": ["boolean"]},
    int: {"type": ["integer"]},
    float: {"type": ["number", "string"], "pattern": NUMBER},
    str: {"type": ["string"]},
}


def recipe_schema(verb: str | None = None) -> dict[str, Any]:
    """The schema of the recipes of a verb; without one, of all verbs, each as a definition."""
    if verb is not None:
        return {"$schema": DRAFT, **_definition(verb)}
    references = [{"$ref": f"#/$defs/{name}"} for name in VERBS]
    return {"$schema": DRAFT, "anyOf": references, "$defs": {name: _definition(name) for name in VERBS}}


def _definition(verb: str) -> dict[str, Any]:
    config = options_of(verb)
    hints = get_type_hints(config)
    return {
        "title": f"Recipe of valuefree {verb}",
        "description": config.about,
        "type": "object",
        "properties": {key_of(item.name): _property(item, hints[item.name]) for item in fields(config)},
        "required": [key_of(item.name) for item in fields(config) if item.default is MISSING],
        "additionalProperties": False,
    }


def _property(item: Field, annotation: Any) -> dict[str, Any]:
    kind, optional = kinds(annotation)
    if get_origin(kind) is Literal:
        found: dict[str, Any] = {"enum": [*get_args(kind), *([None] if optional else [])]}
    elif get_origin(kind) is tuple:  # a recipe may give the only item without a list
        found = {"type": ["array", "string"], "items": {"type": "string"}}
    elif words := words_of(annotation):
        found = {"anyOf": [TYPES[kind] | item.metadata.get("bounds", {}), {"enum": [*words]}]}
    else:
        found = TYPES[kind] | ({"type": [*TYPES[kind]["type"], "null"]} if optional else {})
    if item.default not in (MISSING, None):
        found = found | {"default": item.default}
    if "anyOf" not in found:
        found = found | item.metadata.get("bounds", {})
    text = described(item.metadata["help"], default_of(item))
    if knobs := item.metadata.get("objectives"):
        text = "; ".join(f"{objective}: {described(knob.help, knob.shown)}" for objective, knob in knobs.items())
    if "guarded" in item.metadata:
        text += "; a value that loads code or sends a key needs --allow-code on the command line"
    return {"description": text, **found}


def command(options: SchemaConfig) -> None:
    """Print the schema."""
    print(json.dumps(recipe_schema(options.verb), indent=2, ensure_ascii=False))
