"""A real server, started once for all tests that want it."""

from collections.abc import Iterator

import pytest

from evaluation.judging.real_server import RealServer, plain_folder, real_server


@pytest.fixture(scope="session")
def smollm2_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """`transformers serve` with SmolLM2-135M-Instruct; the folder of the model is made once per session."""
    folder = tmp_path_factory.mktemp("smollm2")
    with real_server(plain_folder(folder / "model"), folder / "serve.log") as server:
        yield server
