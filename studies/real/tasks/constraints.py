"""Everyday instructions with constraints that a program checks: the demo's task. No torch."""

from studies.real.tasks.task import Task
from valuefree.data.triplets import prompts_of
from valuefree.demo.data import feedback, reward

TASK = Task(
    name="constraints",
    about="0.85 × share of the prompt's constraints that the response keeps + 0.15 if it is on topic",
    licence="prompts and reward are those of valuefree demo (Apache-2.0)",
    prompts=lambda: [str(prompt) for prompt in prompts_of(feedback())],
    reward=reward,
    hint="Follow every instruction to the letter, and be brief.",
)
