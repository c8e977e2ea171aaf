"""A temporary server for a judge: ``transformers serve`` on a free port of this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from valuefree.errors import ConfigError, JudgeError

NEEDED = ("openai", "fastapi", "uvicorn")
START_SECONDS = 180.0
SAFE_PATH = {"PYTHONSAFEPATH": "1"}  # nothing is imported from the working folder
LOG_END = 2000  # characters of the log in an error


def check_installed() -> None:
    """Check that a server can be started and queried on this machine.

    Raises:
        ConfigError: a package is missing; the message names it.
    """
    lacking = [name for name in NEEDED if find_spec(name) is None]
    if lacking:
        raise ConfigError(
            f"a judge that is served here needs {', '.join(lacking)}: pip install 'valuefree[serving]' fastapi "
            "uvicorn, or choose --judge none."
        )


@contextmanager
def serving(model: str, log: Path) -> Iterator[str]:
    """The address (…/v1) of a server of `model`, a folder or hub name; it ends with the ``with``.

    Raises:
        ConfigError: see `check_installed`. JudgeError: the server does not come up; with the end of its log.
    """
    check_installed()
    port = _free_port()
    root = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", model]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=os.environ | SAFE_PATH
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
            end_of_log = log.read_text(encoding="utf-8", errors="replace")[-LOG_END:]
            raise JudgeError(f"transformers serve ended with status {process.returncode}. Its log ends:\n{end_of_log}")
        try:
            with opener.open(f"{root}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass  # the server does not listen yet, or answers that it is not ready
        time.sleep(0.1)
    raise JudgeError(f"transformers serve did not answer within {START_SECONDS:.0f} s; see {log}.")


def _stop(process: subprocess.Popen) -> None:
    with suppress(ProcessLookupError):  # the process and its children have ended already
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
