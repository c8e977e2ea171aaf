"""Compare the answers of two systems by a judge, in both orders, with a cache of its answers."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Literal

from valuefree.data.prompts import Prompt
from valuefree.data.validation import prompt_text
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.judging.asking import Call, Prices, ask_all
from valuefree.evaluation.judging.backends import Backend, Settings
from valuefree.evaluation.judging.cache import JudgementCache, call_key
from valuefree.evaluation.judging.label_probabilities import LabelProbabilities, label_probabilities
from valuefree.evaluation.judging.labels import DEFAULT_LABELS, Labels
from valuefree.evaluation.judging.outcomes import (
    NO_ANSWER,
    Comparison,
    Opinion,
    Order,
    decided_without_asking,
    verdict_of,
)
from valuefree.evaluation.judging.prompts import PROMPTS, JudgePrompt, ask_about
from valuefree.evaluation.judging.result import JudgeResult, Setup
from valuefree.evaluation.judging.text_verdicts import read_text
from valuefree.evaluation.reward_functions import rewards_of

Read = Literal["auto", "probabilities", "text"]
BOTH: tuple[Order, ...] = ("ab", "ba")


@dataclass(frozen=True)
class Protocol:
    """How pairs are presented to a judge and how its answers are read.

    orders: 2, or 1 with each pair's order drawn by seed. read: ``probabilities`` of the label tokens, the ``text``, or
    ``auto``, which reads the probabilities if they are usable, else the text, and counts the latter. max_characters: of
    each text shown; None for no limit.
    """

    prompt: JudgePrompt = PROMPTS["guarded"]
    orders: int = 2
    read: Read = "auto"
    max_new_tokens: int = 16
    temperature: float = 0.0
    max_characters: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.orders not in (1, 2):
            raise ConfigError(f"orders is {self.orders}; expected 2, or 1 for a single, random placement.")
        if self.max_characters is not None and self.max_characters < 1:
            raise ConfigError(f"max_characters is {self.max_characters}; expected at least 1, or None for no limit.")

    def settings(self) -> Settings:
        """How the judge decodes."""
        return Settings(self.max_new_tokens, self.temperature, self.seed, probabilities=self.read != "text")

    def with_judge(self, backend: Backend) -> "Protocol":
        """The protocol with ``auto`` replaced by ``text`` for a judge that never gives probabilities.

        Raises:
            ConfigError: the protocol requires probabilities of such a judge.
        """
        if backend.probabilities or self.read == "text":
            return self
        if self.read == "probabilities":
            raise ConfigError(f"read=probabilities, but the judge {backend.name} gives none; use text or auto.")
        return replace(self, read="text")


def judge(
    prompts: Sequence[Prompt],
    responses_a: Sequence[str],
    responses_b: Sequence[str],
    *,
    backend: Backend,
    orders: int = 2,
    protocol: Protocol | None = None,
    names: tuple[str, str] = ("A", "B"),
    cache: JudgementCache | str | None = None,
    prices: Prices | None = None,
    progress: bool = False,
) -> JudgeResult:
    """Which of two answers a judge prefers, prompt by prompt.

    Without a call, equal answers are neutral and an empty answer loses. A pair is unjudged, and never neutral, if the
    judge did not answer or its answer has no readable verdict.

    Args:
        prompts, responses_a, responses_b: of equal length; a prompt may occur more than once.
        backend: `ServerJudge`, `LocalJudge` or `FunctionJudge`. orders, protocol: see `Protocol`; `orders` is short for
            ``Protocol(orders=…)``.
        names: of the systems. cache: file of answers, which may hold those of earlier runs; None for no file.
        prices: of tokens, and a cap.

    Raises:
        DataError: lengths differ, nothing to compare, or a response that is not text.
        ConfigError, JudgeError: the judge refuses all questions, or another run writes to the cache.
    """
    protocol = _protocol(protocol, orders).with_judge(backend)
    with ExitStack() as stack:
        opened = _opened(cache, stack)
        questions = _Questions(prompts, responses_a, responses_b, backend, protocol, opened)
        asked = ask_all(questions.calls, backend, opened, protocol.settings(), prices=prices, progress=progress)
        comparisons = questions.comparisons()
    setup = Setup(
        judge=backend.name,
        revision=backend.revision,
        prompt=protocol.prompt.version,
        guarded=protocol.prompt.guarded,
        orders=protocol.orders,
        read=protocol.read,
        temperature=protocol.temperature,
        seed=protocol.seed,
        max_characters=protocol.max_characters,
        cut=questions.cut,
        served=questions.served(),
        labels=tuple(label for label, _ in protocol.prompt.labels),
    )
    return JudgeResult(names, comparisons, setup, asked)


def calls_of(
    prompts: Sequence[Prompt],
    responses_a: Sequence[str],
    responses_b: Sequence[str],
    *,
    backend: Backend,
    protocol: Protocol,
    cache: JudgementCache,
) -> list[Call]:
    """The calls that `judge` would make with the same arguments, including those that the cache answers."""
    return _Questions(prompts, responses_a, responses_b, backend, protocol.with_judge(backend), cache).calls


def judge_by_reward(
    prompts: Sequence[Prompt],
    responses_a: Sequence[str],
    responses_b: Sequence[str],
    reward_function: Callable[..., Any],
    *,
    name: str = "reward",
    names: tuple[str, str] = ("A", "B"),
    seed: int = 0,
) -> JudgeResult:
    """A reward function as judge: the larger reward wins, equal rewards are neutral. There is no order.

    Equal and empty answers get rewards like any other.

    Raises:
        DataError: lengths differ, nothing to compare, a response that is not text, rewards that are missing or not
            finite.
    """
    _check(prompts, responses_a, responses_b)
    first, second = (rewards_of(reward_function, prompts, list(texts)) for texts in (responses_a, responses_b))
    comparisons = []
    for prompt, a, b, one, two in zip(prompts, responses_a, responses_b, first, second, strict=True):
        result = "neutral" if one == two else "win" if one > two else "loss"
        opinion = Opinion("ab", verdict_of(result, "ab"), "reward")
        comparisons.append(Comparison(prompt, (opinion,), _words(a, b)))
    return JudgeResult(names, comparisons, Setup(name, "1", None, True, 1, "reward", seed=seed))


def _protocol(protocol: Protocol | None, orders: int) -> Protocol:
    if protocol is None:
        return Protocol(orders=orders)
    if orders not in (2, protocol.orders):
        raise ConfigError(f"orders={orders}, but the protocol says {protocol.orders}; give one of the two.")
    return protocol


def _opened(cache: JudgementCache | str | None, stack: ExitStack) -> JudgementCache:
    """The cache; opened here unless the caller has opened it."""
    return cache if isinstance(cache, JudgementCache) else stack.enter_context(JudgementCache(cache))


def _check(prompts: Sequence[Prompt], responses_a: Sequence[str], responses_b: Sequence[str]) -> None:
    sizes = (len(prompts), len(responses_a), len(responses_b))
    if len(set(sizes)) > 1 or not prompts:
        raise DataError(f"{sizes[0]} prompts, {sizes[1]} and {sizes[2]} responses; expected as many of each, and some.")
    for name, texts in (("responses_a", responses_a), ("responses_b", responses_b)):
        wrong = [index for index, text in enumerate(texts) if not isinstance(text, str)]
        if wrong:
            raise DataError(
                f"{name}[{wrong[0]}] is {str(texts[wrong[0]])[:60]}, not text ({len(wrong)} of {len(texts)} are not). "
                "Leave out prompts without an answer, or pass an empty text, which loses."
            )


def _words(first: str, second: str) -> tuple[int, int]:
    return len(first.split()), len(second.split())


class _Questions:
    """The calls that pairs need, and the comparisons made from the answers."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        responses_a: Sequence[str],
        responses_b: Sequence[str],
        backend: Backend,
        protocol: Protocol,
        cache: JudgementCache,
    ):
        _check(prompts, responses_a, responses_b)
        self.pairs = list(zip(prompts, responses_a, responses_b, strict=True))
        self.protocol, self.cache = protocol, cache
        self.cut = 0
        self.of_pair: list[list[Call]] = []
        identity = {"judge": backend.name, "revision": backend.revision, "settings": protocol.settings().to_dict()}
        for number, (prompt, a, b) in enumerate(self.pairs):
            calls = []
            for order in () if decided_without_asking(a, b) else self._orders(number, prompt):
                shown = (a, b) if order == "ab" else (b, a)
                question = ask_about(
                    protocol.prompt, prompt, *shown, salt=cache.salt, max_characters=protocol.max_characters
                )
                self.cut += question.cut if not calls else 0  # the same texts in both orders
                calls.append(Call(call_key(**identity, question=question.text, order=order), order, question.text))
            self.of_pair.append(calls)

    @property
    def calls(self) -> list[Call]:
        return [call for calls in self.of_pair for call in calls]

    def served(self) -> tuple[str, ...]:
        """Names of the model that the server reported in the answers that were used."""
        rows = [self.cache.answers[call.key] for call in self.calls if call.key in self.cache.answers]
        return tuple(sorted({row["model"] for row in rows if row["model"]}))

    def _orders(self, number: int, prompt: Prompt) -> tuple[Order, ...]:
        if self.protocol.orders == 2:
            return BOTH
        drawn = blake2b(f"{self.protocol.seed}|{number}|{prompt_text(prompt)}".encode(), digest_size=1).digest()[0]
        return (BOTH[drawn % 2],)

    def comparisons(self) -> list[Comparison]:
        """One per pair, in order."""
        comparisons = []
        for (prompt, a, b), calls in zip(self.pairs, self.of_pair, strict=True):
            opinions, kind = tuple(self._opinion(call) for call in calls), None
            if decided := decided_without_asking(a, b):
                kind, result = decided
                orders = BOTH[: self.protocol.orders]
                opinions = tuple(Opinion(order, verdict_of(result, order), "decided") for order in orders)
            comparisons.append(Comparison(prompt, opinions, _words(a, b), kind))
        return comparisons

    def _opinion(self, call: Call) -> Opinion:
        row = self.cache.answers.get(call.key)
        if row is None:
            return Opinion(call.order, None, "text", NO_ANSWER)
        labels = self.protocol.prompt.labels
        return read_answer(row["text"], row["top"], order=call.order, read=self.protocol.read, labels=labels)


def read_answer(
    text: str,
    top: Sequence[tuple[str, float]] | None,
    *,
    order: Order,
    read: Read = "auto",
    labels: Labels = DEFAULT_LABELS,
) -> Opinion:
    """The opinion in an answer, from its first token's probabilities or its text. Asks nothing.

    Args:
        text, top: as in the cache. order: in which the answers were shown.
    """
    why_text = None
    if read != "text":
        found = label_probabilities(top, labels, text=text)
        if isinstance(found, LabelProbabilities):
            return Opinion(order, found.verdict, "probabilities", probabilities=found)
        if read == "probabilities":
            return Opinion(order, None, "probabilities", found)
        why_text = found
    said = read_text(text, labels)
    return Opinion(order, said.verdict, "text", said.reason, why_text)
