"""Where models are found; nothing is asked of a network."""

import json

import pytest

from valuefree.errors import ConfigError
from valuefree.models.availability import find_model


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    (tmp_path / "m" / "model.safetensors").touch()
    return tmp_path / "m"


def test_a_folder_and_an_adapter_on_it(folder, tmp_path):
    assert find_model(str(folder)).place == "folder"
    adapter = tmp_path / "run" / "model"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(folder)}))
    found = find_model(str(tmp_path / "run"))
    assert (found.base, found.here) == (str(folder), True)
    assert found.place == f"adapter in a folder; its base model {folder}: folder"


def test_a_gguf_file(tmp_path):
    (tmp_path / "a.gguf").touch()
    assert find_model(str(tmp_path / "a.gguf")).place == "GGUF file"


def test_what_is_no_model(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"no \*\.safetensors file"):
        find_model(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(ConfigError, match="it is no model"):
        find_model(str(folder))
    with pytest.raises(ConfigError, match="no such file or folder"):
        find_model(str(tmp_path / "none"))


def test_a_hub_name_while_offline_names_the_command():
    with pytest.raises(ConfigError, match=r"offline mode is enabled.*`hf download some/model`"):
        find_model("some/model")
