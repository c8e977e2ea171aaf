"""Weights and recorded scale of a run change together, wherever the change is interrupted."""

import pytest

from valuefree.runs import saved_strength
from valuefree.runs.saved_strength import complete, save_at, scale_of


def run_in(folder):
    (folder / "model").mkdir()
    for name in ("a.safetensors", "b.safetensors"):
        (folder / "model" / name).write_text("old")
    return folder


def weights(folder):
    return [(folder / "model" / name).read_text() for name in ("a.safetensors", "b.safetensors")]


def save(folder):
    folder.mkdir()
    for name in ("a.safetensors", "b.safetensors", "README.md"):
        (folder / name).write_text("new")


def test_the_weights_are_replaced_and_the_scale_is_recorded(tmp_path):
    run = run_in(tmp_path)
    assert scale_of(run) == 1.0
    save_at(run, 0.5, save)
    assert (weights(run), scale_of(run)) == (["new", "new"], 0.5)
    assert sorted(path.name for path in run.iterdir()) == ["model", "strength.json"]
    assert not (run / "model" / "README.md").exists()


@pytest.mark.parametrize("writes", [0, 1])  # files of JSON that are written before the interruption
def test_after_an_interruption_both_are_old_or_both_are_new(tmp_path, monkeypatch, writes):
    run, left = run_in(tmp_path), writes
    write_json = saved_strength.write_json

    def interrupted(file, content):
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        write_json(file, content)

    monkeypatch.setattr(saved_strength, "write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_at(run, 0.5, save)
    monkeypatch.setattr(saved_strength, "write_json", write_json)
    complete(run)
    assert (weights(run), scale_of(run)) == [(["old", "old"], 1.0), (["new", "new"], 0.5)][writes]
    assert not (run / "model.unfinished").exists()


def test_an_interruption_between_two_files_is_completed(tmp_path):
    run = run_in(tmp_path)
    save(run / "model.unfinished")
    saved_strength.write_json(run / "strength.json", {"scale": 0.5, "unfinished": True})
    (run / "model.unfinished" / "a.safetensors").replace(run / "model" / "a.safetensors")
    complete(run)
    assert (weights(run), scale_of(run)) == (["new", "new"], 0.5)
