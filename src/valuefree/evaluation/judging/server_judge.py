"""A judge behind an OpenAI-compatible server."""

import logging
import threading
from collections.abc import Sequence
from typing import Any

from valuefree.errors import ConfigError
from valuefree.evaluation.judging.backends import Reply, Settings, estimated_tokens
from valuefree.evaluation.serving import DEFAULT_KEY_ENV, openai_client, without_key

logger = logging.getLogger(__name__)

TOP_LOGPROBS = 20  # the most that the interface allows
LONGEST_ANSWER = 20_000  # characters; no verdict is longer, and the cache keeps every text


class ServerJudge:
    """Ask vLLM, TGI, llama.cpp, `transformers serve` or a hosted service; needs the extra ``serving``.

    Log-probabilities are asked for if the settings want them. A server that refuses them (status 400 or 422) is asked
    without, from then on.

    Args:
        model: name under which the server knows the model. server: address up to and including ``/v1``.
        name: of the judge, for cache and signature; default: `model`. revision: what the server does not tell.
        api_key_env: environment variable with the key; it is written nowhere. concurrency: requests under way.
        timeout_seconds: without a byte of an answer. max_retries: further tries after growing pauses, or the server's
            own Retry-After: lost connections, timeouts, status 408, 409, 429 and 5xx.
    """

    batch_size = 1
    probabilities = True

    def __init__(
        self,
        model: str,
        *,
        server: str,
        name: str | None = None,
        revision: str = "unknown",
        api_key_env: str = DEFAULT_KEY_ENV,
        concurrency: int = 16,
        timeout_seconds: float = 120.0,
        max_retries: int = 5,
    ):
        if concurrency < 1 or timeout_seconds <= 0 or max_retries < 0:
            raise ConfigError(
                f"concurrency={concurrency}, timeout_seconds={timeout_seconds}, max_retries={max_retries}: expected "
                "concurrency ≥ 1, timeout_seconds > 0 and max_retries ≥ 0."
            )
        self.model, self.name, self.revision, self.concurrency = model, name or model, revision, concurrency
        self._refused = False  # to give log-probabilities
        self._sent = threading.local()  # requests of this thread's call, the client's own retries included
        self._client = openai_client(server, api_key_env, timeout_seconds, max_retries, on_request=self._count)

    def _count(self, request: Any) -> None:
        self._sent.number = getattr(self._sent, "number", 0) + 1

    def tokens(self, question: str) -> int:
        """See `Backend`."""
        return estimated_tokens(question)

    def ask(self, questions: Sequence[str], settings: Settings) -> list[Reply]:
        """One request per question.

        Raises:
            ConfigError: the server refuses the key (status 401, 403), or knows no such model or address (404).
        """
        return [self._reply(question, settings) for question in questions]

    def _reply(self, question: str, settings: Settings) -> Reply:
        import openai

        self._sent.number = 0
        keywords: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
            "temperature": settings.temperature,
            "max_tokens": settings.max_new_tokens,
        }
        if settings.temperature:
            keywords["seed"] = settings.seed
        extra = {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        wanted = settings.probabilities and not self._refused
        try:
            try:
                completion = self._client.chat.completions.create(**keywords, **(extra if wanted else {}))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as refusal:
                if not wanted:
                    raise
                completion = self._client.chat.completions.create(**keywords)
                self._refused = True
                logger.warning("the server gives no log-probabilities: %s", without_key(refusal, self._client))
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            message = f"{self._client.base_url} refuses model {self.model!r}: {without_key(error, self._client)}"
            raise ConfigError(f"{message} Check the address (it ends in /v1), the model and the key.") from None
        except (openai.OpenAIError, ValueError) as error:  # ValueError: a body that is not JSON
            return Reply(None, without_key(error, self._client), sent=self._sent.number)
        return _read(completion, sent=self._sent.number)


def _read(completion: Any, *, sent: int) -> Reply:
    """What is usable of a completion; the client does not check what it was sent."""
    try:
        choice = completion.choices[0]
        text = choice.message.content
    except (AttributeError, IndexError, TypeError):
        return Reply(None, f"no chat completion with a choice: {str(completion)[:200]!r}", sent=sent)
    if not isinstance(text, str):
        return Reply(None, "a choice without text", sent=sent)
    if len(text) > LONGEST_ANSWER:
        return Reply(None, f"an answer of {len(text)} characters, which is no verdict: {text[:200]!r}", sent=sent)
    usage = getattr(completion, "usage", None)
    counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
    tokens = [count if type(count) is int and count >= 0 else None for count in counts]
    model = getattr(completion, "model", None)
    return Reply(text, None, _top(choice), *tokens, sent=sent, model=model if isinstance(model, str) else None)


def _top(choice: Any) -> list[tuple[str, float]] | None:
    """Likely first tokens, or None where the server sent something else."""
    try:
        first = choice.logprobs.content[0]
        return [(str(entry.token), float(entry.logprob)) for entry in first.top_logprobs]
    except (AttributeError, IndexError, TypeError, ValueError):
        return None
