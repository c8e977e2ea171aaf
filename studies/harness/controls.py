"""Controls: permutations of the rewards of the training rows, and what each removes. No torch.

A gain that a method keeps after a permutation did not need what that permutation removes. It may still come from the
rewards: permuting within prompts keeps the prompts' mean rewards, permuting between prompts keeps the order of a
prompt's responses. Only both together leave nothing of the rewards but their values.
"""

import random
from collections.abc import Sequence

REMOVES = {
    "within": (
        "each prompt's rewards permuted among its own responses. Removes what distinguishes a prompt's responses; "
        "keeps the prompts' mean rewards"
    ),
    "between": (
        "the rewards of a whole prompt exchanged for those of another with equally many responses, and handed out in "
        "the order of the prompt's own rewards. Removes the prompts' mean rewards and how much rewards differ within a "
        "prompt; keeps which of its responses are better"
    ),
    "both": (
        "whole prompts' rewards exchanged and handed out at random. Removes all that the rewards say about prompts and "
        "responses"
    ),
}
UNUSED = (
    "A method is said not to have detectably used what a permutation removes when the 95 % interval of its true gain "
    "minus its gain after the permutation, paired by seed, includes zero (to the three digits shown), and not to have "
    "detectably used the rewards when that holds for the permutation that removes all"
)
DIGITS = 3


def controls_of(responses: int) -> tuple[str, ...]:
    """The permutations that differ with so many responses per prompt: with one, only that between prompts."""
    return tuple(REMOVES) if responses > 1 else ("between",)


def removes_all(controls: Sequence[str]) -> str | None:
    """The permutation, of those that were run, that leaves nothing but the values; None without any."""
    return "both" if "both" in controls else "between" if "between" in controls and "within" not in controls else None


def permuted(rewards: Sequence[float], prompt_of: Sequence[int], control: str, *, seed: int) -> list[float]:
    """The rewards of all rows after the permutation `control`, a key of `REMOVES`."""
    generator = random.Random(seed)
    members: dict[int, list[int]] = {}
    for row, prompt in enumerate(prompt_of):
        members.setdefault(prompt, []).append(row)
    source = {prompt: prompt for prompt in members}
    if control != "within":
        for size in sorted({len(rows) for rows in members.values()}):
            alike = [prompt for prompt, rows in members.items() if len(rows) == size]
            source |= dict(zip(alike, generator.sample(alike, len(alike)), strict=True))
    result = list(rewards)
    for prompt, rows in members.items():
        given = [rewards[row] for row in members[source[prompt]]]
        takers = generator.sample(rows, len(rows))
        if control == "between":
            takers, given = sorted(takers, key=lambda row: rewards[row]), sorted(given)
        for row, reward in zip(takers, given, strict=True):
            result[row] = reward
    return result
