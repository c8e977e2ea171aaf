"""Model cards: valid front matter, the results of the run with their intervals, and nothing else's numbers."""

import json
import re

import pytest
from huggingface_hub import ModelCard

from valuefree.report.model_card import FLAG, Origin, model_card, write_card


def origin(*, data=True, **metrics):
    manifest = {
        "command": "train",
        "config": {
            "data": "logs/thumbs.csv",
            "model": "google/flan-t5-small",
            "epochs": 2.0,
            "lr": 0.0005,
            "max_steps": -1,
            "bf16": False,
        },
        "objective": {"name": "KTO", "beta": 0.3, "threshold": None},
        "versions": {"valuefree": "0.1.0", "torch": "2.9", "transformers": "5.0", "peft": None},
        "started": "2026-01-02T03:04:05+00:00",
        "fingerprint": {"train": "abc", "validation": None},
    }
    return Origin(manifest | ({"data": {"rows": 48, "prompts": 24}} if data else {}), metrics)


def sections(text):
    return dict(re.findall(r"^## (.*?)\n\n(.*?)(?=\n\n## |\Z)", text, re.DOTALL | re.MULTILINE))


def test_the_front_matter_is_the_hubs(tmp_path):
    write_card(tmp_path, origin(), kind="adapter", loads="code")
    front = ModelCard.load(tmp_path / "README.md").data.to_dict()
    assert front == {
        "base_model": "google/flan-t5-small",
        "library_name": "peft",
        "tags": ["valuefree", "scalar-feedback", "lora"],
    }


def test_settings_and_data_are_those_of_the_manifest():
    found = sections(model_card(origin(), kind="weights", base="google/flan-t5-small", loads="code"))
    assert found["Training"].splitlines() == [
        "- Objective: KTO (beta=0.3).",
        "- Settings: epochs 2.0, lr 0.0005.",
        "- Made by `valuefree train` with valuefree 0.1.0, torch 2.9, transformers 5.0, peft None; started "
        "2026-01-02T03:04:05+00:00.",
    ]
    assert found["Data"].splitlines() == [
        "- File: `logs/thumbs.csv`.",
        "- Description: not stated (where the feedback is from, and who gave it).",
        "- Language: not stated.",
        "- Size: 48 rows, 24 prompts, held-out ones included.",
        "- Fingerprints: train `abc`.",
    ]
    assert found["Licence"] == "That of the base model; see https://huggingface.co/google/flan-t5-small."


def test_the_base_is_a_link_and_no_flag_or_unexplained_kl_is_left():
    found = {"logged": {}, "held_out_pairs": None, "evaluation": None}
    text = model_card(origin(**found), kind="weights", base="google/flan-t5-small", loads="code")
    assert "fine-tuned from [google/flan-t5-small](https://huggingface.co/google/flan-t5-small)." in text
    assert FLAG.sub("", "hold out more (--test-prompts).") == "hold out more."


def test_results_have_their_intervals_and_limits_follow_from_what_was_measured(trained):
    run = trained()
    found = sections(
        model_card(Origin(origin().manifest, Origin.of(run).metrics), kind="weights", base="b", loads="code")
    )
    assert (
        "Measured gain in held-out reward (sampled responses) +0.500, 95 % interval [+0.400, +0.600]"
        in found["Held-out results"]
    )
    assert "- measured gain, paired: +0.500 [+0.400, +0.600]" in found["Held-out results"]
    assert "held-out prompts of the same data" in found["Limits"]
    assert "no reward function" not in found["Limits"]
    bare = sections(model_card(origin(), kind="weights", base="b", loads="code"))
    assert bare["Held-out results"] == "- The model was not evaluated on held-out rows."
    assert "no reward function" in bare["Limits"]
    assert "held-out prompts" not in bare["Limits"]


def test_every_number_of_a_results_section_is_in_the_files_of_the_run(trained):
    run = trained()
    found = sections(
        model_card(Origin(origin().manifest, Origin.of(run).metrics), kind="weights", base="b", loads="code")
    )["Held-out results"]
    stored = json.dumps(json.loads((run / "metrics.json").read_text()))
    known = {round(float(number), 2) for number in re.findall(r"-?\d+(?:\.\d+)?", stored)} | {95.0}
    assert {round(float(number), 2) for number in re.findall(r"\d+\.\d+|\d+", found)} <= known


@pytest.mark.parametrize("place", ["", "model"])
def test_the_run_is_found_from_its_folder_and_from_its_model(trained, place):
    run = trained()
    (run / "model").mkdir(exist_ok=True)
    assert Origin.of(run / place).metrics["evaluation"]["gain"]["value"] == 0.5
    assert Origin.of(run.parent).manifest == {}


def test_the_licence_is_that_of_a_base_model_on_this_machine(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "README.md").write_text("---\nlicense: mit\nbase_model: org/first\n---\n# A model\n")
    text = model_card(origin(), kind="weights", base=str(tmp_path / "base"), loads="code")
    assert sections(text)["Licence"] == "That of the base model: mit."
    assert "license: mit\n" in text
    assert "base_model: org/first\n" in text  # the hub knows that name, and not the path
    (tmp_path / "base" / "README.md").unlink()
    text = model_card(origin(), kind="weights", base=str(tmp_path / "base"), loads="code")
    assert sections(text)["Licence"] == "Not stated by the base model."
    assert "base_model" not in text.split("---")[1]
    assert "fine-tuned from `base`." in text
    assert str(tmp_path) not in text


def test_a_readme_of_another_author_is_kept(tmp_path):
    (tmp_path / "README.md").write_text("# My project\n")
    assert not write_card(tmp_path, origin(), kind="gguf", loads="code")
    assert (tmp_path / "README.md").read_text() == "# My project\n"
    (tmp_path / "README.md").unlink()
    assert write_card(tmp_path, origin(), kind="gguf", loads="code")
    assert write_card(tmp_path, origin(), kind="gguf", loads="other code")  # its own card is renewed
    assert "other code" in (tmp_path / "README.md").read_text()
