"""Tasks in persistent worker processes of one thread each; a task is a module-level function and its arguments."""

import logging
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from typing import Any

Task = tuple[Callable[..., Any], tuple[Any, ...]]
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


class WorkerDied(RuntimeError):
    """A process ended in the middle of a task."""


@contextmanager
def _environment() -> Iterator[None]:
    """Workers inherit it; ours comes back."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(THREADS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def quietly() -> None:
    """How a worker begins: one thread of torch, no output, and an end when its parent ends."""
    import datasets  # noqa: PLC0415  in the worker alone
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("valuefree").setLevel(logging.ERROR)


def _end_with_parent() -> None:
    """Leave when the parent is gone, killed perhaps: a worker of a pool would wait for it for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


class Workers:
    """Processes that are started when first needed and kept until the end of the ``with``.

    Args:
        count: how many at most. begin: what each does first.
    """

    def __init__(self, count: int, begin: Callable[[], None] = quietly):
        self.count, self.begin = count, begin
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """(number of the task, what it returned) as they end; an error of a task is raised.

        A worker that dies (say for want of memory) takes its pool along. What was running then is run again, one at a
        time, and a task in which a worker dies alone is given back as `WorkerDied` in place of a result.
        """
        left, suspects = deque(range(len(tasks))), deque[int]()
        while left or suspects:
            if suspects:
                yield self._alone(tasks, suspects.popleft())
            else:
                yield from self._until_broken(tasks, left, suspects)

    def _submit(self, task: Task) -> Future:
        with _environment():  # processes are started as tasks come in
            if self._pool is None:
                context = multiprocessing.get_context("spawn")  # a forked torch may hang
                self._pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=self.begin)
            function, arguments = task
            return self._pool.submit(function, *arguments)

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _alone(self, tasks: Sequence[Task], number: int) -> tuple[int, Any]:
        try:
            return number, self._submit(tasks[number]).result()
        except BrokenProcessPool as error:
            self._close()
            return number, WorkerDied(f"its worker process died in the middle of it: {error}")

    def _until_broken(self, tasks: Sequence[Task], left: deque[int], suspects: deque[int]) -> Iterator[tuple[int, Any]]:
        """Results until all tasks of `left` are done, or the pool breaks; then `suspects` has what was running."""
        running: dict[Future, int] = {}
        try:
            while left or running:
                while left and len(running) < self.count:
                    running[self._submit(tasks[left[0]])] = left[0]
                    left.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            self._close()
            suspects.extend(running.values())
