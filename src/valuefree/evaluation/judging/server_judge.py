"""A judge behind an OpenAI-compatible server."""

import logging
import re
import threading
from collections.abc import Sequence
from typing import Any

from valuefree.errors import JudgeError
from valuefree.evaluation.judging.backends import Reply, Settings, estimated_tokens
from valuefree.evaluation.openai_client import answer_in, body_of, openai_client, without_key
from valuefree.evaluation.server_address import key_for

logger = logging.getLogger(__name__)

TOP_LOGPROBS = 20  # maximum of the interface
OF_EVERY_CALL = ("model_not_found", "unsupported_parameter", "unsupported_value")  # OpenAI's codes
TOO_LONG = re.compile(r"context|too (?:long|large)|maximum.{0,20}(?:length|tokens)", re.IGNORECASE)  # one question only
LONGEST_ANSWER = 20_000  # characters; no verdict is longer, and the cache keeps every text


class ServerJudge:
    """A judge behind vLLM, TGI, llama.cpp, `transformers serve` or a hosted service; needs the extra ``serving``.

    Log-probabilities are requested if the settings ask for them. If the server refuses the request with them (status
    400, 403 or 422) and answers it without them, they are not requested again.

    Args:
        model: name under which the server knows the model. server: address up to and including ``/v1``.
        name: of the judge, for cache and signature; default: `model`. revision: of the model, for cache and signature;
            servers do not report it.
        api_key_env, key_over_http: the key; see `valuefree.evaluation.server_address.key_for`.
        concurrency: simultaneous requests. timeout_seconds: of one try, until the answer begins, and again until it
            ends. max_retries: further tries after growing pauses, or after the server's
            Retry-After, on lost connections, timeouts, status 408, 409, 429 and 5xx.
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
        api_key_env: str | None = None,
        key_over_http: bool = False,
        concurrency: int = 16,
        timeout_seconds: float = 120.0,
        max_retries: int = 5,
    ):
        self.model, self.name, self.revision, self.concurrency = model, name or model, revision, concurrency
        self._refused = self._accepted = False  # whether the server refused, or accepted, to give log-probabilities
        self._answered = False
        self._sent = threading.local()  # requests of this thread's call, the client's own retries included
        key = key_for(server, api_key_env, key_over_http=key_over_http)
        self._client = openai_client(server, key, timeout_seconds, max_retries, concurrency, on_request=self._count)

    def _count(self, request: Any) -> None:
        self._sent.number = getattr(self._sent, "number", 0) + 1

    def tokens(self, question: str) -> int:
        """See `Backend`."""
        return estimated_tokens(question)

    def ask(self, questions: Sequence[str], settings: Settings) -> list[Reply]:
        """One request per question.

        Raises:
            JudgeError: the server refuses something that every question has: the key (status 401, 403), the address
                (404), the model (404, or 400 and 422 that name it), an unsupported setting.
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
                    "be refused for the same reason, so no more is asked. Check the model's name on the server "
                    "(--served-name), the address (it ends in /v1) and the key."
                ) from None
            return Reply(None, without_key(error, self._client), sent=self._sent.number)
        self._answered = True
        return _reply_in(completion, sent=self._sent.number)

    def _completion(self, keywords: dict[str, Any], probabilities: bool) -> Any:
        """The server's completion, with log-probabilities if they are wanted and not known to be refused."""
        import openai

        create = self._client.chat.completions.create
        if not probabilities or self._refused:
            return create(**keywords)
        try:
            completion = create(**keywords, logprobs=True, top_logprobs=TOP_LOGPROBS)
        except openai.APIStatusError as refusal:
            # OpenAI answers 403 to a request for log-probabilities of reasoning models.
            if refusal.status_code not in (400, 403, 422) or self._accepted or self._concerns_all(refusal):
                raise
            completion = create(**keywords)
            self._refused = True
            logger.warning("the server gives no log-probabilities: %s", without_key(refusal, self._client))
        else:
            self._accepted = True
        return completion

    def _concerns_all(self, error: Exception) -> bool:
        """Whether every question would be refused for the same reason, judging by the server's message.

        Status 400 and 422 may concern one question, such as one that is too long. Once a question was answered, they
        cannot concern the model.
        """
        import openai

        from valuefree.evaluation.bounded_client import Redirected

        if not isinstance(error, openai.APIStatusError):
            return isinstance(error, Redirected)
        message = body_of(error)[:1000]
        if "logprob" in message.lower():
            return False
        if error.status_code in (401, 403, 404):
            return True
        if self._answered or error.status_code not in (400, 422) or TOO_LONG.search(message):
            return False
        named = re.search(rf"(?<!\w){re.escape(self.model)}(?!\w)", message) is not None
        return named or error.param == "model" or error.code in OF_EVERY_CALL


def _reply_in(completion: Any, *, sent: int) -> Reply:
    """The usable parts of a completion; the client does not validate what it receives."""
    answer = answer_in(completion)
    text = answer.text
    if text is None:
        return Reply(None, answer.error, sent=sent)
    if len(text) > LONGEST_ANSWER:
        return Reply(None, f"an answer of {len(text)} characters, which is no verdict: {text[:200]!r}", sent=sent)
    usage = getattr(completion, "usage", None)
    counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
    tokens = [count if type(count) is int and count >= 0 else None for count in counts]
    model = getattr(completion, "model", None)
    model = model if isinstance(model, str) else None
    return Reply(text, None, _top(completion.choices[0]), *tokens, sent=sent, model=model)


def _top(choice: Any) -> list[tuple[str, float]] | None:
    """The most likely first tokens, or None if the server did not send them."""
    try:
        first = choice.logprobs.content[0]
        return [(str(entry.token), float(entry.logprob)) for entry in first.top_logprobs]
    except (AttributeError, IndexError, TypeError, ValueError):
        return None
