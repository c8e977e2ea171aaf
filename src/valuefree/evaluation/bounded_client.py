"""The HTTP client of model servers: bounds on an answer's size and time, no redirects, and no key in what is read."""

import json
import logging
import time
from typing import Any

import openai

from valuefree.evaluation.server_address import NO_KEY

logger = logging.getLogger(__name__)

MOST_BYTES = 2**24  # of one answer; a million tokens are about 4 MB
SHORTEST_SECRET = 8  # characters; a shorter key, such as EMPTY, may be a word of an answer
HIDDEN = "***"
FRAMING = ("content-length", "transfer-encoding")  # headers of the body as it was sent


class RefusedAnswer(openai.OpenAIError):
    """An answer that is not read to its end; the client does not ask again."""


class Redirected(openai.OpenAIError):
    """The server names another address."""


class BoundedClient(openai.DefaultHttpxClient):
    """Reads answers whole, within bounds.

    Args:
        key: replaced wherever an answer repeats it. seconds: longest time from the first byte of an answer's body to
            its last. options: of httpx.

    Raises:
        RefusedAnswer: an answer over the bounds, or compressed, whose size is not known before it is unpacked.
        Redirected: prompts and key are for the address that the user has named.
    """

    def __init__(self, *, key: str, seconds: float, **options: Any):
        super().__init__(follow_redirects=False, headers={"Accept-Encoding": "identity"}, **options)
        self._key, self._seconds, self._said = key, seconds, False

    def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        """The whole response; `stream` is not supported."""
        response = super().send(request, stream=True, **options)
        try:
            if response.is_redirect:
                raise Redirected(f"the server redirects to {response.headers['location'][:200]}, which is not followed")
            content = self._without_key(self._read(response))
        finally:
            response.close()
        kept = [(name, value) for name, value in response.headers.items() if name not in FRAMING]
        extensions = {"extensions": response.extensions, "request": request}
        return type(response)(response.status_code, headers=kept, content=content, **extensions)

    def _read(self, response: Any) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise RefusedAnswer("the answer is compressed, which was not asked for")
        parts, size, end = [], 0, time.monotonic() + self._seconds
        for part in response.iter_raw():
            parts.append(part)
            size += len(part)
            if size > MOST_BYTES:
                raise RefusedAnswer(f"the answer is longer than {MOST_BYTES:,} bytes")
            if time.monotonic() > end:
                raise RefusedAnswer(f"the answer began and did not end within {self._seconds:g} s")
        return b"".join(parts)

    def _without_key(self, content: bytes) -> bytes:
        """The body with the key replaced, also where JSON escapes some of its letters."""
        try:
            text = json.dumps(json.loads(content))
        except RecursionError:
            raise RefusedAnswer("the answer is JSON that is nested too deeply") from None
        except ValueError:  # no JSON: an error page, or an answer that the caller will refuse
            text = content.decode("utf-8", errors="replace")
        secret = json.dumps(self._key)[1:-1]
        if self._key == NO_KEY or len(self._key) < SHORTEST_SECRET or secret not in text:
            return content
        if not self._said:
            logger.warning("the server repeats the key in its answers; %s stands in its place", HIDDEN)
            self._said = True
        return text.replace(secret, HIDDEN).encode()
