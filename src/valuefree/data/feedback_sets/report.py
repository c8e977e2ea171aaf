"""The report of a feedback set: counts, known faults, and what was done about them."""

from dataclasses import asdict, dataclass
from typing import Any

from valuefree.data.feedback_sets.releases import Recognised
from valuefree.data.summary import DataSummary


@dataclass(frozen=True)
class Tens:
    """Responses with an overall score of 10.

    certain: with a fine-grained mean of at most 2; the 10 is wrong. doubtful: with a mean of at most 4, or no ratings.
    unchecked: in a set without ratings. dropped, fixed: how many of the usable ones were left out or set to 1.
    """

    all: int
    certain: int
    doubtful: int
    unchecked: int
    dropped: int
    fixed: int

    def __str__(self) -> str:
        if not self.all:
            return "no score of 10"
        text = f"{self.all} scores of 10"
        if self.unchecked:
            text += ", which cannot be checked without ratings"
        else:
            text += f", of which {self.certain} certainly wrong and {self.doubtful} doubtful"
        return f"{text}; {self.dropped} dropped, {self.fixed} set to 1"


@dataclass(frozen=True)
class FeedbackReport:
    """Counts of `valuefree.data.read_ultrafeedback`; None where a count does not apply to the set.

    rows: rows read. responses: responses in them. no_prompt, no_response, no_reward: responses left out for the first
    of these reasons; with `tens.dropped` and ``data.rows`` (the responses kept) they sum to ``responses``. not_given:
    ratings that are N/A or null. off_scale: ratings outside the scale, such as 0. Neither enters a mean. duplicates:
    rows that repeat an earlier instruction; their responses belong to one prompt. system_prompts: responses with a
    separate system prompt. top: highest value of the reward.
    """

    source: str
    schema: str
    reward_field: str
    score10: str
    system_prompt: str
    top: float
    rows: int
    responses: int
    no_prompt: int
    no_response: int
    no_reward: int
    not_given: int
    off_scale: int
    duplicates: int | None
    system_prompts: int | None
    tens: Tens | None
    release: Recognised
    data: DataSummary

    def __str__(self) -> str:
        lines = [
            f"{self.source} ({self.schema}): {self.rows} rows, {self.responses} responses; reward {self.reward_field}",
            f"left out: {self.no_prompt} responses without a prompt, {self.no_response} empty ones, {self.no_reward} "
            "without this reward",
            f"ratings: {self.not_given} N/A, {self.off_scale} outside the scale; these enter no mean",
        ]
        if self.duplicates is not None:
            lines.append(f"{self.duplicates} rows repeat an instruction; their responses belong to one prompt")
        if self.system_prompts is not None:
            done = "put in front as a system message" if self.system_prompt == "front" else "not shown to the policy"
            lines.append(f"{self.system_prompts} responses have a system prompt of their own, {done}")
        if self.tens is not None:
            untouched = "" if self.reward_field == "overall" else " (the fault does not affect this reward)"
            lines.append(f"score10={self.score10}: {self.tens}{untouched}")
        return "\n".join([*lines, str(self.release), f"kept: {self.data}"])

    def to_dict(self) -> dict[str, Any]:
        """All counts."""
        return asdict(self)
