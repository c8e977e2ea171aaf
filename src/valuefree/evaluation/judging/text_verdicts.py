"""Read a verdict from what a judge wrote: anchored, word-bounded labels only; two different ones are no verdict.

A label counts where it stands as an answer, never because it occurs:

- alone on a line: ``B``, ``"B"``, ``[[B]]``, ``Output (b)``;
- at the start, set off: ``A: good answer``, ``A is the correct answer.``;
- named as the verdict: ``my answer is B``, ``final verdict: [[A]]``, ``I prefer Response B``;
- judged better: ``Output (a) is better``, ``Therefore, B is more accurate``; or no better:
  ``Therefore, both are equally good``.

The first three are firm, and so is a judgement that opens the text or concludes it (*therefore*, *overall*). A passing
"A is better at …" counts where nothing firm is said, and contradicts where it comes after. "Neither A nor B is better",
"whether A is better", "A is not better" say nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from valuefree.evaluation.judging.labels import DEFAULT_LABELS, Labels, Verdict

NOUNS = "output|response|answer|assistant|option|candidate|system|model"
VERBS = "is|was|wins|has|because|since|as|over|due|by|for|provides|gives|offers|answers|does|better"
AGAINST = "not|no|never|worse|less|wrong|incorrect|poor|poorer|bad|unhelpful|irrelevant|too|only|neither|also|as|equal"
BETTER = (
    r"(?:is|was|are|seems|appears|would\s+be|remains)\s+(?:(?:clearly|slightly|much|far|overall|ultimately|also|still|"
    r"indeed|generally|therefore|thus|the|a|marginally|somewhat|significantly)\s+)*"
    r"(?:better|best|superior|preferable|preferred|favored|favoured|stronger|winner|correct\s+(?:answer|choice))\b"
)
MORE = r"(?:is|was|provides|offers|gives|does|has)\s+(?:(?:a|an|the|clearly|slightly)\s+)*(?:more|most|better|best)\b"
EVEN = re.compile(r"\b(?:both|the\s+two)\b[^.!?\n]{0,80}?\b(?:are|is|seem)\s+equally\s+\w+", re.IGNORECASE)
CONCLUSION = r"\b(?:therefore|thus|hence|overall|ultimately|in\s+conclusion|in\s+summary|to\s+conclude|consequently)\b"
NO_CLAIM = re.compile(
    r"\b(?:not|neither|nor|whether|if|unless|which|cannot|hardly|either|could|might|may|no)\b|n[’']t\b", re.IGNORECASE
)
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
DRESS = r"[\s\"'“”‘’`*_#>\[\](){}.:!,\-]{0,12}"  # around a label alone on its line; bounded, as all runs here are


@dataclass(frozen=True)
class Reading:
    """A verdict, or None and why there is none."""

    verdict: Verdict | None
    reason: str | None = None


@dataclass(frozen=True)
class _Claim:
    verdict: Verdict
    at: int
    firm: bool


def read_text(text: str, labels: Labels = DEFAULT_LABELS) -> Reading:
    """The verdict of a judge's answer, by the rules above.

    Args:
        text: raw, as the judge wrote it. labels: default ``A``, ``B``, ``Neutral`` (``Tie`` is read as neutral too).
    """
    if not text.strip():
        return Reading(None, "the answer is empty")
    claims = list(_claims(text, labels))
    if not claims:
        return Reading(None, "no label stands as an answer")
    firm = [claim for claim in claims if claim.firm]
    counted = firm or claims
    if firm:
        end = max(claim.at for claim in firm)
        counted = firm + [claim for claim in claims if claim.at > end]
    verdicts = {claim.verdict for claim in counted}
    if len(verdicts) > 1:
        return Reading(None, "two different verdicts")
    return Reading(counted[-1].verdict)


def _claims(text: str, labels: Labels) -> Iterator[_Claim]:
    patterns = _patterns(labels)
    start = 0
    for piece in SENTENCE.split(text):
        start = text.index(piece, start)
        if not piece.strip():
            continue
        alone = patterns.alone.fullmatch(piece)
        if alone:
            yield _Claim(_verdict(alone, labels), start, firm=True)
            continue
        leading = patterns.leading.match(piece)
        if leading and not text[:start].rpartition("\n")[2].strip():  # at the start of a line
            yield _Claim(_verdict(leading, labels), start, firm=True)
        # "Output (b) is better." as the first words is an answer before its reasons.
        first_words = piece.strip().rstrip(".!") if not text[:start].strip() else ""
        opens = patterns.better.fullmatch(first_words) is not None
        concludes = opens or re.search(CONCLUSION, piece, re.IGNORECASE) is not None
        for firm, pattern in ((True, patterns.named), (concludes, patterns.better)):
            yield from _said(pattern, piece, start, firm, labels)
        if concludes:
            yield from _said(patterns.more, piece, start, True, labels)
        if concludes or piece.strip() == text.strip():
            yield from _said(EVEN, piece, start, True, labels)


def _said(pattern: re.Pattern, piece: str, start: int, firm: bool, labels: Labels) -> Iterator[_Claim]:
    for match in pattern.finditer(piece):
        clause = re.split(r"[,;:]|\bbut\b|\bwhile\b|\bhowever\b", piece[: match.start()], flags=re.IGNORECASE)[-1]
        if not NO_CLAIM.search(clause):
            yield _Claim(_verdict(match, labels), start + match.start(), firm)


def _verdict(match: re.Match, labels: Labels) -> Verdict:
    found = next((text for text in match.groups() if text is not None), "").lower()
    for label, verdict in labels:
        if found == label.lower():
            return verdict
    return "neutral"  # a synonym of the neutral label, or equally good answers


@dataclass(frozen=True)
class _Patterns:
    alone: re.Pattern
    leading: re.Pattern
    named: re.Pattern
    better: re.Pattern
    more: re.Pattern


@lru_cache
def _patterns(labels: Labels) -> _Patterns:
    sides = "|".join(re.escape(label) for label in (labels.first, labels.second))
    neutral = "|".join(dict.fromkeys([re.escape(labels.neutral), "Neutral", "Tie"]))
    # After a noun or in brackets any case will do; a bare label keeps its own, for "a" is also an article.
    noun = rf"(?i:(?:{NOUNS})\s{{0,3}}[(\[\"'“*]{{0,4}}({sides})(?!\w)[)\]\"'”*]{{0,4}})"
    boxed = rf"(?i:[(\[\"'“*]{{1,4}}({sides})[)\]\"'”*]{{1,4}})"
    bare = rf"(?<!\w)({sides})(?![\w’'+])(?!\s+(?!(?:{VERBS})\b)[a-z])"
    side = rf"(?:{noun}|{boxed}|{bare})"
    none = rf"(?i:[(\[\"'“*]{{0,4}}(?<!\w)({neutral})(?!\w)[)\]\"'”*]{{0,4}})"
    noun_before = rf"(?i:\b(?:final\s+)?(?:{NOUNS}|verdict|choice|preference|winner|decision|judge?ment|pick)\b)"
    is_ = r"(?:\s{0,3}[:=*]{1,4}\s{0,3}|\s+(?i:is|was|would\s+be)\s*:?\s+(?:(?i:clearly|therefore|a)\s+)?)"
    chosen = r"(?i:\b(?:choose|prefer|select|pick|favou?r|go\s+with|vote\s+for|went\s+with)\s+)"
    so = rf"(?i:{CONCLUSION}|\bso\b)[,:]?\s+(?i:(?:it\s+is|it’s|it's|i\s+say|i\s+answer)\s+)?(?:(?i:a)\s+)?{none}"
    alone_noun = rf"(?i:(?:(?:my|the)\s+)?(?:final\s+)?(?:{NOUNS}|verdict)?)"
    return _Patterns(
        alone=re.compile(rf"{DRESS}{alone_noun}{DRESS}(?i:({sides})|({neutral})|(N(?=\W*$))){DRESS}"),
        leading=re.compile(
            rf"[\s\"'“*\[(]{{0,12}}(?:({sides})|(?i:({neutral})))[\"'”*\])]{{0,4}}"
            rf"(?:\s{{0,3}}[:;,.)](?=\s|$)|\s{{1,3}}[-–—]\s|\s{{0,3}}\(|\s{{1,3}}(?:{VERBS})\b(?!\s+(?:{AGAINST})\b))"
        ),
        named=re.compile(rf"{noun_before}{is_}(?:{side}|{none})|{chosen}(?:{side}|{none})|{so}"),
        better=re.compile(rf"{side}\s+(?i:{BETTER}|wins\b)"),
        more=re.compile(rf"{side}\s+(?i:{MORE})"),
    )
