"""A model server on its bad days: speaks POST /v1/chat/completions and answers as it is told to.

::

    with BadServer(busy(retry_after=0), cut, fine("A")) as server:  # in turn, the last one for good
        ask(server.address)                                         # http://127.0.0.1:<port>/v1
        assert server.counts[200] == 1

    BadServer(choose=lambda asked: fine("A") if "first" in asked.text else broken)  # by request
    server.days["a prompt"] = [broken, fine("B")]                                   # by prompt, in turn; goes first

A behaviour is a function of the handler and of what was asked: `broken` and the like are behaviours, `fine(...)` and
the like make one.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request; `at` is in seconds on the monotonic clock, `number` counts from 0 in order of arrival."""

    number: int
    path: str
    body: dict[str, Any]
    headers: Message  # finds a header in upper or lower case
    at: float

    @property
    def text(self) -> str:
        """Content of the last message."""
        return self.body["messages"][-1]["content"]


class BadServer(ThreadingHTTPServer):
    """Serves while its context is open; what it was asked and what it answered is there to be read."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *behaviours: "Behaviour", choose: "Callable[[Asked], Behaviour] | None" = None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}/v1"
        self.behaviours: Sequence[Behaviour] = behaviours or (fine(),)
        self.choose = choose
        self.days: dict[str, Sequence[Behaviour]] = {}
        self.closing = threading.Event()
        self.asked: list[Asked] = []
        self.times: Counter[str] = Counter()  # requests by text of the last message
        self.counts: Counter[int] = Counter()  # whole answers by status
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> "BadServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Bodies of the requests, in order of arrival."""
        return [asked.body for asked in self.asked]

    def arrived(self, path: str, body: dict[str, Any], headers: Message) -> "tuple[Asked, Behaviour]":
        """Note a request, and say how to answer it."""
        with self._lock:
            asked = Asked(len(self.asked), path, body, headers, time.monotonic())
            turn = self.times[asked.text]
            self.asked.append(asked)
            self.times[asked.text] += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        if asked.text in self.days:
            row = self.days[asked.text]
            return asked, row[min(turn, len(row) - 1)]
        if self.choose is not None:
            return asked, self.choose(asked)
        return asked, self.behaviours[min(asked.number, len(self.behaviours) - 1)]

    def left(self) -> None:
        """A request is over, answered or not."""
        with self._lock:
            self._at_once -= 1

    def answered(self, status: int) -> None:
        """A whole answer goes out; noted before its last byte, so that who has read it finds it counted."""
        with self._lock:
            self.counts[status] += 1

    def handle_error(self, request: object, client_address: object) -> None:
        """A cut connection is meant."""


class Handler(BaseHTTPRequestHandler):
    """Reads the request and behaves."""

    protocol_version = "HTTP/1.1"
    server: BadServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked, behave = self.server.arrived(self.path, body, self.headers)
        try:
            behave(self, asked)
        finally:
            self.server.left()

    def reply(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        """A whole answer."""
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.server.answered(status)
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing to the terminal."""


Behaviour = Callable[[Handler, Asked], None]
Candidates = Mapping[str, float | None]


def token_logprobs(positions: Sequence[Candidates]) -> dict[str, Any]:
    """OpenAI's form of log-probabilities: for each position candidates → log-probability, the chosen token first."""
    content = []
    for candidates in positions:
        top = [{"token": token, "logprob": value, "bytes": list(token.encode())} for token, value in candidates.items()]
        content.append({**top[0], "top_logprobs": top})
    return {"content": content, "refusal": None}


def completion(
    choices: Sequence[Mapping[str, Any]], *, prompt_tokens: int | None = None, answer_tokens: int = 0
) -> bytes:
    """Body of a chat completion; without `prompt_tokens` it has no usage."""
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": list(choices)}
    if prompt_tokens is not None:
        total = prompt_tokens + answer_tokens
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": answer_tokens, "total_tokens": total}
        body["usage"] = usage
    return json.dumps(body).encode()


def choice(text: str | None, logprobs: object = None) -> dict[str, Any]:
    """The one choice of a chat completion."""
    message = {"role": "assistant", "content": text}
    return {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}


# --------------------------------------------------------------------------------------------------------- good days


def fine(
    text: str | None = None,
    *,
    logprobs: Sequence[Candidates] | Mapping[str, Any] | None = None,
    usage: bool = True,
    wait_seconds: float = 0.0,
) -> Behaviour:
    """Answers `text`, or "answer to <the last message>"; a token of usage is a word.

    Args:
        text: the answer.
        logprobs: candidates per position as for `token_logprobs`, or a mapping that is sent as it is, however wrong.
        usage: whether token counts are sent.
        wait_seconds: how long it thinks before; cut short when the server closes.
    """
    form = token_logprobs(logprobs) if isinstance(logprobs, Sequence) else logprobs

    def fine(handler: Handler, asked: Asked) -> None:
        handler.server.closing.wait(wait_seconds)
        said = f"answer to {asked.text}" if text is None else text
        tokens = len(asked.text.split()) if usage else None
        handler.reply(200, completion([choice(said, form)], prompt_tokens=tokens, answer_tokens=len(said.split())))

    return fine


def huge(characters: int = 5_000_000, *, end: str = "") -> Behaviour:
    """Fine, but of that many characters, then `end`."""
    return fine("word " * (characters // 5) + end)


# ---------------------------------------------------------------------------------------------------------- bad days


def status(code: int, message: str, **headers: str) -> Behaviour:
    """An error of that status, with OpenAI's body; an underscore in the name of a header stands for a hyphen."""

    def status(handler: Handler, asked: Asked) -> None:
        handler.reply(code, json.dumps({"error": {"message": message}}).encode(), **headers)

    status.__name__ = f"status {code}"
    return status


def busy(retry_after: float | str = 0) -> Behaviour:
    """429 with Retry-After, in seconds or as a date."""
    return status(429, "too many requests", Retry_After=str(retry_after))


def silent(seconds: float) -> Behaviour:
    """Says nothing for so long, or until the server closes, and then hangs up."""

    def silent(handler: Handler, asked: Asked) -> None:
        handler.server.closing.wait(seconds)
        handler.close_connection = True

    return silent


def refuses_logprobs(otherwise: Behaviour) -> Behaviour:
    """400 to whoever asks for log-probabilities, `otherwise` to the rest."""

    def refuses_logprobs(handler: Handler, asked: Asked) -> None:
        (no_logprobs if asked.body.get("logprobs") else otherwise)(handler, asked)

    return refuses_logprobs


def detail(code: int, message: Any) -> Behaviour:
    """An error of that status with FastAPI's body, as `transformers serve` has it."""

    def detail(handler: Handler, asked: Asked) -> None:
        handler.reply(code, json.dumps({"detail": message}).encode())

    return detail


broken = status(500, "out of memory")
too_long = status(400, "the prompt is too long")
no_logprobs = status(400, "logprobs is not supported")
pinned = detail(400, "Server is pinned to 'other'; requested 'm'.")
unknown_model = status(404, "the model does not exist")


def refused(handler: Handler, asked: Asked) -> None:
    """401 that repeats the key it was sent."""
    status(401, f"no such key: {asked.headers.get('Authorization')}")(handler, asked)


def cut(handler: Handler, asked: Asked) -> None:
    """Hangs up without a word."""
    handler.close_connection = True
    handler.connection.close()


def cut_within(handler: Handler, asked: Asked) -> None:
    """Promises 1,000 bytes, sends 20 and hangs up."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(completion([choice("half")])[:20])
    handler.close_connection = True


def _says(body: bytes, kind: str, name: str) -> Behaviour:
    def says(handler: Handler, asked: Asked) -> None:
        handler.reply(200, body, kind)

    says.__name__ = name
    return says


html = _says(b"<html>Please log in</html>", "text/html", "html")
no_json = _says(b"{ not json", "application/json", "no_json")
other_json = _says(b'{"detail": "soon"}', "application/json", "other_json")
no_choice = _says(completion([]), "application/json", "no_choice")
no_text = _says(completion([choice(None)]), "application/json", "no_text")

# Log-probabilities that cannot be meant, for `fine("A", logprobs=WRONG_LOGPROBS[name])`.
WRONG_LOGPROBS: dict[str, Sequence[Candidates] | Mapping[str, Any]] = {
    "nan": [{"A": float("nan"), "B": -1.0}],
    "positive": [{"A": 0.7, "B": -1.0}],
    "null": [{"A": None, "B": None}],
    "unrelated": [{"Zebra": -0.1, "lemon": -2.4}],
    "no_content": {"content": None},
    "empty_content": {"content": []},
    "no_top": {"content": [{"token": "A", "logprob": -0.1, "bytes": [65], "top_logprobs": []}]},
    "missing_list": {"content": [{"token": "A", "logprob": -0.1}]},
    "not_a_number": {"content": [{"token": "A", "logprob": "-0.1", "bytes": None, "top_logprobs": "A"}]},
}
