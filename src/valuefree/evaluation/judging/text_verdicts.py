"""Read a verdict from the text of a judge, from anchored, word-bounded labels; two different ones are no verdict.

A label counts if it stands as an answer, not merely because it occurs:

- alone on a line: ``B``, ``"B"``, ``[[B]]``, ``Output (b)``;
- at the start, set off or judged better: ``A: good answer``, ``A because B is wrong``, ``A is the correct answer.``;
- named as the verdict: ``my answer is B``, ``final verdict: [[A]]``, ``I prefer Response B``;
- judged better: ``Output (a) is better``, ``Therefore, B is more accurate``; or no better:
  ``Therefore, both are equally good``.

The first three are firm, and so is a judgement that opens or concludes the text (*therefore*, *overall*). A passing
"A is better at …" counts if there is no firm label, or as a contradiction if it follows one. "Neither A nor B is
better", "whether A is better", "A is not better" do not count, nor does a statement about one side without comparison:
"A has several errors", "A is correct". A label is dropped if its own clause finds fault with its answer: "Answer: A is
wrong", "the worst answer is A", "A is better at making mistakes". In case of doubt there is no verdict.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from valuefree.evaluation.judging.labels import DEFAULT_LABELS, Labels, Verdict

NOUNS = "output|response|answer|assistant|option|candidate|system|model"
VERBS = "is|was|wins|has|because|since|as|over|due|by|for|provides|gives|offers|answers|does|better"
REASONS = "because|since|as|over|due|by|for"
# Words that find fault, or deny something. In the clause of a label they cancel it: too many such words leave texts
# unread, too few cause wrong verdicts.
FAULT_NOUNS = r"errors?|mistakes?|flaws?|faults?|issues?|problems?|bugs?|hallucinations?|contradictions?|inaccuracies"
FAULT = re.compile(
    rf"""\b(?:not|no|never|none|nothing|neither|nor|cannot|hardly|barely|scarcely|without|little|only|merely|another
    |worse|worst|less|least|loses?|too|overly|instead|{FAULT_NOUNS}|error\w*|erroneous\w*|mis\w+|wrong\w*|false\w*
    |fail\w*|lack\w*|omit\w*|ignor\w*|poor\w*|bad|badly|weak\w*|inferior|faulty|flawed|vague\w*|redundan\w*
    |repetiti\w*|harm\w*|offensive|toxic|verbos\w*|nonsens\w*|broken|hard|difficult|deviat\w*|doubt\w*|questionable|shallow
    |superficial|limited|confus\w*|contradict\w*|hallucinat\w*|fabricat\w*|invent\w*|avoided|reject\w*|left\s+out
    |un(?!der|iq|it|iv|if|io|til|like\b)\w+|i(?:l|r)(?:log|leg|rel|rat|resp)\w+|im(?:prec|prop|perf|poss|pol)\w+
    |in(?:accura|correct|complete|coheren|consist|valid|approp|suffic|adequ|effect|sens|compreh|coherent)\w*
    |dis(?:joint|appoint|organ|regard|tort|like|connect)\w*)\b|n[’']t\b""",
    re.IGNORECASE | re.VERBOSE,
)
FAULTLESS = re.compile(
    rf"\b(?:no|without|free\s+(?:of|from)|fewer|fewest)\s+(?:\w+\s+){{0,2}}?(?:{FAULT_NOUNS})\b|\b\w+-free\b",
    re.IGNORECASE,
)
CLAUSE = re.compile(
    r"[,;:.!()–—]|\s-\s|\b(?:and|but|while|whereas|however|although|though|because|since|as|than|over|which)\b",
    re.IGNORECASE,
)
# The end of a statement about a label, for the search for faults: reasons and concessions do not cancel a choice.
_REASON = r"\b(?:because|since|due\s+to|as\s+(?:it|they|this|there))\b"
_CONTRAST = r"\b(?:but|although|though|even|despite|while|whereas|however)\b"
_PAUSE = r"[,;:.!()–—]|\s-\s"
REASON = re.compile(_REASON, re.IGNORECASE)
CONTRAST = re.compile(_CONTRAST, re.IGNORECASE)
PREDICATE = re.compile(f"{_PAUSE}|{_REASON}|{_CONTRAST}", re.IGNORECASE)
UNQUALIFIED = re.compile(rf"\s*(?:(?:{NOUNS})\b)?\s*(?:than\b|{_PAUSE}|{_REASON}|{_CONTRAST}|$)", re.IGNORECASE)
SPAN = 300  # characters before and after a label that are looked at
BETTER = (
    r"(?:is|was|are|seems|appears|would\s+be|remains)\s+(?:(?:clearly|slightly|much|far|overall|ultimately|also|still|"
    r"indeed|generally|therefore|thus|the|a|marginally|somewhat|significantly)\s+)*"
    r"(?:better|best|superior|preferable|preferred|favored|favoured|stronger|winner|correct\s+(?:answer|choice))\b"
)
GOOD = (
    r"accurate|actionable|appropriate|balanced|clear|coherent|complete|comprehensive|concise|consistent|convincing|"
    r"correct|creative|detailed|direct|effective|engaging|faithful|fluent|focused|helpful|honest|in-depth|informative|"
    r"insightful|interesting|logical|natural|nuanced|organi[sz]ed|practical|precise|readable|relevant|reliable|robust|"
    r"safe|specific|structured|suitable|thorough|truthful|useful|valuable"
)
MORE = (
    r"(?:is|was|provides|offers|gives|does|has)\s+(?:(?:a|an|the|clearly|slightly|much|far)\s+)*"
    rf"(?:better|best|(?:more|most)\s+(?:\w+ly\s+)?(?:{GOOD}))\b"
)
EVEN = re.compile(r"\b(?:both|the\s+two)\b[^.!?\n]{0,80}?\b(?:are|is|seem)\s+equally\s+\w+", re.IGNORECASE)
CONCLUSION = r"\b(?:therefore|thus|hence|overall|ultimately|in\s+conclusion|in\s+summary|to\s+conclude|consequently)\b"
NO_CLAIM = re.compile(
    r"\b(?:not|neither|nor|whether|if|unless|which|cannot|hardly|either|could|might|may|no|doubt\w*|"
    r"unlikely|(?:wrong|incorrect|false|untrue|mistaken)\s+(?:to|that))\b|n[’']t\b",
    re.IGNORECASE,
)
PHRASE = re.compile(r"\b(?:the|a|an|my|this|that|so|and|is|are|has|then|therefore|thus|hence)\b", re.IGNORECASE)
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
DECORATION = r"[\s\"'“”‘’`*_#>\[\](){}.:!,\-]{0,12}"  # around a label alone on its line; bounded like all repetitions


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
        if alone and FAULT.match(text[start + len(piece) :][:SPAN].lstrip(" ")):
            continue  # "A. Wrong answer."
        if alone:
            yield _Claim(_verdict(alone, labels), start, firm=True)
            continue
        at_line_start = not text[:start].rpartition("\n")[2].strip()
        set_off = _set_off(piece, patterns, at_line_start=at_line_start)
        if set_off:
            yield _Claim(_verdict(set_off, labels), start, firm=True)
        if piece.rstrip().endswith("?"):
            continue
        # "Output (b) is better." as the first words is an answer before its reasons.
        first_words = piece.strip().rstrip(".!") if not text[:start].strip() else ""
        opens = patterns.better.fullmatch(first_words) is not None
        opens = opens or (at_line_start and patterns.opening.match(piece) is not None)
        concludes = opens or re.search(CONCLUSION, piece, re.IGNORECASE) is not None
        for firm, pattern in ((True, patterns.named), (concludes, patterns.better)):
            yield from _said(pattern, piece, start, firm, labels)
        if concludes:
            yield from _said(patterns.more, piece, start, True, labels)
        if concludes or piece.strip() == text.strip():
            yield from _said(EVEN, piece, start, True, labels)


def _set_off(piece: str, patterns: "_Patterns", *, at_line_start: bool) -> re.Match | None:
    """A label that is set off from what follows and not found fault with; "A: short, B: right" comments on both."""
    found = (patterns.set_off if at_line_start else patterns.remark).match(piece)
    if found is None or patterns.comment.search(piece, found.end()):
        return None
    return None if _finds_fault(piece[found.end() :][:SPAN], found, patterns, until=REASON) else found


def _said(pattern: re.Pattern, piece: str, start: int, firm: bool, labels: Labels) -> Iterator[_Claim]:
    patterns = _patterns(labels)
    for match in pattern.finditer(piece):
        before = piece[max(0, match.start() - SPAN) : match.start()]
        clause = re.split(r"[,;:]|\bbut\b|\bwhile\b|\bhowever\b", before, flags=re.IGNORECASE)[-1]
        if NO_CLAIM.search(clause):
            continue
        if pattern is patterns.named and FAULT.search(PHRASE.split(clause)[-1]):  # "the worst answer is A"
            continue
        after = piece[match.end() : match.end() + SPAN]
        # "A is more detailed, but B is right": of two merits neither is the verdict.
        if CONTRAST.search(after) and (pattern is patterns.more or not UNQUALIFIED.match(after)):
            continue
        if not _finds_fault(after, match, patterns, until=PREDICATE):
            yield _Claim(_verdict(match, labels), start + match.start(), firm)


def _finds_fault(after: str, match: re.Match, patterns: "_Patterns", *, until: re.Pattern) -> bool:
    """Whether what follows a label in its sentence, as far as `until`, finds fault with it.

    A clause that begins with the other side is about that side, and so are those after it.
    """
    label = _label(match)
    if label not in patterns.others:  # neutral
        return False
    said = until.split(after, maxsplit=1)[0]
    about_other = False
    for clause in CLAUSE.split(FAULTLESS.sub(" ", said)):
        about_other = about_other or patterns.others[label].match(clause) is not None
        if not about_other and FAULT.search(clause):
            return True
    return False


def _label(match: re.Match) -> str:
    return next((text for text in match.groups() if text is not None), "").lower()


def _verdict(match: re.Match, labels: Labels) -> Verdict:
    found = _label(match)
    for label, verdict in labels:
        if found == label.lower():
            return verdict
    return "neutral"  # a synonym of the neutral label, or equally good answers


@dataclass(frozen=True)
class _Patterns:
    """Compiled for one set of labels.

    set_off: a label at the start of a line. remark: one at the start of any sentence. comment: one anywhere.
    opening: a label that is judged better at the start of a line. others: what a clause about the other side begins
    with, by label.
    """

    alone: re.Pattern
    set_off: re.Pattern
    remark: re.Pattern
    comment: re.Pattern
    opening: re.Pattern
    named: re.Pattern
    better: re.Pattern
    more: re.Pattern
    others: Mapping[str, re.Pattern]


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
    start = rf"[\s\"'“*\[(]{{0,12}}(?:({sides})|(?i:({neutral})))[\"'”*\])]{{0,4}}"
    mark = r"(?:\s{0,3}:(?=\s|$)|\s{1,3}[-–—]\s|\s{0,3}\()"
    about = {
        own.lower(): rf"[\s\"'“*]*(?:(?i:(?:the|that)\s+other\b|(?:the\s+)?(?:{NOUNS})\s{{0,3}}[(\[\"'“*]{{0,4}}"
        rf"{re.escape(other)}(?!\w))|[(\[]{{0,2}}{re.escape(other)}(?!\w)(?=\W*$|\W*\s\w+s\b))"
        for own, other in ((labels.first, labels.second), (labels.second, labels.first))
    }
    return _Patterns(
        alone=re.compile(rf"{DECORATION}{alone_noun}{DECORATION}(?i:({sides})|({neutral})|(N(?=\W*$))){DECORATION}"),
        set_off=re.compile(
            rf"{start}(?:\s{{0,3}}(?:[:;.]|\)(?!\s+[a-z]))(?=\s|$)|\s{{0,3}},(?=\s|$)(?!\s+(?:(?:and|or)\s+)?[(\[\"'“*]{{0,4}}(?:{sides})(?!\w))"
            rf"|\s{{1,3}}[-–—]\s|\s{{0,3}}\(|\s{{1,3}}(?:{REASONS})\b)"
        ),
        remark=re.compile(rf"{start}{mark}"),
        comment=re.compile(rf"(?<!\w)(?:{sides})[\"'”*\])]{{0,4}}{mark}"),
        opening=re.compile(rf"[\s\"'“*\[(]{{0,12}}(?:{sides})[\"'”*\])]{{0,4}}\s{{1,3}}(?i:{BETTER}|wins\b)"),
        named=re.compile(rf"{noun_before}{is_}(?:{side}|{none})|{chosen}(?:{side}|{none})|{so}"),
        better=re.compile(rf"{side}\s+(?i:{BETTER}|wins\b)"),
        more=re.compile(rf"{side}\s+(?i:{MORE})"),
        others={label: re.compile(text) for label, text in about.items()},
    )
