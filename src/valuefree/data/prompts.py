"""A prompt as chat messages, and as text."""

from collections.abc import Mapping, Sequence

Prompt = str | Sequence[Mapping[str, str]]


def as_messages(prompt: Prompt) -> list[dict[str, str]]:
    """A prompt as chat messages; a string becomes one user message."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": message["role"], "content": message["content"]} for message in prompt]


def as_text(prompt: Prompt) -> str:
    """A prompt as text, for people and for models without a chat template.

    A single user message is its content; several messages become ``role: content`` lines.
    """
    messages = as_messages(prompt)
    if len(messages) == 1 and messages[0]["role"] == "user":
        return messages[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
