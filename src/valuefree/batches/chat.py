"""Conversations through a chat template: prompts, responses of several messages, and fields that a template ignores."""

import logging
from dataclasses import dataclass, field, replace
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from valuefree.batches.special_tokens import SpecialTokens
from valuefree.batches.turns import stop_ids
from valuefree.data.prompts import Conversation, Prompt, conversation_of
from valuefree.errors import DataError

logger = logging.getLogger(__name__)

NEEDED = ("tools", "tool_calls", "function_call")  # a conversation without these is another conversation
OPTIONS = "chat_template_kwargs"
CHARACTERS = 60  # of a prompt in messages


def row_name(row: int, prompt: Prompt) -> str:
    """A row in messages: its number among the rows that are trained on, and the start of its prompt's last message."""
    texts = [message["content"] for message in conversation_of(prompt).messages if message["content"]]
    return f"row {row} (prompt {texts[-1][:CHARACTERS]!r})" if texts else f"row {row}"


class RenderError(Exception):
    """A chat template that cannot render a conversation; the message says why."""


def render(tokenizer: PreTrainedTokenizerBase, conversation: Conversation, *, generation_prompt: bool) -> str:
    """The conversation as text of the tokenizer's chat template.

    A null content is passed on as null, or as an empty text where the template would fail or print it as "None".

    Raises:
        RenderError: the template fails on these messages.
    """
    if all(message["content"] is not None for message in conversation.messages):
        return _applied(tokenizer, conversation, generation_prompt)
    filled = [{**message, "content": message["content"] or ""} for message in conversation.messages]
    without_null = _applied(tokenizer, replace(conversation, messages=filled), generation_prompt)
    try:
        with_null = _applied(tokenizer, conversation, generation_prompt)
    except RenderError:
        return without_null
    return without_null if with_null.count("None") > without_null.count("None") else with_null


def _applied(tokenizer: PreTrainedTokenizerBase, conversation: Conversation, generation_prompt: bool) -> str:
    try:
        text = tokenizer.apply_chat_template(
            conversation.messages,
            tools=conversation.tools,
            add_generation_prompt=generation_prompt,
            tokenize=False,
            **conversation.template_options,
        )
    except (TemplateError, TypeError, KeyError, AttributeError, ValueError) as error:  # what a template may raise
        roles = ", ".join(message["role"] for message in conversation.messages)
        raise RenderError(f"the chat template cannot render these messages ({roles}): {error}") from error
    return str(text)


@dataclass
class IgnoredFields:
    """Fields of conversations that the chat template does not read, found by rendering without them.

    ignored: for each such field the first row that has it and the number of rows. read: fields that the template reads.
    """

    read: set[str] = field(default_factory=set)
    ignored: dict[str, tuple[str, int]] = field(default_factory=dict)

    def check(
        self, tokenizer: PreTrainedTokenizerBase, prompt: Conversation, turns: list[dict[str, Any]], row: int
    ) -> None:
        """Compare the rendered prompt, and the conversation with the response's `turns`, with those without a field.

        Raises:
            RenderError: the template cannot render the conversation.
        """
        texts = _renderings(tokenizer, prompt, turns)
        for name in _field_names(prompt, turns) - self.read:
            try:
                changes = _renderings(tokenizer, _without(prompt, name), _messages_without(turns, name)) != texts
            except RenderError:
                changes = True  # the template needs the field
            if changes:
                self.read.add(name)
                self.ignored.pop(name, None)
            else:
                first, count = self.ignored.get(name, (row_name(row, prompt.prompt()), 0))
                self.ignored[name] = first, count + 1

    def report(self, template: str) -> None:
        """Log the ignored fields.

        Raises:
            DataError: tools or tool calls are ignored.
        """
        said = {name: f"{name} ({count} rows, first: {first})" for name, (first, count) in self.ignored.items()}
        needed = [text for name, text in said.items() if name in NEEDED]
        if needed:
            raise DataError(
                f"{template} does not render {', '.join(needed)}, so the model would see other conversations. "
                "Remove these rows from the file (--on-bad drop does not cover them), or choose a model whose chat "
                "template supports tools."
            )
        if said:
            logger.warning("%s does not read %s; it has no effect here", template, ", ".join(said.values()))


def _renderings(
    tokenizer: PreTrainedTokenizerBase, prompt: Conversation, turns: list[dict[str, Any]]
) -> tuple[str, ...]:
    """The prompt up to where a response starts and, if the response has messages, the whole conversation."""
    start = render(tokenizer, prompt, generation_prompt=True)
    if not turns:
        return (start,)
    whole = replace(prompt, messages=[*prompt.messages, *turns])
    return start, render(tokenizer, whole, generation_prompt=False)


def _field_names(prompt: Conversation, turns: list[dict[str, Any]]) -> set[str]:
    names = {name for message in [*prompt.messages, *turns] for name in message} - {"role", "content"}
    names |= {f"{OPTIONS}.{name}" for name in prompt.template_options}
    return names | {"tools"} if prompt.tools else names


def _without(prompt: Conversation, name: str) -> Conversation:
    if name == "tools":
        return replace(prompt, tools=None)
    if name.startswith(OPTIONS):
        kept = {key: value for key, value in prompt.template_options.items() if f"{OPTIONS}.{key}" != name}
        return replace(prompt, template_options=kept)
    return replace(prompt, messages=_messages_without(prompt.messages, name))


def _messages_without(messages: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in message.items() if key != name} for message in messages]


def turns_ids(special: SpecialTokens, prompt: Conversation, messages: list[dict[str, Any]]) -> list[int]:
    """Token ids of a response that consists of messages, with placeholders for special tokens that they spell.

    The ids of the assistant's messages are those that the template writes for them, with the token that ends each.
    Everything between them, such as the results of tools, is context: token t is written as ~t, a negative number
    (see `valuefree.batches.rendering.tokenize`).

    Raises:
        RenderError: the template fails, or renders the beginning of the conversation differently once it continues.
    """
    tokenizer = special.tokenizer
    done = render(tokenizer, prompt, generation_prompt=True)
    ids: list[int] = []
    stops = stop_ids(tokenizer)
    for number, message in enumerate(messages):
        last = number + 1 == len(messages)
        own = message["role"] == "assistant"
        if not own and not last and messages[number + 1]["role"] != "assistant":
            continue  # a run of other messages is rendered as a whole
        so_far = replace(prompt, messages=[*prompt.messages, *messages[: number + 1]])
        text = render(tokenizer, so_far, generation_prompt=not own)
        if not text.startswith(done):
            raise RenderError(
                f"the chat template renders the messages before number {number + 1} of the response differently once "
                "the conversation continues, so they cannot be trained as they were generated; train on the last "
                "message alone (train_on='last', --train-on last)"
            )
        piece = special.template_ids([text[len(done) :]])[0]
        end = max((place for place, token in enumerate(piece) if token in stops), default=len(piece) - 1) + 1
        if own:
            ids += piece[:end]
            ids += [] if last else [~token for token in piece[end:]]
        else:
            ids += [~token for token in piece]
        done = text
    return ids if ids[-1] in stops else [*ids, stops[0]]
