"""Generate responses through a server with the chat-completions interface: vLLM, TGI, llama.cpp, transformers serve."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from valuefree.data.prompts import Prompt, conversation_of, json_text
from valuefree.data.validation import prompt_text
from valuefree.errors import ConfigError
from valuefree.evaluation.control_tokens import control_tokens_note
from valuefree.evaluation.generation import Decoding
from valuefree.evaluation.server_address import NO_KEY, key_for

logger = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 64


@dataclass(frozen=True)
class Answer:
    """The answer to one prompt: `text`, or None and the `error`. An empty text is an answer."""

    text: str | None
    error: str | None = None


def generate_remote(
    prompts: Sequence[Prompt],
    *,
    server: str,
    model: str,
    decoding: Decoding,
    api_key_env: str | None = None,
    key_over_http: bool = False,
    concurrency: int = 16,
    timeout_seconds: float = 120.0,
    max_retries: int = 5,
) -> list[str | None]:
    """One response per prompt, in order; None where the request failed in all tries. The number of failures is logged.

    A request holds the prompt as chat messages, temperature, top_p, max_tokens and a seed. top_k and repetition_penalty
    are not part of the interface and are sent only if they are on (top_k above 0, repetition_penalty other than 1):
    vLLM, TGI and llama.cpp read them, other servers may refuse them. If they are not sent, the server's defaults apply;
    vLLM takes these from the model's generation_config.json unless it is started with ``--generation-config vllm``.
    The server truncates prompts and forms batches by its own rules: max_prompt_length and batch_size are not sent.

    Args:
        prompts: texts, or lists of messages.
        server: address up to and including ``/v1``.
        model: name under which the server knows the model.
        decoding: how to sample. The seed of a request depends on decoding.seed, the prompt, and the number of equal
            earlier prompts; so a subset of the prompts gets the same seeds as the whole.
        api_key_env, key_over_http: the key; see `valuefree.evaluation.server_address.key_for`.
        concurrency: simultaneous requests.
        timeout_seconds: of one try, until the answer begins, and again until it ends.
        max_retries: further tries after growing pauses, on lost connections, timeouts, status 408, 409, 429 and 5xx.

    Raises:
        ConfigError: openai is not installed, no key, settings that no server supports, or a server that refuses the key
            (status 401) or does not know the model or the address (404).
    """
    settings: dict[str, Any] = {"api_key_env": api_key_env, "key_over_http": key_over_http, "concurrency": concurrency}
    settings |= {"timeout_seconds": timeout_seconds, "max_retries": max_retries}
    answers = list(ask(prompts, server=server, model=model, decoding=decoding, **settings))
    errors = [answer.error for answer in answers if answer.text is None]
    if errors:
        logger.warning("%d of %d prompts have no answer (first error: %s)", len(errors), len(answers), errors[0])
    return [answer.text for answer in answers]


def ask(
    prompts: Sequence[Prompt],
    *,
    server: str,
    model: str,
    decoding: Decoding,
    api_key_env: str | None = None,
    key_over_http: bool = False,
    concurrency: int = 16,
    timeout_seconds: float = 120.0,
    max_retries: int = 5,
) -> Iterator[Answer]:
    """As `generate_remote`, but yields each answer, in the order of the prompts, as soon as it is there.

    After `FAILURES_IN_A_ROW` consecutive failures the remaining prompts are not sent: the server seems to be down. The
    number of prompts that spell a control token is logged.
    """
    options = request_options(decoding)
    if note := control_tokens_note(map(prompt_text, prompts), what="prompts"):
        logger.warning("%s", note)
    key = key_for(server, api_key_env, key_over_http=key_over_http)
    client = openai_client(server, key, timeout_seconds, max_retries, concurrency)

    def request(prompt: Prompt, seed: int) -> Answer:
        return _request(client, {"model": model, "seed": seed, **_chat(prompt, options)})

    return _answers(client, request, prompts, _seeds(prompts, decoding.seed), concurrency)


def _chat(prompt: Prompt, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a request with the prompt's messages, tools and template options, as the API expects them."""
    asked = conversation_of(prompt)
    request = {**options, "messages": [_api_message(message) for message in asked.messages]}
    if asked.tools:
        request["tools"] = asked.tools
    if asked.template_options:
        request["extra_body"] = {**options.get("extra_body", {}), "chat_template_kwargs": asked.template_options}
    return request


def _api_message(message: dict[str, Any]) -> dict[str, Any]:
    """The message with the arguments of its tool calls as JSON text."""
    if not message.get("tool_calls"):
        return message
    calls = [
        {**call, "function": {**call["function"], "arguments": json_text(call["function"]["arguments"])}}
        if isinstance(call.get("function"), dict) and not isinstance(call["function"].get("arguments", ""), str)
        else call
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def _answers(
    client: Any, request: Callable[[Prompt, int], Answer], prompts: Sequence[Prompt], seeds: list[int], concurrency: int
) -> Iterator[Answer]:
    failures = 0
    with (
        closing(client),
        ThreadPoolExecutor(concurrency) as pool,
        closing(pool.map(request, prompts, seeds)) as answers,  # type: ignore[type-var] # a generator
    ):
        for number, answer in enumerate(answers, start=1):
            failures = failures + 1 if answer.text is None else 0
            yield answer
            if failures == FAILURES_IN_A_ROW and number < len(prompts):
                break
        else:
            return
    reason = f"not asked, after {failures} failures in a row"
    yield from (Answer(None, reason) for _ in range(len(prompts) - number))


def request_options(decoding: Decoding) -> dict[str, Any]:
    """Keywords of openai's `chat.completions.create`, without the seed.

    Raises:
        ConfigError: no_repeat_ngram_size, which servers do not have.
    """
    if decoding.no_repeat_ngram_size:
        raise ConfigError(
            f"no_repeat_ngram_size={decoding.no_repeat_ngram_size} is not an option of servers; leave it at 0."
        )
    greedy = decoding.temperature == 0
    extra: dict[str, Any] = {"top_k": decoding.top_k} if decoding.top_k and not greedy else {}
    if decoding.repetition_penalty != 1.0:
        extra["repetition_penalty"] = decoding.repetition_penalty
    return {
        "temperature": decoding.temperature,
        "top_p": 1.0 if greedy else decoding.top_p,
        "max_tokens": decoding.max_new_tokens,
        "extra_body": extra or None,
    }


def openai_client(
    server: str,
    key: str,
    timeout_seconds: float,
    max_retries: int,
    concurrency: int,
    *,
    on_request: Callable[[Any], None] | None = None,
) -> Any:
    """A client of `server`; `on_request` is called with every request that is sent, retries included.

    Args:
        key: from `valuefree.evaluation.server_address.key_for`.

    Raises:
        ConfigError: openai is not installed, or an invalid number.
    """
    if concurrency < 1 or timeout_seconds <= 0 or max_retries < 0:
        raise ConfigError(
            f"concurrency={concurrency}, timeout_seconds={timeout_seconds}, max_retries={max_retries}: expected "
            "concurrency ≥ 1, timeout_seconds > 0 and max_retries ≥ 0."
        )
    try:
        import openai

        from valuefree.evaluation.bounded_client import BoundedClient
    except ImportError as error:
        raise ConfigError(
            "requests to a model server need the package openai: pip install 'valuefree[serving]' (or openai)."
        ) from error
    hooks = {"request": [_retries_told(server, max_retries), *([on_request] if on_request is not None else [])]}
    bounded = BoundedClient(key=key, seconds=timeout_seconds, event_hooks=hooks)
    options: dict[str, Any] = {"timeout": timeout_seconds, "max_retries": max_retries, "http_client": bounded}
    return openai.OpenAI(base_url=server, api_key=key, **options)


def _retries_told(server: str, max_retries: int) -> Callable[[Any], None]:
    """A hook of requests that logs each number of a try once, so that a user sees why the command waits."""
    told: set[int] = set()

    def tell(request: Any) -> None:
        retry = int(request.headers.get("x-stainless-retry-count", 0))
        if retry and retry not in told:
            told.add(retry)
            logger.warning("a request to %s failed: try %d of %d", server, retry + 1, max_retries + 1)

    return tell


def _seeds(prompts: Sequence[Prompt], seed: int) -> list[int]:
    """A seed of 31 bits per prompt, from `seed`, the prompt and the number of equal earlier prompts."""
    times: Counter[str] = Counter()
    seeds = []
    for prompt in prompts:
        key = prompt_text(prompt)
        digest = blake2b(f"{seed}|{times[key]}|{key}".encode(), digest_size=4).digest()
        seeds.append(int.from_bytes(digest, "big") >> 1)
        times[key] += 1
    return seeds


def _request(client: Any, keywords: dict[str, Any]) -> Answer:
    import openai

    from valuefree.evaluation.bounded_client import Redirected

    try:
        completion = client.chat.completions.create(**keywords)
    except (openai.AuthenticationError, openai.NotFoundError, Redirected) as error:
        message = f"{client.base_url} refuses model {keywords['model']!r}: {without_key(error, client)}"
        raise ConfigError(f"{message} Check --server (it ends in /v1), --model and the key.") from None
    except openai.UnprocessableEntityError as error:
        more = ", ".join(keywords.get("extra_body") or {})
        if not more:
            return Answer(None, without_key(error, client))
        message = f"{client.base_url} may not know {more}: {without_key(error, client)}"
        raise ConfigError(f"{message} Leave them off (top_k 0, repetition_penalty 1).") from None
    except (openai.OpenAIError, ValueError) as error:  # ValueError: a body that is not JSON
        return Answer(None, without_key(error, client))
    return answer_in(completion)


def answer_in(completion: Any) -> Answer:
    """The text of a completion, or why there is none; the openai client does not validate what it receives."""
    try:
        text = completion.choices[0].message.content
    except (AttributeError, IndexError, TypeError):
        return Answer(None, f"the server sent no chat completion with a choice: {str(completion)[:200]!r}")
    return Answer(text) if isinstance(text, str) else Answer(None, "the server sent a choice without text")


def without_key(error: Exception, client: Any) -> str:
    """The message of an error, with the server's own message or the address, and without the key.

    openai's messages lack the address, and contain the body only in OpenAI's form. Some servers repeat the key.
    """
    import openai

    message = f"{type(error).__name__}: {error}"
    if isinstance(error, openai.APIConnectionError):
        message = f"no connection to {client.base_url}: {message}"
    body = body_of(error)
    if body and body not in message:
        message = f"{message} - {body}"
    if client.api_key != NO_KEY:
        return message.replace(client.api_key, "***")[:400]
    refused = isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError)
    return message[:400] + (" No key was sent; --api-key-env NAME names the variable of its key." if refused else "")


def body_of(error: Exception) -> str:
    """The server's message, from bodies in the form of OpenAI, FastAPI (``detail``) or llama.cpp, else the body."""
    body = getattr(error, "body", None)
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail") or dict(body)
    return "" if body is None else " ".join(str(body).split())
