"""What a task is: prompts, a reward that a program computes, and how another author would be asked. No torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One task.

    name: in files and tables. about: what the reward measures, in one sentence. licence: of what the reward is computed
    with, and where the prompts come from. prompts: all of them, each once. reward: of responses to prompts, one number
    each; it is 0 for an empty response. hint: what is added to a prompt for rows of another author.
    """

    name: str
    about: str
    licence: str
    prompts: Callable[[], list[str]]
    reward: Callable[[Sequence[str], Sequence[str]], list[float]]
    hint: str
