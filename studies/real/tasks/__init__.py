"""The tasks of the study on real language models, each with a reward that a program computes."""

import random
from importlib import import_module

from studies.real.scale import TEST, VALIDATION
from studies.real.tasks.task import Task
from valuefree.errors import ConfigError

NAMES = ("constraints", "sentiment", "reading", "brevity", "toxicity")


def task_named(name: str) -> Task:
    """The task; its reward's library is imported here and not before.

    Raises:
        ConfigError: an unknown name, or a library that is not installed.
    """
    if name not in NAMES:
        raise ConfigError(f"unknown task {name!r}; choose from {', '.join(NAMES)}.")
    try:
        return import_module(f"studies.real.tasks.{name}").TASK
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"task {name!r} needs the package {error.name!r}, which is not installed: pip install -e '.[studies]', or "
            "for toxicity pip install alt-profanity-check."
        ) from error


def parts_of(task: str) -> tuple[list[str], list[str], list[str]]:
    """Prompts to train on, to choose settings by, and to report on; the same for every run of a task."""
    prompts = task_named(task).prompts()
    random.Random(task).shuffle(prompts)
    return prompts[TEST + VALIDATION :], prompts[TEST : TEST + VALIDATION], prompts[:TEST]
