"""Ask a judge the questions that the cache does not answer, within a budget, and store every answer at once."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from tqdm.auto import tqdm

from valuefree.errors import ConfigError, JudgeError
from valuefree.evaluation.judging.backends import Backend, Reply, Settings
from valuefree.evaluation.judging.cache import JudgementCache
from valuefree.evaluation.judging.outcomes import Order

logger = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 32  # after so many consecutive failures the judge seems to be down


@dataclass(frozen=True)
class Call:
    """One question about one pair in one order."""

    key: str
    order: Order
    question: str


@dataclass(frozen=True)
class Prices:
    """Prices per million tokens in any currency. cap: the most that one run may cost; None for no limit."""

    per_million_input: float = 0.0
    per_million_output: float = 0.0
    cap: float | None = None

    def __post_init__(self) -> None:
        if self.per_million_input < 0 or self.per_million_output < 0:
            raise ConfigError("prices per million tokens are below 0.")
        if self.cap is not None and not (self.per_million_input or self.per_million_output):
            raise ConfigError("a spending cap needs the prices of input and output tokens.")

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """The cost of so many tokens."""
        return (input_tokens * self.per_million_input + output_tokens * self.per_million_output) / 1e6


@dataclass(frozen=True)
class Estimate:
    """Calls of a run, how many of them the cache answers, and the tokens and highest cost of the others."""

    calls: int
    cached: int
    input_tokens: int
    output_tokens: int
    cost: float

    def __str__(self) -> str:
        cost = f", at most {self.cost:.2f}" if self.cost else ""
        return (
            f"{self.calls} calls, {self.cached} of them in the cache; to ask: {self.calls - self.cached}, with about "
            f"{self.input_tokens} tokens in and at most {self.output_tokens} out{cost}"
        )


@dataclass(frozen=True)
class Asked:
    """The calls of a run: answered by the cache, answered by the judge, failed, and not asked (`stopped` says why).

    requests: sent, retries included. Tokens are counted by the judge. estimated: calls without such counts, or with
    retries; they count with an estimate of the question's tokens and the most tokens that an answer may have.
    """

    cached: int = 0
    answered: int = 0
    failed: int = 0
    not_asked: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: int = 0
    cost: float = 0.0
    stopped: str | None = None
    first_error: str | None = None

    def __add__(self, other: "Asked") -> "Asked":
        either = ("stopped", "first_error")
        summed = {
            item.name: getattr(self, item.name) + getattr(other, item.name)
            for item in fields(self)
            if item.name not in either
        }
        return Asked(**summed, **{name: getattr(self, name) or getattr(other, name) for name in either})

    @property
    def missing(self) -> int:
        """Calls without an answer, which the next run repeats."""
        return self.failed + self.not_asked


def _missing(calls: Sequence[Call], cache: JudgementCache) -> tuple[list[Call], int]:
    """The distinct calls that the cache does not answer, and the number of those that it does."""
    distinct = {call.key: call for call in calls}
    missing = [call for key, call in distinct.items() if key not in cache.answers]
    return missing, len(distinct) - len(missing)


def estimate(
    calls: Sequence[Call], backend: Backend, cache: JudgementCache, settings: Settings, prices: Prices
) -> Estimate:
    """The `Estimate` of a run; nothing is asked."""
    missing, cached = _missing(calls, cache)
    tokens = sum(backend.tokens(call.question) for call in missing)
    out = settings.max_new_tokens * len(missing)
    return Estimate(cached + len(missing), cached, tokens, out, prices.of(tokens, out))


def ask_all(
    calls: Sequence[Call],
    backend: Backend,
    cache: JudgementCache,
    settings: Settings,
    *,
    prices: Prices | None = None,
    progress: bool = False,
) -> Asked:
    """Ask each distinct call that the cache does not answer once, and add the answers to the cache.

    No request is sent that could exceed the cap; a pending request counts with all tokens that it may use. After
    `FAILURES_IN_A_ROW` consecutive failures nothing more is asked.

    Raises:
        ConfigError, JudgeError: the judge refuses all calls. Exceptions of a user's judge are passed on with a note.
            Answers to pending requests are stored first.
    """
    missing, cached = _missing(calls, cache)
    run = _Run(backend, cache, settings, prices or Prices())
    if missing:
        with tqdm(total=len(missing), desc="judge", disable=not progress, leave=False) as bar:
            run.ask_all(missing, bar)
    return run.summary(cached, len(missing))


class _Run:
    def __init__(self, backend: Backend, cache: JudgementCache, settings: Settings, prices: Prices):
        self.backend, self.cache, self.settings, self.prices = backend, cache, settings, prices
        self.tally = threading.Lock()
        counted = ("answered", "failed", "requests", "input_tokens", "output_tokens", "estimated")  # fields of `Asked`
        self.counts = dict.fromkeys(counted, 0)
        self.failures_in_a_row = 0
        self.reserved = 0.0  # cost of the pending batches, at most
        self.stopped: str | None = None
        self.first_error: str | None = None

    def ask_all(self, calls: Sequence[Call], bar: Any) -> None:
        """Keep as many batches pending as the judge accepts at a time."""
        size = self.backend.batch_size
        batches = (calls[start : start + size] for start in range(0, len(calls), size))
        batch = next(batches, None)
        under_way: set[Future] = set()
        fatal: BaseException | None = None
        with ThreadPoolExecutor(self.backend.concurrency) as pool:
            while True:
                while batch and not fatal and not self.stopped and len(under_way) < self.backend.concurrency:
                    if not self._reserve(batch):
                        break  # until a pending batch has cost less than was reserved for it
                    under_way.add(pool.submit(self._ask, batch))
                    batch = next(batches, None)
                if not under_way:
                    if batch and not fatal and not self.stopped:
                        self.stopped = f"the spending cap of {self.prices.cap:g} ({self._spent():.4g} spent)"
                    break
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    error = future.exception()
                    if error is None:
                        bar.update(future.result())
                    fatal = fatal or error
        if fatal is not None:
            raise self._with_count_of_answers(fatal)

    def _with_count_of_answers(self, error: BaseException) -> BaseException:
        """The error with the number of answers so far, and where they are kept."""
        answered = self.counts["answered"]
        if not answered:
            return error
        note = f"Answers so far: {answered}, kept in {self.cache.file}; the next run does not ask for them again."
        if self.cache.file is None:
            note = f"Answers so far: {answered}, kept in no file; a cache in a file would keep them."
        for kind in (ConfigError, JudgeError):
            if isinstance(error, kind):
                return kind(f"{error} {note}")
        error.add_note(note)
        return error

    def _spent(self) -> float:
        return self.prices.of(self.counts["input_tokens"], self.counts["output_tokens"])

    def _most(self, batch: Sequence[Call]) -> float:
        tokens = sum(self.backend.tokens(call.question) for call in batch)
        return self.prices.of(tokens, self.settings.max_new_tokens * len(batch))

    def _reserve(self, batch: Sequence[Call]) -> bool:
        if self.prices.cap is None:
            return True
        most = self._most(batch)
        with self.tally:
            if self._spent() + self.reserved + most > self.prices.cap + 1e-12:
                return False
            self.reserved += most
        return True

    def _ask(self, batch: Sequence[Call]) -> int:
        replies = self.backend.ask([call.question for call in batch], self.settings)
        for call, reply in zip(batch, replies, strict=True):
            self.cache.add(self._row(call, reply))
            self._count(call, reply)
        if self.prices.cap is not None:
            with self.tally:
                self.reserved -= self._most(batch)
        return len(batch)

    def _row(self, call: Call, reply: Reply) -> dict[str, Any]:
        return {
            "key": call.key,
            "judge": self.backend.name,
            "revision": self.backend.revision,
            "order": call.order,
            "text": reply.text,
            "top": [list(entry) for entry in reply.top] if reply.top else None,
            "error": reply.error,
            "input_tokens": reply.input_tokens,
            "output_tokens": reply.output_tokens,
            "requests": reply.sent,
            "model": reply.model,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _count(self, call: Call, reply: Reply) -> None:
        guess = self.backend.tokens(call.question)
        tokens_in = guess if reply.input_tokens is None else reply.input_tokens
        tokens_out = reply.output_tokens
        if tokens_out is None:
            tokens_out = self.settings.max_new_tokens if reply.text else 0
        unknown = None in (reply.input_tokens, reply.output_tokens)
        counts = self.counts
        with self.tally:
            counts["requests"] += reply.sent
            # A failed try may be charged for its question; servers do not report it.
            counts["input_tokens"] += tokens_in + guess * max(reply.sent - 1, 0) if reply.sent else 0
            counts["output_tokens"] += tokens_out
            counts["estimated"] += bool(reply.sent and (unknown or reply.sent > 1))
            counts["answered" if reply.error is None else "failed"] += 1
            self.failures_in_a_row = 0 if reply.error is None else self.failures_in_a_row + 1
            self.first_error = self.first_error or reply.error
            if self.failures_in_a_row >= FAILURES_IN_A_ROW:
                self.stopped = self.stopped or f"{self.failures_in_a_row} failures in a row"

    def summary(self, cached: int, missing: int) -> Asked:
        """The counts of the run."""
        not_asked = missing - self.counts["answered"] - self.counts["failed"]
        return Asked(
            cached=cached,
            not_asked=not_asked,
            cost=self._spent(),
            stopped=self.stopped if not_asked else None,
            first_error=self.first_error,
            **self.counts,
        )
