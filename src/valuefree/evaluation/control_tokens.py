"""Texts that spell control tokens, for servers: they render messages themselves, and may read such text as a turn.

In this process such text stays text (`valuefree.batches.special_tokens`). The tokenizer of a server is not known, so
the forms of the common families are looked for.
"""

import re
from collections.abc import Iterable

CONTROL = re.compile(
    r"<[|｜][^<>\n]{1,40}[|｜]>"  # ChatML, Llama 3, Phi, Qwen; DeepSeek
    r"|</?s>|<(?:bos|eos|pad|unk|mask)>"  # T5, Llama 2, Mistral, Gemma
    r"|</?(?:start|end)_of_(?:turn|role|text)>"  # Gemma, Granite
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|<</?SYS>>"  # Llama 2, Mistral
)


def control_tokens_note(texts: Iterable[str], *, what: str) -> str | None:
    """How many of the texts spell a control token, in a sentence; None if none does."""
    texts = list(texts)
    found = [match.group() for text in texts if (match := CONTROL.search(text))]
    if not found:
        return None
    return (
        f"{len(found)} of {len(texts)} {what} spell a control token, such as {found[0]}. The server applies the chat "
        "template, and may read that text as a turn of the conversation; in this process it would stay text."
    )
