"""A judge behind an OpenAI-compatible server."""

import logging
import re
import threading
from collections.abc import Sequence
from typing import Any

from valuefree.errors import ConfigError, JudgeError
from valuefree.evaluation.judging.backends import Reply, Settings, estimated_tokens
from valuefree.evaluation.openai_client import DEFAULT_KEY_ENV, body_of, openai_client, without_key

logger = logging.getLogger(__name__)

TOP_LOGPROBS = 20  # the most that the interface allows
OF_EVERY_CALL = ("model_not_found", "unsupported_parameter", "unsupported_value")  # OpenAI's codes
TOO_LONG = re.compile(r"context|too (?:long|large)|maximum.{0,20}(?:length|tokens)", re.IGNORECASE)  # of one question
LONGEST_ANSWER = 20_000  # characters; no verdict is longer, and the cache keeps every text


class ServerJudge:
    """Ask vLLM, TGI, llama.cpp, `transformers serve` or a hosted service; needs the extra ``serving``.

    Log-probabilities are asked for if the settings want them. A server that refuses them (status 400 or 422, and an
    answer without them) is asked without, from then on.

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
        self._refused = self._taken = False  # a request for log-probabilities
        self._answered = False
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
            JudgeError: the server refuses what every further question would bring as well: the key (status 401, 403),
                the address (404), the model (404, or 400 and 422 that name it), a setting that it does not know.
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
        try:
            completion = self._completion(keywords, settings.probabilities)
        except (openai.OpenAIError, ValueError) as error:  # ValueError: a body that is not JSON
            if self._concerns_all(error):
                why = without_key(error, self._client).rstrip(".")
                raise JudgeError(
                    f"the server {self._client.base_url} refuses model {self.model!r}: {why}. Every question would "
                    "fare like this one, so no more is asked. Check the model's name on the server (--served-name), "
                    "the address (it ends in /v1) and the key."
                ) from None
            return Reply(None, without_key(error, self._client), sent=self._sent.number)
        self._answered = True
        return _read(completion, sent=self._sent.number)

    def _completion(self, keywords: dict[str, Any], probabilities: bool) -> Any:
        """With log-probabilities where they are wanted and not known to be refused."""
        import openai

        create = self._client.chat.completions.create
        if not probabilities or self._refused:
            return create(**keywords)
        try:
            completion = create(**keywords, logprobs=True, top_logprobs=TOP_LOGPROBS)
        except openai.APIStatusError as refusal:
            # OpenAI answers 403 to log-probabilities of models that reason
            if refusal.status_code not in (400, 403, 422) or self._taken or self._concerns_all(refusal):
                raise
            completion = create(**keywords)
            self._refused = True
            logger.warning("the server gives no log-probabilities: %s", without_key(refusal, self._client))
        else:
            self._taken = True
        return completion

    def _concerns_all(self, error: Exception) -> bool:
        """Whether any question would be refused like this one, as far as the server's words tell.

        Status 400 and 422 may be of one question, such as one that is too long; and once a question was answered, the
        model is known.
        """
        import openai

        if not isinstance(error, openai.APIStatusError):
            return False
        said = body_of(error)[:1000]
        if "logprob" in said.lower():
            return False
        if error.status_code in (401, 403, 404):
            return True
        if self._answered or error.status_code not in (400, 422) or TOO_LONG.search(said):
            return False
        named = re.search(rf"(?<!\w){re.escape(self.model)}(?!\w)", said) is not None
        return named or error.param == "model" or error.code in OF_EVERY_CALL


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
