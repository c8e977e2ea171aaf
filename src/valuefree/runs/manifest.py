"""The manifest of a run: resolved settings, versions, commit, seeds, fingerprints of the data. No torch."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("valuefree", "torch", "transformers", "accelerate", "datasets", "peft", "numpy")

# Files of a run's folder.
MANIFEST = "manifest.json"
COMPLETIONS = "completions.jsonl"  # rows of prompt, responses by system, rewards by system
HELD_OUT = "held_out.jsonl"  # the rows of the prompts that are reported on
SELECTION = "selection.jsonl"  # the rows of the prompts by which settings are selected
STRENGTH = "strength.json"  # scale of the saved policy, where 1 is as trained
PROMPTS = "prompts.npz"  # hashes of the training and validation prompts


def launched() -> tuple[int, int]:
    """Number of this process and how many a launcher such as torchrun started; 0 and 1 without one."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def fingerprint(columns: Mapping[str, Sequence[Any]]) -> str:
    """Hash of the content of columns, row order included."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(columns):
        digest.update(name.encode())
        for value in columns[name]:
            text = json.dumps(value, ensure_ascii=False, sort_keys=True)
            digest.update(text.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def git_commit(folder: Path | None = None) -> str | None:
    """Commit of the source this runs from, ``+changes`` if it differs; None outside a checkout."""
    folder = folder or Path(__file__).parent
    try:
        options = {"cwd": folder, "capture_output": True, "text": True, "check": True, "timeout": 10}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **options).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], **options).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def machine() -> str:
    """Processor and core count, as the platform names them."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    cores = 0
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model, cores = (names[0] if names else model), len(names)
    return f"{model}, {cores or 'unknown number of'} cores, {platform.system()}"


def manifest(command: str, config: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The content of manifest.json; `more` adds, for example, fingerprints and counts."""
    return {
        "command": command,
        "config": dict(config),
        "commit": git_commit(),
        "versions": {"python": sys.version.split()[0]} | {name: _version(name) for name in PACKAGES},
        "machine": machine(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **more,
    }
