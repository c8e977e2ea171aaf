"""Files that are complete whenever they exist. No torch."""

import os
import tempfile
from pathlib import Path


def write_text(file: Path, text: str) -> None:
    """Write to a temporary file and rename it, so that a file that exists is complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".part", delete=False, encoding="utf-8") as part:
        part.write(text)
        part.flush()
        os.fsync(part.fileno())
    Path(part.name).replace(file)
