"""`transformers serve` with SmolLM2-135M-Instruct on this machine: a real, weak judge behind a real server."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studies.paper.served import serving
from valuefree.demo.smollm2 import smollm2_file
from valuefree.models.load import load_model


@dataclass(frozen=True)
class RealServer:
    """A server that answers.

    Attributes:
        address: its API, http://127.0.0.1:<port>/v1.
        model: the only name of a model that it accepts.
    """

    address: str
    model: str


def plain_folder(folder: Path) -> Path:
    """SmolLM2 as `save_pretrained` writes it, dequantised: 0.5 GB.

    Raises:
        ConfigError: its package is not installed.
    """
    model, tokenizer = load_model(str(smollm2_file()))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextlib.contextmanager
def real_server(model: Path, log: Path) -> Iterator[RealServer]:
    """Serve the folder `model` until the context closes; the whole process group ends with it.

    Raises:
        JudgeError: the server ended, or did not come up; with the end of its log.
    """
    with serving(str(model), log) as address:
        yield RealServer(address, str(model))
