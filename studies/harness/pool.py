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
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "PYTHONSAFEPATH": "1",  # nothing is imported from the working folder
}


class WorkerDied(RuntimeError):
    """A process ended in the middle of a task."""


@contextmanager
def _environment() -> Iterator[None]:
    """The environment that workers inherit; that of this process is restored."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start_worker() -> None:
    """Prepare a worker: one thread of torch, no output, and an end when its parent ends."""
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
    """Leave when the parent has ended, perhaps killed: a worker of a pool would otherwise wait for it for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


class Workers:
    """Processes that are started when first needed and kept until the end of the ``with`` block.

    Args:
        count: at most so many; None: one per core. begin: what each does first.
    """

    def __init__(self, count: int | None, begin: Callable[[], None] = start_worker):
        self.count, self.begin = count or os.cpu_count() or 1, begin
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """(number of the task, its result) as tasks end; an exception of a task is raised.

        A worker that dies (for example for want of memory) takes its pool along. The tasks that were running then are
        run again one at a time, and a task in which a worker dies alone yields a `WorkerDied` as its result.
        """
        left, suspects, running = deque(range(len(tasks))), deque[int](), dict[Future, int]()
        while left or suspects or running:
            alone = bool(suspects)
            queue, limit = (suspects, 1) if alone else (left, self.count)
            try:
                while queue and len(running) < limit:
                    running[self._submit(tasks[queue[0]])] = queue[0]
                    queue.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield running.pop(future), result
            except BrokenProcessPool as error:
                self._close()
                if alone and running:
                    yield running.popitem()[1], WorkerDied(f"its worker process died in the middle of it: {error}")
                suspects.extend(running.values())
                running.clear()

    def run_all(self, tasks: Sequence[Task]) -> None:
        """Run tasks without which a study cannot go on.

        Raises:
            WorkerDied: a process of these tasks died.
        """
        for _, result in self.run(tasks):
            if isinstance(result, WorkerDied):
                raise result

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
