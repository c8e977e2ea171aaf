"""The model card (README.md) of a trained model, from the manifest and metrics of its run. No torch.

Its front matter is that of the Hugging Face hub. Every number in it is in manifest.json or metrics.json.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from valuefree.errors import number_of
from valuefree.report.gains import evaluation_rows, pairs_verdict, verdict
from valuefree.report.held_out import learned_of, strength_sentences
from valuefree.report.markdown import escape
from valuefree.report.serving import generating_code, loading_code
from valuefree.runs.files import read_json, write_text
from valuefree.runs.manifest import MANIFEST

CARD = "README.md"
MARK = "<!-- written by valuefree -->"
Kind = Literal["adapter", "weights", "reward model", "gguf"]
LIBRARIES: dict[Kind, str] = {"adapter": "peft", "gguf": "gguf"}  # all others: transformers
WHAT: dict[Kind, str] = {
    "adapter": "A LoRA adapter of",
    "weights": "Full weights, fine-tuned from",
    "reward model": "A reward model, fine-tuned from",
    "gguf": "A GGUF file, fine-tuned from",
}
SETTINGS = ("epochs", "max_steps", "lr", "batch_size", "accumulation", "lora_rank", "quantize", "dtype", "bf16", "seed")
USES = {
    False: "To respond to prompts like those of the data, by the standard that their feedback expresses.",
    True: "To score responses to prompts like those of the data, by the standard that their feedback expresses.",
}
FLAG = re.compile(r" \(--[a-z-]+\)")  # advice for the command line
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Origin:
    """Where a model comes from: the manifest and metrics of its run, empty where there is none."""

    manifest: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @classmethod
    def of(cls, source: str | Path) -> "Origin":
        """Of the folder of a run, or of its folder ``model``."""
        path = Path(source).resolve()
        for folder in [path, *([path.parent] if path.name == "model" else [])]:
            if (folder / MANIFEST).exists():
                metrics = folder / "metrics.json"
                return cls(read_json(folder / MANIFEST), read_json(metrics) if metrics.exists() else {})
        return cls({}, {})

    @property
    def base(self) -> str | None:
        """Name of the model that was trained, as the command was given it."""
        return self.manifest.get("config", {}).get("model")


def write_card(folder: Path, origin: Origin, *, kind: Kind, loads: str, base: str | None = None) -> bool:
    """Write ``README.md`` into `folder`, and say whether it was written: a README of another author is kept.

    Args:
        folder: of the model.
        origin: its run.
        kind: what is in the folder.
        loads: Markdown on how to load the model.
        base: name of the model that was trained, where the run does not tell.
    """
    file = folder / CARD
    if file.exists() and MARK not in (found := file.read_text(encoding="utf-8")) and not _of_peft(found):
        return False
    write_text(file, model_card(origin, kind=kind, base=base or origin.base, loads=loads))
    return True


def write_policy_card(run: Path, *, encoder_decoder: bool) -> None:
    """Write the card of the policy in the folder ``model`` of a run: an adapter, or full weights."""
    folder, origin = run / "model", Origin.of(run)
    adapter = (folder / "adapter_config.json").exists()
    templates = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    has_template = any(file.exists() and "chat_template" in file.name + file.read_text("utf-8") for file in templates)
    code = loading_code("THIS_FOLDER", encoder_decoder=encoder_decoder, adapter=adapter)
    code += "\n" + generating_code(encoder_decoder=encoder_decoder, has_template=has_template)
    loads = f"{code_block('python', code)}\n\n`valuefree merge` writes full weights for a server."
    write_card(folder, origin, kind="adapter" if adapter else "weights", loads=loads)


def _of_peft(text: str) -> bool:
    """Whether peft wrote this card with its adapter: a template in which everything is still to be filled in."""
    return "[More Information Needed]" in text


def model_card(origin: Origin, *, kind: Kind, base: str | None, loads: str) -> str:
    """The text of a model card."""
    hub_name, licence = _of_base(base)
    front = {
        "base_model": hub_name,
        "library_name": LIBRARIES.get(kind, "transformers"),
        "license": licence,
        "tags": ["valuefree", "scalar-feedback", *(["lora"] if kind == "adapter" else [])],
    }
    # Of a folder on this machine only the name: its path means nothing elsewhere.
    named = f"`{Path(base).name}`" if base else "a model that the folder does not name"
    if hub_name:
        named = f"[{hub_name}](https://huggingface.co/{hub_name})"
    parts = [
        "---\n" + yaml.safe_dump({key: value for key, value in front.items() if value}, sort_keys=False) + "---",
        MARK,
        f"# {_title(base)}, fine-tuned on scalar feedback",
        f"{WHAT[kind]} {named}.",
        f"## Intended use\n\n{USES[kind == 'reward model']}",
        _section("Data", _data(origin)),
        _section("Training", _training(origin)),
        _section("Held-out results", _results(origin)),
        _section("Limits", _limits(origin)),
        f"## Licence\n\n{_licence_text(base, hub_name, licence)}",
        f"## How to load it\n\n{loads}",
    ]
    return "\n\n".join(parts) + "\n"


def _title(base: str | None) -> str:
    return escape(Path(base).name) if base else "A model"


def _section(title: str, items: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {item}" for item in items)


def _of_base(base: str | None) -> tuple[str | None, str | None]:
    """The hub name and the licence of the base model, as far as this machine knows them without a network."""
    if base is None:
        return None, None
    folder = Path(base)
    if not folder.exists():
        return (base if HUB_NAME.fullmatch(base) else None), None
    card = (folder if folder.is_dir() else folder.parent) / CARD
    front = _front_matter(card.read_text(encoding="utf-8")) if card.exists() else {}
    names = front.get("base_model")
    return (names if isinstance(names, str) else None), front.get("license")


def _front_matter(text: str) -> dict[str, Any]:
    _, *rest = text.split("---\n", 2)
    if text.startswith("---\n") and len(rest) == 2:
        found = yaml.safe_load(rest[0])
        return found if isinstance(found, dict) else {}
    return {}


def _licence_text(base: str | None, hub_name: str | None, licence: str | None) -> str:
    if licence:
        return f"That of the base model: {licence}."
    if base and hub_name == base:
        return f"That of the base model; see https://huggingface.co/{base}."
    return "Not stated by the base model."


def _training(origin: Origin) -> list[str]:
    manifest = origin.manifest
    if not manifest:
        return ["There is no record of the training beside the model."]
    config, objective = manifest["config"], dict(manifest.get("objective", {}))
    knobs = ", ".join(f"{name}={value}" for name, value in objective.items() if name != "name" and value is not None)
    settings = ", ".join(f"{name} {config[name]}" for name in SETTINGS if config.get(name) not in (None, -1, False))
    items = [
        f"Objective: {objective.get('name', 'not recorded')}{f' ({knobs})' if knobs else ''}.",
        f"Settings: {settings}.",
    ]
    if "learning_rate" in manifest:
        items.append(f"Learning rate that was found: {manifest['learning_rate']:g}.")
    if partition := origin.metrics.get("partition"):
        items.append(
            f"Temperature τ = {partition['tau']:.3g}, in units of the reward: the smaller it is, the further a reward "
            "moves the model."
        )
    versions = manifest["versions"]
    made = ", ".join(f"{name} {versions[name]}" for name in ("valuefree", "torch", "transformers", "peft"))
    return [*items, f"Made by `valuefree {manifest['command']}` with {made}; started {manifest['started']}."]


def _data(origin: Origin) -> list[str]:
    manifest = origin.manifest
    source = manifest.get("config", {}).get("data")
    items = [f"File: `{source if HUB_NAME.fullmatch(str(source)) else Path(source).name}`."] if source else []
    items += ["Description: not stated (where the feedback is from, and who gave it).", "Language: not stated."]
    if data := manifest.get("data"):
        counts = f"{number_of(data['rows'], 'row')}, {number_of(data['prompts'], 'prompt')}"
        items.append(f"Size: {counts}, held-out ones included.")
    prints = ", ".join(f"{name} `{value}`" for name, value in manifest.get("fingerprint", {}).items() if value)
    return [*items, *([f"Fingerprints: {prints}."] if prints else [])]


def _results(origin: Origin) -> list[str]:
    metrics = origin.metrics
    items = []
    for found in (metrics.get("logged") or {}).values():
        items += [escape(sentence) for sentence in (*learned_of(found).summary(), *strength_sentences(found))]
    if evaluation := metrics.get("evaluation"):
        items.append(escape(verdict(evaluation)))
        items += [escape(f"{name}: {value}") for name, value in evaluation_rows(evaluation)]
    if pairs := metrics.get("held_out_pairs"):
        items.append(escape(pairs_verdict(pairs)))
    items = [FLAG.sub("", item) for item in items]
    if any("KL" in item for item in items):
        items.append("KL: how far the model's responses have moved from those of its base, in nats per response.")
    return items or ["The model was not evaluated on held-out rows."]


def _limits(origin: Origin) -> list[str]:
    items = ["No property was tested that the rewards do not express: not facts, not safety, not bias."]
    if origin.metrics.get("logged") or origin.metrics.get("evaluation") or origin.metrics.get("held_out_pairs"):
        items.insert(0, "The results are of held-out prompts of the same data. They say nothing of other prompts.")
    if not origin.metrics.get("held_out_pairs") and not origin.metrics.get("evaluation"):
        items.append("No responses of this model were rewarded: the run had no reward function.")
    return items


def code_block(language: str, text: str) -> str:
    """Lines of code in Markdown."""
    return f"```{language}\n{text}\n```"
