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


def _begin() -> None:
    """Of a worker: one thread, and quiet."""
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


def carry_out(tasks: Sequence[Task], workers: int) -> Iterator[tuple[int, Any]]:
    """(number of the task, what it returned) as they end; an error of a task is raised.

    A worker that dies (say for want of memory) takes its pool along. What was running then is run again, one at a time,
    and a task in which a worker dies alone is given back as `WorkerDied` in place of a result.
    """
    left, suspects = deque(range(len(tasks))), deque[int]()
    with _environment():
        while left or suspects:
            if suspects:
                yield _alone(tasks, suspects.popleft())
            else:
                yield from _until_broken(tasks, workers, left, suspects)


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)


def _alone(tasks: Sequence[Task], number: int) -> tuple[int, Any]:
    function, arguments = tasks[number]
    with _pool(1) as pool:
        try:
            return number, pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            return number, WorkerDied(f"its worker process died in the middle of it: {error}")


def _until_broken(
    tasks: Sequence[Task], workers: int, left: deque[int], suspects: deque[int]
) -> Iterator[tuple[int, Any]]:
    """Results until all tasks of `left` are done, or the pool breaks; then `suspects` has what was running."""
    running: dict[Future, int] = {}
    with _pool(min(workers, len(left))) as pool:
        try:
            while left or running:
                while left and len(running) < workers:
                    function, arguments = tasks[left[0]]
                    running[pool.submit(function, *arguments)] = left[0]
                    left.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            suspects.extend(running.values())
