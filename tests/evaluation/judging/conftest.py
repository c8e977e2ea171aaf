"""A real server, started once for all tests that want it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluation.judging.real_server import RealServer, plain_folder, real_server


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of SmolLM2-135M-Instruct, made once per session."""
    return plain_folder(tmp_path_factory.mktemp("smollm2") / "model")


@pytest.fixture(scope="session")
def smollm2_server(smollm2: Path) -> Iterator[RealServer]:
    """`transformers serve` with SmolLM2-135M-Instruct."""
    with real_server(smollm2, smollm2.parent / "serve.log") as server:
        yield server
