"""A judge's server for as long as it is needed: ``transformers serve`` on a free port of this machine."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valuefree.errors import ConfigError, JudgeError
from valuefree.evaluation.metrics.extra import library

logger = logging.getLogger(__name__)

START_SECONDS = 180.0


@contextmanager
def serving(model: str, log: Path) -> Iterator[str]:
    """The address (…/v1) of a server of `model`, a folder or hub name; it ends with the ``with``.

    Raises:
        ConfigError: the extra ``serving`` is not installed. JudgeError: the server does not come up.
    """
    library("openai")
    port = _free_port()
    root = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", model]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=os.environ.copy()
        )
        try:
            _wait_for(process, root, log)
            yield f"{root}/v1"
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(process: subprocess.Popen, root: str, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            said = log.read_text(encoding="utf-8", errors="replace")[-400:]
            if "No module named" in said:
                raise ConfigError(f"transformers serve did not start: {said}\nInstall valuefree[serving] with fastapi.")
            raise JudgeError(f"transformers serve ended with status {process.returncode}: {said}")
        try:
            with opener.open(f"{root}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.5)
    raise JudgeError(f"transformers serve did not answer within {START_SECONDS:.0f} s; see {log}.")


def _stop(process: subprocess.Popen) -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
