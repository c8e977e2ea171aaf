"""SIGTERM and SIGINT: the command is left in order, and ends with 143 or 130, so that ``train && next`` stops.

Handlers are set before anything heavy is imported. While a model is trained, the trainer has handlers of its own, which
save a checkpoint (`valuefree.training.callbacks.StopOnSignal`).
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_received: list[signal.Signals] = []


class Stopped(KeyboardInterrupt):
    """A signal has asked the command to stop. What is open is closed on the way out."""


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """Raise `Stopped` in the block on a signal, and end the process with 128 + its number.

    An import or a library may turn the exception into another one, or drop it; the process ends in the same way. A
    second signal ends it at once.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and a shell's & leave it
            signal.signal(number, _stop)
    try:
        yield
    except BaseException:
        if not _received:
            raise
    finally:
        for number in SIGNALS:  # nothing is left to do in order, and an exception in the interpreter's end is no help
            if signal.getsignal(number) is _stop:
                signal.signal(number, signal.SIG_DFL)
    if _received:
        print(f"valuefree: stopped by {_received[0].name}", file=sys.stderr)
        sys.exit(128 + _received[0])


def _stop(number: int, frame: FrameType | None) -> None:
    if _received:
        os._exit(128 + number)
    _received.append(signal.Signals(number))
    raise Stopped
