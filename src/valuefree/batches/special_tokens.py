"""Texts of users that spell a special token of the tokenizer: they stay text, and never become the token.

Only tokens that the tokenizer calls special count. Other added tokens, such as ``<tool_call>`` of some families, are
written by models as a part of their text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from valuefree.batches.turns import token_ids
from valuefree.data.prompts import Conversation
from valuefree.errors import DataError

FIRST_PLACEHOLDER = 0xF0000  # of a private use area, in no text
NEUTRAL = "x"


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens of a tokenizer: a pattern of their texts, and a placeholder for each."""

    tokenizer: PreTrainedTokenizerBase
    ids: dict[str, int]
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "SpecialTokens":
        """The special tokens of this tokenizer."""
        ids = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        texts = sorted(filter(None, ids), key=len, reverse=True)
        return cls(tokenizer, ids, re.compile("|".join(map(re.escape, texts)) or r"(?!)"))

    def in_text(self, text: str) -> bool:
        """Whether the text spells a special token."""
        return self.pattern.search(text) is not None

    def hidden(self, value: Any) -> Any:
        """The value with a placeholder for each special token in its strings; mappings and lists are searched."""
        if isinstance(value, str):
            return self.pattern.sub(lambda found: self._placeholder(found.group()), value)
        if isinstance(value, Mapping):
            return {key: self.hidden(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.hidden(item) for item in value]
        return value

    def hidden_in(self, conversation: Conversation) -> Conversation:
        """The conversation with placeholders in all of its texts."""
        parts = (conversation.messages, conversation.tools, conversation.template_options)
        return Conversation(*map(self.hidden, parts))

    def _placeholder(self, text: str) -> str:
        return chr(FIRST_PLACEHOLDER + list(self.ids).index(text))

    def template_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts of a chat template, in which placeholders stand for text that spells special tokens.

        Raises:
            DataError: the tokenizer does not treat the text between two special tokens alone, so that this text has no
                exact tokens.
        """
        plain = token_ids(self.tokenizer, list(texts), add_special_tokens=False)
        return [
            self._parts_ids(text) if any(ord(letter) >= FIRST_PLACEHOLDER for letter in text) else ids
            for text, ids in zip(texts, plain, strict=True)
        ]

    def _parts_ids(self, text: str) -> list[int]:
        placeholders = {self._placeholder(special): special for special in self.ids}
        neutral = "".join(NEUTRAL if letter in placeholders else letter for letter in text)
        if self._joined(neutral, {}) != token_ids(self.tokenizer, [neutral], add_special_tokens=False)[0]:
            found = next(placeholders[letter] for letter in text if letter in placeholders)
            raise DataError(
                f"a text spells {found}, a special token, and this tokenizer does not tokenise the texts between "
                f"special tokens independently, so it cannot be kept as text: {text[:80]!r}. Remove it from the rows."
            )
        return self._joined(text, placeholders)

    def _joined(self, text: str, placeholders: Mapping[str, str]) -> list[int]:
        """Ids of the special tokens and of the texts between them."""
        ids: list[int] = []
        parts = [*self.pattern.finditer(text), None]
        start = 0
        for found in parts:
            between = text[start : found.start() if found else len(text)]
            between = "".join(placeholders.get(letter, letter) for letter in between)
            if between:
                ids += token_ids(self.tokenizer, [between], add_special_tokens=False, split_special_tokens=True)[0]
            if found:
                ids.append(self.ids[found.group()])
                start = found.end()
        return ids
