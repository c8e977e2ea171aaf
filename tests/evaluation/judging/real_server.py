"""`transformers serve` with SmolLM2-135M-Instruct on this machine: a real, weak judge behind a real server."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from valuefree.demo.smollm2 import smollm2_file
from valuefree.models import load_model

START_SECONDS = 120.0


@dataclass(frozen=True)
class RealServer:
    """A server that answers.

    Attributes:
        address: its API, http://127.0.0.1:<port>/v1.
        model: the only name of a model that it accepts.
        log: the file that its output goes to.
        start_seconds: from its start to its first sign of health.
    """

    address: str
    model: str
    log: Path
    start_seconds: float


def plain_folder(folder: Path) -> Path:
    """SmolLM2 as `save_pretrained` writes it, dequantised: 0.5 GB.

    Raises:
        ConfigError: its package is not installed.
    """
    model, tokenizer = load_model(str(smollm2_file()))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def free_port() -> int:
    """A port that nobody listens at, for now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def healthy(root: str) -> bool:
    """Whether the server answers that it is well."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{root}/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@contextlib.contextmanager
def real_server(model: Path, log: Path) -> Iterator[RealServer]:
    """Serve the folder `model` until the context closes; the whole process group ends with it.

    Raises:
        RuntimeError: the server ended, or was not well within two minutes; with the end of its log.
    """
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--log-level", "info"]
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
            start_new_session=True,
        )
    try:
        while not healthy(root):
            seconds = time.monotonic() - started
            if process.poll() is not None or seconds > START_SECONDS:
                end = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                state = "is not well" if process.poll() is None else f"ended with {process.returncode}"
                raise RuntimeError(f"`{' '.join(command)}` {state} after {seconds:.0f} s. Its log ends:\n{end}")
            time.sleep(0.1)
        yield RealServer(f"{root}/v1", str(model), log, time.monotonic() - started)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
