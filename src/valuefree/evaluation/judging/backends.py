"""The interface of a judge: it answers questions, a batch at a time. And a Python function as judge."""

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

from valuefree.errors import ConfigError, JudgeError

# For estimates before anything is sent: rough values for English, and for a chat template with a system prompt.
CHARACTERS_PER_TOKEN = 4
TEMPLATE_TOKENS = 32
CODE = re.compile(r"\w*\d\w*")  # words with digits, such as the codes of delimiters: up to one token a character


@dataclass(frozen=True)
class Settings:
    """How a judge decodes. Temperature 0 is greedy decoding, which ignores `seed`.

    probabilities: also request the probabilities of the first token.
    """

    max_new_tokens: int = 16
    temperature: float = 0.0
    seed: int = 0
    probabilities: bool = True

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0:
            raise ConfigError(
                f"max_new_tokens={self.max_new_tokens}, temperature={self.temperature}: expected at least 1 token and "
                "a temperature of at least 0."
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings that an answer depends on, for the key of the cache."""
        named = {"max_new_tokens": self.max_new_tokens, "temperature": self.temperature}
        return named | {"seed": self.seed if self.temperature else None, "probabilities": self.probabilities}


@dataclass(frozen=True)
class Reply:
    """The reply to one question: `text`, or None and the `error`. An empty text is an answer.

    top: likely first tokens with natural log-probabilities, or None. input_tokens, output_tokens: as reported by the
    judge, or None. sent: requests sent, retries included. model: the name that the server reports.
    """

    text: str | None
    error: str | None = None
    top: Sequence[tuple[str, float]] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    sent: int = 1
    model: str | None = None


class Backend(Protocol):
    """A judge. `ask` is called from `concurrency` threads with up to `batch_size` questions at a time.

    `name` and `revision` identify the judge: cached answers are reused only if both are equal. `probabilities`: whether
    the judge can give the probabilities of its first token.
    """

    name: str
    revision: str
    probabilities: bool
    batch_size: int
    concurrency: int

    def ask(self, questions: Sequence[str], settings: Settings) -> list[Reply]:
        """One reply per question, in order.

        Raises:
            ConfigError, JudgeError: no further question can succeed; the run ends.
        """
        ...

    def tokens(self, question: str) -> int:
        """The approximate number of tokens of the question."""
        ...


def estimated_tokens(question: str) -> int:
    """An estimate from the length, for a judge whose tokenizer is not available, chat template included."""
    codes = sum(map(len, CODE.findall(question)))
    return TEMPLATE_TOKENS + codes + -(-(len(question) - codes) // CHARACTERS_PER_TOKEN)


UNKNOWN = "unknown"  # revision of a judge that reports none


class FunctionJudge:
    """A Python function from a question to an answer, both text, as judge.

    Args:
        function: receives the whole question. If it returns None or raises JudgeError, the call has failed and the next
            run repeats it; any other exception ends the run.
        name: for cache and signature.
        revision: default: `source_revision`, so that cached answers are not reused after the function was edited.
    """

    batch_size = 1
    probabilities = False

    def __init__(
        self,
        function: Callable[[str], str | None],
        *,
        name: str,
        revision: str | None = None,
        concurrency: int = 1,
    ):
        self.function, self.name, self.concurrency = function, name, concurrency
        self.revision = source_revision(function) if revision is None else revision

    def ask(self, questions: Sequence[str], settings: Settings) -> list[Reply]:
        """The function's answers."""
        return [self._reply(question) for question in questions]

    def _reply(self, question: str) -> Reply:
        try:
            text = self.function(question)
        except JudgeError as error:
            return Reply(None, str(error))
        if text is None:
            return Reply(None, f"{self.name} gave no answer (None)")
        if not isinstance(text, str):
            raise ConfigError(
                f"the judge {self.name} gave {type(text).__name__}; expected text, such as 'A', or None for no answer."
            )
        return Reply(text)

    def tokens(self, question: str) -> int:
        """See `Backend`."""
        return estimated_tokens(question)


def source_revision(function: Callable[..., Any]) -> str:
    """Hash of the source of a function's module, or of the function alone if the module has no file.

    What the module imports or reads is not hashed. ``unknown`` for a function without source, such as a builtin.
    """
    while isinstance(function, functools.partial):
        function = function.func
    code = function if hasattr(function, "__code__") or inspect.ismethod(function) else type(function)
    for source_of in (inspect.getmodule(code), code):
        try:
            source = inspect.getsource(source_of)  # type: ignore[arg-type]  # None raises TypeError
        except (OSError, TypeError):
            continue
        return blake2b(source.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return UNKNOWN
