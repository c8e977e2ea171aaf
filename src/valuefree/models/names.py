"""What the name of a model means, before anything is loaded: a folder that is there, or a name on the hub."""

import difflib
import os
import re
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

from huggingface_hub import constants

from valuefree.errors import ConfigError

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
PROBE_SECONDS = 5


def check_local(name: str) -> None:
    """Raise ConfigError for a name that can only be a folder or file, and is none; it gives the nearest name there.

    A name is local if it ends in ``.gguf``, starts with ``.``, ``/`` or ``~``, has no form of a hub name, or names
    something within a folder that exists.
    """
    path = Path(name)
    if path.exists():
        return
    within = "/" in name and path.parent.is_dir()
    local = path.suffix == ".gguf" or name[:1] in (".", "/", "~") or not HUB_NAME.fullmatch(name)
    if not (local or within):
        return
    there = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, there, n=1)
    advice = f"did you mean {path.parent / near[0]}?" if near else "give a folder, a .gguf file, or a name on the hub."
    raise ConfigError(f"no such model folder: {name}; {advice}")


@cache
def unreachable() -> str | None:
    """Why the hub cannot be asked, in words; None where it answers. Asked once per process.

    Without this question, huggingface_hub tries for about a minute per file.
    """
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    request = urllib.request.Request(os.environ.get("HF_ENDPOINT", constants.ENDPOINT), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return None
    except urllib.error.HTTPError:  # an answer
        return None
    except (urllib.error.URLError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        connected = not isinstance(reason, (OSError, TimeoutError)) or "certificate" in str(reason).lower()
        return None if connected else f"{constants.ENDPOINT} cannot be reached ({reason})"
