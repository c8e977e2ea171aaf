"""Rewards as people write them: thumbs in words and signs, stars, fractions, numbers, and categories by a mapping."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from valuefree.errors import ConfigError

UP = "up thumb_up thumbs_up thumbsup like liked positive good true yes helpful upvote 👍 +1"
DOWN = "down thumb_down thumbs_down thumbsdown dislike disliked negative bad false no unhelpful downvote 👎 -1"
THUMBS: dict[str, float] = {**dict.fromkeys(UP.split(), 1.0), **dict.fromkeys(DOWN.split(), -1.0)}
MINUS = "\u2212"  # the minus sign of typography
UNSEEN = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")  # variation selectors and skin tones
NUMBER_OF_STARS = re.compile(r"([0-9]+(?:[.,][0-9]+)?)\s*(?:stars?|★|⭐)")
SIGNS_OF_STARS = re.compile(r"([★⭐]*)([☆✩]*)")
FRACTION = re.compile(r"([0-9]+(?:[.,][0-9]+)?)\s*(?:/|out of)\s*([0-9]+)")
NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?|nan)", re.IGNORECASE)


class Rating(NamedTuple):
    """One reward. kind: thumb, number, stars, category. scale: the most that it could be, where the text says so."""

    value: float
    kind: str
    scale: float | None = None


def number_in(text: str) -> float | None:
    """The number that a text is, in ASCII digits and without the underscores that Python allows; None for others."""
    text = text.strip()
    return float(text) if NUMBER.fullmatch(text) else None


def plain(value: Any) -> str:
    """A text without what its spelling adds: case, white space at the ends, skin tones, the typographic minus."""
    return UNSEEN.sub("", str(value)).strip().casefold().replace(MINUS, "-")


def thumb_of(value: Any) -> float | None:
    """+1 or −1 for a thumb in any spelling (true/false, 👍🏽, ``Thumbs down``, ``+1``); None for anything else."""
    if not isinstance(value, (bool, str)):
        return None
    return THUMBS.get(re.sub(r"[\s-]+(?=[a-z])", "_", plain(value)).strip(":"))


def rating_of(value: Any, categories: Mapping[str, float] | None = None) -> Rating | None:
    """The reward that a value spells; None where it spells none.

    Args:
        value: a number, true/false or text: a thumb, ``4 stars``, ``★★★★☆``, ``4/5``, ``8 out of 10``, ``−1``.
        categories: label → reward, compared without case. They come before every other reading.
    """
    text = plain(value)
    if categories and text in categories:
        return Rating(categories[text], "category")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _of_number(value)
    thumb = thumb_of(value)
    if thumb is not None:
        return Rating(thumb, "number" if text in ("+1", "-1") else "thumb")
    if not isinstance(value, str):
        return None
    if found := FRACTION.fullmatch(text):
        return Rating(_number(found[1]), "stars", float(found[2]))
    if found := NUMBER_OF_STARS.fullmatch(text):
        return Rating(_number(found[1]), "stars")
    if text and (found := SIGNS_OF_STARS.fullmatch(text)):
        return Rating(float(len(found[1])), "stars", float(len(text)) if found[2] else None)
    number = number_in(text)
    return None if number is None else _of_number(number)


def _of_number(value: float) -> Rating | None:
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the floats
        return None
    return Rating(number, "number") if math.isfinite(number) else None


def spelled_reward(value: Any, *, thumbs: bool, categories: Mapping[str, float]) -> float | None:
    """The reward of one text or true/false in rows of this package; None where it spells none.

    thumbs: read thumbs, and stars out of 5. categories: label → reward.
    """
    rating = rating_of(value, categories) if isinstance(value, (bool, str)) else None
    if rating is None or rating.kind == "number":
        return thumb_of(value) if thumbs else None
    return rating.value if rating.kind == "category" or (thumbs and rating.scale in (None, 5)) else None


def ratings_of(
    values: Sequence[Any], *, name: str, categories: Mapping[str, float] | None = None, thumbs: bool = False
) -> tuple[list[float | None], list[str]]:
    """The rewards of a column, None where a value is missing, and what has to be said about them.

    Args:
        values: of the column; None and blank text are missing. name: of the column, for messages.
        categories: label → reward. thumbs: 1 and 0, in a column of nothing else, are thumbs: +1 and −1.

    Raises:
        ConfigError: labels that spell no reward, listed with their counts; thumbs mixed with numbers; two scales.
    """
    found = [None if is_missing(value) else rating_of(value, categories) for value in values]
    pairs = list(zip(values, found, strict=True))
    unknown = Counter(str(value) for value, rating in pairs if rating is None and not is_missing(value))
    if unknown:
        raise unknown_labels(name, unknown, categories or {})
    given = [rating for rating in found if rating is not None]
    _check_one_scale(name, given)
    rewards = [None if rating is None else rating.value for rating in found]
    kinds = {rating.kind for rating in given}
    if thumbs and kinds == {"number"} and not {rating.value for rating in given} <= {-1, 0, 1}:
        return rewards, [no_thumbs([rating.value for rating in given])]
    if kinds == {"number"} and {rating.value for rating in given} == {0.0, 1.0}:
        if thumbs:
            return [None if r is None else 2 * r - 1 for r in rewards], [
                f"{name} holds 0 and 1 only: rewards -1 and +1"
            ]
        return rewards, [f"{name} holds 0 and 1 only, kept as rewards 0 and 1; --thumbs makes them -1 and +1"]
    return rewards, [f"{name} holds thumbs: rewards +1 and -1"] if "thumb" in kinds else []


def no_thumbs(rewards: Iterable[float]) -> str:
    """What has to be said where thumbs are expected and the rewards are other numbers."""
    values = list(rewards)
    return f"the rewards are no thumbs, but numbers from {min(values):g} to {max(values):g}, kept as they are"


def is_missing(value: Any) -> bool:
    """Whether no reward was given: None, NaN, blank text."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def unknown_labels(name: str, labels: Mapping[str, int], given: Mapping[str, float]) -> ConfigError:
    """The error for labels that spell no reward, with the mapping to give; `given`: the categories so far."""
    most = sorted(labels.items(), key=lambda item: (-item[1], item[0]))[:10]
    shown = ", ".join(f"{label!r} ({count})" for label, count in most)
    more = f" and {len(labels) - len(most)} more" if len(labels) > len(most) else ""
    known = [f"{_quoted(label)}={number:g}" for label, number in given.items()]
    example = " ".join([*known, *(f"{_quoted(label)}=NUMBER" for label, _ in most)])
    return ConfigError(
        f"{name} holds labels that are no rewards: {shown}{more}. Say their rewards: --categories {example}"
    )


def read_categories(items: Iterable[str]) -> dict[str, float]:
    """``good=1,bad=-1``, or several such texts, as label → reward; raises ConfigError."""
    found = {}
    for part in (part for item in items for part in item.split(",") if part.strip()):
        label, _, text = part.rpartition("=")
        rating = rating_of(text)
        if not label.strip() or rating is None or rating.kind != "number":
            raise ConfigError(f"categories has {part!r}; expected LABEL=NUMBER, as in --categories good=1 bad=-1.")
        found[plain(label)] = rating.value
    return found


def _check_one_scale(name: str, ratings: Sequence[Rating]) -> None:
    kinds = {rating.kind for rating in ratings} - {"category"}
    scales = {rating.scale for rating in ratings if rating.scale is not None}
    signs = all(rating.value in (1, -1) for rating in ratings if rating.kind == "number")
    if len(scales) > 1:
        raise ConfigError(
            f"{name} has rewards on several scales: out of {', '.join(f'{s:g}' for s in sorted(scales))}."
        )
    if "thumb" in kinds and ("stars" in kinds or ("number" in kinds and not signs)):
        counts = Counter(rating.kind for rating in ratings)
        shown = ", ".join(f"{count} × {kind}" for kind, count in counts.most_common())
        raise ConfigError(
            f"{name} mixes thumbs with another scale ({shown}): +1 and -1 cannot be compared with it. "
            "Keep the rows of one kind, or say the rewards: --categories up=5 down=1"
        )


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _quoted(label: str) -> str:
    return f'"{label}"' if re.search(r"\s", label) else label
