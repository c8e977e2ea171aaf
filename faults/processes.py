"""Commands in forked processes: what they need is imported once, so that a try takes a second and not ten."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

# Before the libraries are imported: a forked process must not wait for threads of its parent, and bars are no messages.
os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

import torch

from valuefree.cli.main import main as valuefree
from valuefree.report import write

torch.set_num_threads(1)
TIME_LIMIT = 120  # seconds for a command that takes a few


class Child:
    """A command line in a forked process; `log` receives all that it prints.

    Args:
        arguments: after the name of the command.
        log: a file.
        main: entry point of the command.
        before: is called in the new process first, for example to limit it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        *,
        main: Callable[[], None] = valuefree,
        before: Callable[[], None] | None = None,
    ):
        self.log = log
        self._code: int | None = None
        log.write_bytes(b"")
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _carry_out(arguments, log, main, before)

    def running(self) -> bool:
        """Whether the process has not ended."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code is None

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self.running():
            os.kill(self.pid, signal.SIGKILL)
        while self.running():
            time.sleep(0.001)

    def await_times(self, happened: Callable[[], bool], times: int) -> None:
        """Return when something has begun to be true for so many times, or when the process has ended."""
        seen, there = 0, False
        while self.running():
            before, there = there, happened()
            seen += there and not before
            if seen >= times:
                return
            time.sleep(0.0005)

    def finish(self) -> tuple[int | None, str]:
        """Exit code (None after the time limit) and what was printed."""
        end = time.monotonic() + TIME_LIMIT
        while self.running() and time.monotonic() < end:
            time.sleep(0.002)
        code = self._code
        self.kill()
        return code, self.log.read_text(encoding="utf-8", errors="replace")


def _leave_figures_blank() -> None:
    """Drawing them is most of the time of a small run, and no other result depends on them."""
    write.laid_out = lambda figure: nullcontext()
    write.svg_of = lambda figure, salt: b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    write.png_of = lambda figure: b""


def _carry_out(
    arguments: Sequence[str], log: Path, main: Callable[[], None], before: Callable[[], None] | None
) -> None:
    """Of the forked process: as if the interpreter had been started with this command; never returns."""
    code, stdout = 1, sys.stdout
    try:
        with Path(os.devnull).open("rb") as nothing, log.open("wb") as said:
            os.dup2(nothing.fileno(), 0)
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        stdout = sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        sys.argv = ["valuefree", *arguments]
        _leave_figures_blank()
        if before is not None:
            before()
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            stdout.flush()
        os._exit(code)


def unexpected(said: str) -> bool:
    """Whether an exception reached the user that the command does not know: as a traceback, or as a fault to report."""
    return "Traceback" in said or "This is a fault of valuefree" in said


def last_line(said: str) -> str:
    """The last line that was printed; empty where there is none."""
    return next((line for line in reversed(said.splitlines()) if line.strip()), "")
