"""A judge's server: started, waited for, ended; each with a stand-in for `transformers serve` that takes no seconds."""

import sys
import time
import urllib.request
from pathlib import Path

import pytest

from studies.options import StudyPaperConfig
from studies.paper import served
from studies.paper.run import study
from studies.paper.served import serving
from valuefree.errors import ConfigError, JudgeError

SERVER = """
import http.server, os, subprocess, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("serving", sys.argv[2], "child", child.pid, flush=True)
answers = iter([503, 200, 200])

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(next(answers) if self.path == "/health" else 404)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
ENDS = "import sys; print('x' * 5000); print('no such model:', sys.argv[2]); sys.exit(3)"
DEAF = "import time; print('loading', flush=True); time.sleep(600)"


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """An interpreter that runs the given program whatever module it is asked for."""

    def install(program: str) -> None:
        script = tmp_path / "server.py"
        script.write_text(program)
        fake = tmp_path / "python"
        fake.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {script} "$@"\n')  # without -m and the module
        fake.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(fake))

    return install


def alive(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_it_is_yielded_when_it_is_well_and_ends_with_all_it_started(stand_in, tmp_path):
    stand_in(SERVER)
    log = tmp_path / "logs" / "serve.log"
    with serving("some/model", log) as address:
        assert address.endswith("/v1")
        said = log.read_text().split()
        assert said[:2] == ["serving", "some/model"]
        child = int(said[3])
        assert alive(child)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert opener.open(address.removesuffix("/v1") + "/health", timeout=5).status == 200
    end = time.monotonic() + 10
    while alive(child):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_server_that_ends_at_once_is_an_error_with_the_end_of_its_log(stand_in, tmp_path):
    stand_in(ENDS)
    with pytest.raises(JudgeError, match=r"ended with status 3") as raised, serving("a/model", tmp_path / "log"):
        pass
    assert "no such model: a/model" in str(raised.value)
    assert len(str(raised.value)) < 2500


def test_a_server_that_never_answers_is_given_up_and_ended(stand_in, tmp_path, monkeypatch):
    stand_in(DEAF)
    monkeypatch.setattr(served, "START_SECONDS", 0.6)
    with pytest.raises(JudgeError, match=r"did not answer within 1 s; see .*log"), serving("m", tmp_path / "log"):
        pass
    found = [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path / "server.py").encode() in _read(p)]
    assert found == []


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def test_an_error_within_ends_the_server_too(stand_in, tmp_path):
    stand_in(SERVER)
    log = tmp_path / "log"
    with pytest.raises(ZeroDivisionError), serving("m", log):
        raise ZeroDivisionError
    child = int(log.read_text().split()[3])
    end = time.monotonic() + 10
    while alive(child):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_a_server_needs_is_missed_before_any_run(tmp_path, monkeypatch):
    monkeypatch.setattr(served, "NEEDED", ("openai", "no_such_module"))
    with pytest.raises(ConfigError, match="needs no_such_module: pip install"), serving("m", tmp_path / "log"):
        pass
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="needs no_such_module"):
        study(StudyPaperConfig(out=str(out), judge=("m@serve",)), say=lambda _: None)
    assert not out.exists()
    assert list(tmp_path.iterdir()) == []
