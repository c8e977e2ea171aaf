"""What a judge is to the rest of this package: something that answers questions, a batch at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from valuefree.errors import ConfigError, JudgeError

CHARACTERS_PER_TOKEN = 4  # of English, about; for estimates before anything is sent


@dataclass(frozen=True)
class Settings:
    """How a judge decodes. Temperature 0 is greedy, and then `seed` is not read.

    probabilities: ask for those of the first token, beside the text.
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
        """What an answer depends on, for the key of the cache."""
        named = {"max_new_tokens": self.max_new_tokens, "temperature": self.temperature}
        return named | {"seed": self.seed if self.temperature else None, "probabilities": self.probabilities}


@dataclass(frozen=True)
class Reply:
    """What came back: `text`, or None and the `error`. An empty text is an answer.

    top: likely first tokens with natural log-probabilities, or None. input_tokens, output_tokens: as the judge counts
    them, or None. sent: requests that went out, retries included. model: what the server says it is.
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

    `name` and `revision` say who judges: answers of one are never taken for those of another. `probabilities` says
    whether it may give those of its first token.
    """

    name: str
    revision: str
    probabilities: bool
    batch_size: int
    concurrency: int

    def ask(self, questions: Sequence[str], settings: Settings) -> list[Reply]:
        """One reply per question, in order. Raises ConfigError where no further question can succeed."""
        ...

    def tokens(self, question: str) -> int:
        """How many tokens the question has, about."""
        ...


def estimated_tokens(question: str) -> int:
    """A guess for a judge whose tokenizer is elsewhere."""
    return -(-len(question) // CHARACTERS_PER_TOKEN)


class FunctionJudge:
    """A Python function from a question to an answer, both text, as judge.

    Args:
        function: gets the whole rendered question. An exception other than JudgeError is a fault of the function and
            ends the run. name: for cache and signature. revision: change it when the function's answers change.
    """

    batch_size = 1
    probabilities = False

    def __init__(self, function: Callable[[str], str], *, name: str, revision: str = "1", concurrency: int = 1):
        self.function, self.name, self.revision, self.concurrency = function, name, revision, concurrency

    def ask(self, questions: Sequence[str], settings: Settings) -> list[Reply]:
        """The function's answers; a JudgeError of its own is a failed call."""
        return [self._reply(question) for question in questions]

    def _reply(self, question: str) -> Reply:
        try:
            text = self.function(question)
        except JudgeError as error:
            return Reply(None, str(error))
        if not isinstance(text, str):
            raise ConfigError(f"the judge {self.name} gave {type(text).__name__}; expected text, such as 'A'.")
        return Reply(text)

    def tokens(self, question: str) -> int:
        """See `Backend`."""
        return estimated_tokens(question)
