"""A prompt as chat messages with what a chat template reads beside them, and as text."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from valuefree.errors import DataError

Message = Mapping[str, Any]
Prompt = str | Sequence[Message] | Mapping[str, Any]
"""Text, a list of messages, or ``{"messages": …, "tools": …, "chat_template_kwargs": …}``."""

PARTS = ("messages", "tools", "chat_template_kwargs")


@dataclass(frozen=True)
class Conversation:
    """Chat messages, and what a chat template reads beside them.

    messages: each has ``role`` and ``content`` (text or None), and maybe ``tool_calls``, ``tool_call_id``, ``name``,
    ``reasoning_content`` and other fields. tools: function schemas that the model may call. template_options: further
    variables of the chat template, such as ``enable_thinking``.
    """

    messages: list[dict[str, Any]]
    tools: list[Any] | None = None
    template_options: dict[str, Any] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether there is nothing but text in messages."""
        texts = all(len(message) == 2 and message["content"] is not None for message in self.messages)
        return texts and not self.tools and not self.template_options

    def prompt(self) -> Prompt:
        """The conversation as a prompt: a list of messages with text alone, or the full form with what it needs."""
        plain = all(
            message.keys() == {"role", "content"} and message["content"] is not None for message in self.messages
        )
        if plain and not self.tools and not self.template_options:
            return self.messages
        parts = zip(PARTS, (self.messages, self.tools, self.template_options), strict=True)
        return {name: value for name, value in parts if value}


def conversation_of(prompt: Prompt) -> Conversation:
    """A prompt as a conversation; a string becomes one user message."""
    if isinstance(prompt, str):
        return Conversation([{"role": "user", "content": prompt}])
    if not isinstance(prompt, Mapping):
        return Conversation([dict(message) for message in prompt])
    parts = [prompt.get(name) for name in PARTS]
    messages, tools, options = (json.loads(part) if isinstance(part, str) else part for part in parts)
    if messages is None:
        raise DataError(f"a prompt has no messages: {prompt!r}"[:200])
    return Conversation(messages, tools, options or {})


def as_messages(prompt: Prompt) -> list[dict[str, Any]]:
    """A prompt as chat messages; a string becomes one user message."""
    return conversation_of(prompt).messages


def encoded(prompt: Prompt) -> dict[str, str | None]:
    """A prompt as `data` stores it where any prompt needs the full form: each part as JSON text."""
    conversation = conversation_of(prompt)
    parts = (conversation.messages, conversation.tools, conversation.template_options)
    return {name: json_text(part) if part else None for name, part in zip(PARTS, parts, strict=True)}


def decoded(prompt: Prompt) -> Prompt:
    """A stored prompt in the form in which prompts are given and written; see `Prompt`."""
    return conversation_of(prompt).prompt() if isinstance(prompt, Mapping) else prompt


def as_text(prompt: Prompt) -> str:
    """A prompt as text, for people and for models without a chat template.

    A single user message is its content; several messages become ``role: content`` lines. Tools and further fields of a
    message follow as ``name: JSON`` lines. Variables of a chat template are left out.
    """
    conversation = conversation_of(prompt)
    messages, tools = conversation.messages, conversation.tools
    if not tools and len(messages) == 1 and messages[0]["role"] == "user" and len(messages[0]) == 2:
        return messages[0]["content"]
    lines = [f"tools: {json_text(tools)}"] if tools else []
    return "\n".join([*lines, *(f"{message['role']}: {message_text(message)}" for message in messages)])


def message_text(message: Message) -> str:
    """The content of a message, and its further fields as ``name: JSON`` lines."""
    more = [f"{name}: {json_text(value)}" for name, value in message.items() if name not in ("role", "content")]
    return "\n".join([*([message["content"]] if message["content"] is not None else []), *more])


def json_text(value: Any) -> str:
    """JSON in one line, without escapes for characters beyond ASCII."""
    return json.dumps(value, ensure_ascii=False)
