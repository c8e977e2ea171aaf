"""Generate responses through a server with the chat-completions interface: vLLM, TGI, llama.cpp, transformers serve."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from valuefree.batches.rendering import Prompt, as_messages
from valuefree.data.validation import prompt_text
from valuefree.errors import ConfigError
from valuefree.evaluation.generation import Decoding

logger = logging.getLogger(__name__)

DEFAULT_KEY_ENV = "OPENAI_API_KEY"
NO_KEY = "none"  # the client wants some text
FAILURES_IN_A_ROW = 64


@dataclass(frozen=True)
class Answer:
    """What came back for one prompt: `text`, or None and the `error`. An empty text is an answer."""

    text: str | None
    error: str | None = None


def generate_remote(
    prompts: Sequence[Prompt],
    *,
    server: str,
    model: str,
    decoding: Decoding,
    api_key_env: str = DEFAULT_KEY_ENV,
    concurrency: int = 16,
    timeout_seconds: float = 120.0,
    max_retries: int = 5,
) -> list[str | None]:
    """One response per prompt, in order; None where the request finally failed, and the log says how many.

    Each prompt goes out as chat messages, with temperature, top_p, max_tokens and a seed of its own. What the interface
    does not define goes along only where it is on: top_k (off is 0) and repetition_penalty (off is 1), which vLLM, TGI
    and llama.cpp read and others may refuse. Left out, they are the server's: vLLM takes them from the model's
    generation_config.json unless it is started with ``--generation-config vllm``. The server cuts prompts and makes
    batches by its own rules: max_prompt_length and batch_size are not sent.

    Args:
        prompts: texts, or lists of messages.
        server: address up to and including ``/v1``.
        model: name under which the server knows the model.
        decoding: how to sample. The seed of a request comes from decoding.seed and its prompt alone (and from how often
            the prompt came before), so a part of the prompts is asked as it would be among all.
        api_key_env: environment variable with the key; only the default one may be unset, for servers that want none.
        concurrency: requests under way at a time.
        timeout_seconds: of one try.
        max_retries: further tries, after growing pauses: lost connections, timeouts, status 408, 409, 429 and 5xx.

    Raises:
        ConfigError: openai is not installed, no key, settings that no server can follow, or a server that refuses the
            key (status 401) or knows no such model or address (404).
    """
    settings = {"api_key_env": api_key_env, "concurrency": concurrency}
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
    api_key_env: str = DEFAULT_KEY_ENV,
    concurrency: int = 16,
    timeout_seconds: float = 120.0,
    max_retries: int = 5,
) -> Iterator[Answer]:
    """As `generate_remote`, but the answers one by one, in the order of the prompts, while later ones are under way.

    After `FAILURES_IN_A_ROW` of them the rest is not asked: the server is taken for gone.
    """
    if concurrency < 1 or timeout_seconds <= 0 or max_retries < 0:
        raise ConfigError(
            f"concurrency={concurrency}, timeout_seconds={timeout_seconds}, max_retries={max_retries}: expected "
            "concurrency ≥ 1, timeout_seconds > 0 and max_retries ≥ 0."
        )
    options = request_options(decoding)
    client = openai_client(server, api_key_env, timeout_seconds, max_retries)

    def request(prompt: Prompt, seed: int) -> Answer:
        return _request(client, {"model": model, "messages": as_messages(prompt), "seed": seed, **options})

    return _answers(client, request, prompts, _seeds(prompts, decoding.seed), concurrency)


def _answers(
    client: Any, request: Callable[[Prompt, int], Answer], prompts: Sequence[Prompt], seeds: list[int], concurrency: int
) -> Iterator[Answer]:
    failures = 0
    with (
        closing(client),
        ThreadPoolExecutor(concurrency) as pool,
        closing(pool.map(request, prompts, seeds)) as answers,  # type: ignore[type-var]  # a generator
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
        ConfigError: no_repeat_ngram_size, for which servers have no word.
    """
    if decoding.no_repeat_ngram_size:
        raise ConfigError(
            f"no_repeat_ngram_size={decoding.no_repeat_ngram_size} cannot be asked of a server; leave it at 0."
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
    api_key_env: str,
    timeout_seconds: float,
    max_retries: int,
    *,
    on_request: Callable[[Any], None] | None = None,
) -> Any:
    """A client of `server`; `on_request` is called with every request that goes out, retries included.

    Raises:
        ConfigError: openai is not installed, no key in a variable that was named, an address that is none.
    """
    try:
        import openai
    except ImportError as error:
        raise ConfigError(
            "a model server is asked through the package openai: pip install 'valuefree[serving]' (or openai)."
        ) from error
    key = os.environ.get(api_key_env)
    if not key and api_key_env != DEFAULT_KEY_ENV:
        raise ConfigError(f"the environment variable {api_key_env} (api_key_env) is not set; it should hold the key.")
    if not server.startswith(("http://", "https://")):
        raise ConfigError(f"server is {server!r}; expected an address such as http://localhost:8000/v1.")
    options: dict[str, Any] = {"timeout": timeout_seconds, "max_retries": max_retries}
    if on_request is not None:
        options["http_client"] = openai.DefaultHttpxClient(event_hooks={"request": [on_request]})
    return openai.OpenAI(base_url=server, api_key=key or NO_KEY, **options)


def _seeds(prompts: Sequence[Prompt], seed: int) -> list[int]:
    """A seed of 31 bits per prompt, from `seed`, the prompt and how often it came before."""
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

    try:
        completion = client.chat.completions.create(**keywords)
    except (openai.AuthenticationError, openai.NotFoundError) as error:
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
    try:
        text = completion.choices[0].message.content
    except (AttributeError, IndexError, TypeError):  # the client does not check what it was sent
        return Answer(None, f"the server sent no chat completion with a choice: {str(completion)[:200]!r}")
    return Answer(text) if isinstance(text, str) else Answer(None, "the server sent a choice without text")


def without_key(error: Exception, client: Any) -> str:
    """The message of an error, with what the server said or the address that is not there, and without the key.

    openai shows neither the address nor a body in any form but its own; some servers repeat the key in theirs.
    """
    import openai

    message = f"{type(error).__name__}: {error}"
    if isinstance(error, openai.APIConnectionError):
        message = f"no connection to {client.base_url}: {message}"
    said = body_of(error)
    if said and said not in message:
        message = f"{message} - {said}"
    return (message if client.api_key == NO_KEY else message.replace(client.api_key, "***"))[:400]


def body_of(error: Exception) -> str:
    """What the server said in refusing, in the forms of OpenAI, FastAPI (``detail``) and llama.cpp, or as it is."""
    body = getattr(error, "body", None)
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail") or dict(body)
    return "" if body is None else " ".join(str(body).split())
