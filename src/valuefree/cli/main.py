"""Entry point of the command line: parse the options, then import and run the module of the verb."""

import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from valuefree import __version__
from valuefree.cli.failures import system_failure
from valuefree.cli.options import VERBS, module_of
from valuefree.cli.options.groups import DataOptions, Options
from valuefree.cli.output import carry_out, ignore_library_warnings
from valuefree.cli.parse import parse, unknown
from valuefree.cli.stopping import Stopped
from valuefree.errors import ConfigError, ValueFreeError
from valuefree.runs.lock import locked
from valuefree.runs.manifest import launched
from valuefree.runs.run_folder import VERBS as VERBS_OF_RUNS

UNEXPECTED = "This is a fault of valuefree, not of the command"
DEBUG = "--debug"
LONGEST = 1000  # characters of a line of a message
LOCKED = (*VERBS_OF_RUNS, "judge", "prepare")  # verbs that write several files into a folder

USAGE = f"""valuefree {__version__}: a better policy from scalar feedback, offline, without a value network

usage: valuefree VERB [options]

{{verbs}}

valuefree VERB --help lists the options of a verb; every verb takes --config FILE, a YAML recipe.
With --debug an error is shown with its traceback.
Exit codes: 0 done, 1 failed by its data or while it ran, 2 invalid options, 130 or 143 stopped by
Ctrl-C or SIGTERM.
"""


def _listed() -> str:
    return "\n".join(f"  {verb:<12} {about}" for verb, about in VERBS.items())


def run(arguments: Sequence[str]) -> None:
    """Carry out a command line; raises `ValueFreeError` on any fault of the user's."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE.format(verbs=_listed()))
        return
    if arguments[0] == "--version":
        print(__version__)
        return
    verb, *rest = arguments
    if verb not in VERBS:
        raise unknown("verb", verb, list(VERBS))
    options = parse(verb, rest)
    if launched()[0] == 0:
        options.check_outputs()
    with _printed_once(), _held(verb, options):
        carry_out(lambda: _command(verb, options), options)


def _command(verb: str, options: Options) -> Callable[[Any], Any]:
    """The command of a verb. Rows are read before it is imported: a fault in them need not wait for torch."""
    if isinstance(options, DataOptions):
        import_module("valuefree.cli.commands.reading").read_early(options)
    return import_module(f"valuefree.cli.commands.{module_of(verb)}").command


def _held(verb: str, options: Any) -> AbstractContextManager[None]:
    """A lock on the folder that the command writes into, taken by the first of its processes."""
    if verb == "strength":
        folder = options.run if options.apply else None
    elif verb == "export":
        folder = Path(options.gguf).parent
    else:
        folder = options.out if verb in LOCKED and not options.dry_run else None
    return locked(folder) if folder is not None and launched()[0] == 0 else nullcontext()


@contextmanager
def _printed_once() -> Iterator[None]:
    """Of the processes that a launcher started, the first alone prints: the others' lines would repeat its lines."""
    if launched()[0] == 0:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def main() -> None:
    """Entry point of ``valuefree``."""
    number, processes = launched()
    ignore_library_warnings()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("valuefree").setLevel(logging.INFO if number == 0 else logging.ERROR)
    name = "valuefree" if processes == 1 else f"valuefree, process {number}"
    arguments = [argument for argument in sys.argv[1:] if argument != DEBUG]
    for stream in (sys.stdout, sys.stderr):  # texts may contain half of a surrogate pair, which no encoding has
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    exit_with_message(lambda: run(arguments), name=name)


def exit_with_message(command: Callable[[], None], *, name: str) -> None:
    """Run a command; on an error print one message and exit: 2 invalid options, 1 other, 130 Ctrl-C.

    With ``--debug`` among the arguments of the process the traceback comes first.
    """
    try:
        command()
        sys.stdout.flush()  # a full disk must not be noticed after the end
    except ConfigError as error:
        _print_error(f"{name}: {error}")
        sys.exit(2)
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        sys.stdout = None  # type: ignore[assignment]  # so that the interpreter does not flush it at exit
        sys.exit(141)
    except Stopped:
        raise
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        sys.exit(130)
    except ValueFreeError as error:
        _print_error(f"{name}: {error}")
        sys.exit(1)
    except Exception as error:
        failure = system_failure(error) or (
            f"{type(error).__name__}: {error}\n{UNEXPECTED}. Please report it, with the command, the version "
            f"({__version__}) and the traceback, which the same command shows with {DEBUG}."
        )
        _print_error(f"{name}: {failure}")
        with suppress(OSError):
            sys.stdout.flush()
        sys.stdout = None  # type: ignore[assignment]  # what it still holds cannot be written
        sys.exit(1)


def _print_error(message: str) -> None:
    """Print a message, with the end of very long lines left out; with ``--debug`` after the traceback."""
    if DEBUG in sys.argv:
        traceback.print_exc()
    for line in message.split("\n"):
        print(line if len(line) <= LONGEST else f"{line[:LONGEST]} …", file=sys.stderr)
