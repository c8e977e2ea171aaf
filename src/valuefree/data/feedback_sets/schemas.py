"""The layout of the rows of each public set, recognised by its columns.

None of this was tested on the sets themselves. The columns of UltraFeedback come from its authors' scripts, those of
the binarized sets and of HelpSteer from their cards, those of rpo-split from the scripts that load it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from valuefree.data.feedback_sets.scores import Ratings, number, ratings
from valuefree.data.validation import RowError, prompt_of, text_of
from valuefree.errors import ConfigError, DataError

Values = Mapping[str, Any]
TURN = re.compile(r"\s*<extra_id_1>(User|Assistant)\n")
NO_RATINGS = Ratings()
HELPSTEER_QUALITY = ("helpfulness", "correctness", "coherence")


@dataclass(frozen=True)
class Item:
    """One response of a row; None is missing. `scores` by the name of the reward field."""

    response: str | None
    scores: dict[str, float | None]
    ratings: Ratings = NO_RATINGS
    system_prompt: str | None = None


@dataclass(frozen=True)
class Schema:
    """A layout of rows.

    needs: required columns. tops: highest value of each available reward. prompt: the prompt of a row, None if it is
    blank. items: the responses of a row; raises `RowError`. tens: whether a score of 10 may be the known fault of
    UltraFeedback, and whether ratings can show it. alone: whether an instruction should occur in one row only.
    """

    name: str
    needs: tuple[str, ...]
    tops: Mapping[str, float]
    prompt: Callable[[Values], Any]
    items: Callable[[Values], Iterator[Item]]
    tens: Literal["checked", "unchecked", "none"] = "none"
    alone: bool = True
    system_prompts: bool = False

    def check_reward(self, reward_field: str) -> None:
        """Raise ConfigError unless the rows hold this reward."""
        if reward_field in self.tops:
            return
        message = f"{self.name} rows hold no {reward_field} reward; they hold {', '.join(self.tops)}."
        if "preference" in self.tops:
            message += (
                " A preference compares two responses and rates neither. Pass reward_field='preference' "
                "(--reward-field preference) for rewards whose difference within a pair is the preference, or write "
                "columns prompt, chosen and rejected and use read_pairs (train --chosen --rejected)."
            )
        raise ConfigError(message)


def _text_or_none(values: Values, name: str) -> str | None:
    """Text of a column; None where it is null, blank or missing; raises `RowError` if it is not text."""
    value = values.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return text_of(values, name)


def _instruction(values: Values) -> str | None:
    return _text_or_none(values, "instruction")


def _prompt(values: Values) -> str | None:
    return _text_or_none(values, "prompt")


def _turns(values: Values) -> Any:
    """HelpSteer2 joins turns by ``<extra_id_1>``; several turns become messages, a single turn stays text."""
    prompt = _prompt(values)
    if prompt is None or not TURN.search(prompt):
        return prompt
    first, *rest = TURN.split(prompt)
    turns = [("user", first), *((role.lower(), text) for role, text in zip(rest[::2], rest[1::2], strict=True))]
    return [{"role": role, "content": text} for role, text in turns]


def _context(values: Values) -> Any:
    return prompt_of(values, "context") if values.get("context") else None


def _completions(values: Values) -> Iterator[Item]:
    completions = values["completions"]
    if not isinstance(completions, list) or not all(isinstance(item, Mapping) for item in completions):
        raise RowError("completions is not a list of objects", f": {completions!r:.60}")
    for item in completions:
        rated = _annotations(item.get("annotations"))
        fine = rated.mean() if rated is not None else number(item.get("fine-grained_score"), "fine-grained_score")
        scores = {"overall": number(item.get("overall_score"), "overall_score"), "fine_grained": fine}
        yield Item(
            _text_or_none(item, "response"), scores, rated or NO_RATINGS, _text_or_none(item, "custom_system_prompt")
        )


def _annotations(annotations: Any) -> Ratings | None:
    """The ratings of the four aspects; None where a completion has no annotations at all."""
    if not annotations:
        return None
    if not isinstance(annotations, Mapping) or not all(
        isinstance(item, Mapping) for item in annotations.values() if item
    ):
        raise RowError("annotations is not an object of objects", f": {annotations!r:.60}")
    return ratings({name: item["Rating"] for name, item in annotations.items() if item and "Rating" in item}, 1, 5)


def _pair(reward: str, chosen_score: str, rejected_score: str) -> Callable[[Values], Iterator[Item]]:
    def items(values: Values) -> Iterator[Item]:
        for side, score in (("chosen", chosen_score), ("rejected", rejected_score)):
            yield Item(_last_message(values[side], side), {reward: number(values[score], score)})

    return items


def _last_message(messages: Any, name: str) -> str | None:
    """Content of the last message, which must be the assistant's."""
    if not messages:
        return None
    if not isinstance(messages, list) or not isinstance(messages[-1], Mapping):
        raise RowError(f"{name} is not a list of messages", f": {messages!r:.60}")
    if messages[-1].get("role") != "assistant":
        raise RowError(f"{name} does not end with the assistant", f": {messages[-1]!r:.60}")
    return _text_or_none(messages[-1], "content")


def _triplet(values: Values) -> Iterator[Item]:
    yield Item(_text_or_none(values, "response"), {"overall": number(values["reward"], "reward")})


def _helpsteer2(values: Values) -> Iterator[Item]:
    rated = ratings({name: values[name] for name in HELPSTEER_QUALITY}, 0, 4)
    overall = ratings({"helpfulness": values["helpfulness"]}, 0, 4).mean()
    yield Item(_text_or_none(values, "response"), {"overall": overall, "fine_grained": rated.mean()}, rated)


def _helpsteer3(values: Values) -> Iterator[Item]:
    preference = number(values["overall_preference"], "overall_preference")
    for side, sign in (("response1", -0.5), ("response2", 0.5)):
        yield Item(_text_or_none(values, side), {"preference": None if preference is None else sign * preference})


SCHEMAS = {
    schema.name: schema
    for schema in (
        Schema(
            name="ultrafeedback",
            needs=("instruction", "completions"),
            tops={"overall": 10.0, "fine_grained": 5.0},
            prompt=_instruction,
            items=_completions,
            tens="checked",
            system_prompts=True,
        ),
        Schema(
            name="ultrafeedback-binarized",
            needs=("prompt", "chosen", "rejected", "score_chosen", "score_rejected"),
            tops={"overall": 10.0},
            prompt=_prompt,
            items=_pair("overall", "score_chosen", "score_rejected"),
            tens="unchecked",
        ),
        Schema(
            name="argilla-binarized",
            needs=("prompt", "chosen", "rejected", "chosen-rating", "rejected-rating"),
            tops={"fine_grained": 5.0},
            prompt=_prompt,
            items=_pair("fine_grained", "chosen-rating", "rejected-rating"),
        ),
        Schema(
            name="rpo-split",
            needs=("instruction", "response", "reward"),
            tops={"overall": 10.0},
            prompt=_instruction,
            items=_triplet,
            tens="unchecked",
            alone=False,
        ),
        Schema(
            name="helpsteer2",
            needs=("prompt", "response", *HELPSTEER_QUALITY),
            tops={"overall": 4.0, "fine_grained": 4.0},
            prompt=_turns,
            items=_helpsteer2,
            alone=False,
        ),
        Schema(
            name="helpsteer3",
            needs=("context", "response1", "response2", "overall_preference"),
            tops={"preference": 1.5},
            prompt=_context,
            items=_helpsteer3,
        ),
    )
}


def schema_of(columns: Mapping[str, Any], where: str) -> Schema:
    """The schema whose columns are all present.

    Raises:
        DataError: none, or more than one; lists the columns and what each schema needs.
    """
    fitting = [schema for schema in SCHEMAS.values() if all(name in columns for name in schema.needs)]
    if len(fitting) == 1:
        return fitting[0]
    known = [f"{schema.name}: {', '.join(schema.needs)}" for schema in SCHEMAS.values()]
    what = f"fit {len(fitting)} schemas ({', '.join(s.name for s in fitting)})" if fitting else "fit no known schema"
    raise DataError.from_faults(
        f"{where}: the columns {', '.join(columns)} {what}. Each needs:",
        known,
        "Name the schema (--schema) if it is one of these; rows of your own are read by read_triplets.",
    )
