"""The files of versions agree: what CI runs, its hashes, and the lowest versions."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pins(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [re.match(r"([\w.-]+)==([\w.+!-]+)", line) for line in lines]
    return {match[1].lower().replace("_", "-"): match[2] for match in found if match}


def floors():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["export"], *extras["serving"], *extras["metrics"]]
    return {name.lower(): floor for name, floor in (re.match(r"([\w-]+)>=([\d.]+)", one).groups() for one in wanted)}


def numbers(version):
    return [int(part) for part in re.findall(r"\d+", version)] + [0, 0]


def test_every_version_that_ci_runs_but_torch_has_hashes():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    hashed = pins("requirements.txt")
    assert hashed | {"torch": pins("constraints.txt")["torch"]} == pins("constraints.txt")
    assert all("--hash=sha256:" in block for block in re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:])


def test_the_lowest_versions_are_the_floors_and_torch_is_beyond_the_flaw_of_its_unpickler():
    lowest, allowed = pins("constraints-lowest.txt"), floors()
    assert set(lowest) == set(allowed)
    for name in set(allowed) - {"torch"}:
        assert numbers(lowest[name])[:3] == numbers(allowed[name])[:3], name
    assert numbers(allowed["torch"])[:2] >= [2, 10]  # CVE-2026-24747
