"""What was found in a feedback set, what was odd, and what was done about it."""

from dataclasses import asdict, dataclass
from typing import Any

from valuefree.data.feedback_sets.releases import Recognised
from valuefree.data.summary import DataSummary


@dataclass(frozen=True)
class Tens:
    """Responses with an overall score of 10.

    certain: fine-grained mean at most 2, a wrong 10. doubtful: at most 4, or no rating to check by. unchecked: tens of
    a set that has no ratings. dropped and fixed: of those that were usable, what was done.
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
        found = f"{self.all} scores of 10"
        if self.unchecked:
            found += ", which cannot be checked without ratings"
        else:
            found += f", of which {self.certain} certainly wrong and {self.doubtful} doubtful"
        return f"{found}; {self.dropped} dropped, {self.fixed} set to 1"


@dataclass(frozen=True)
class FeedbackReport:
    """Counts of `valuefree.data.read_ultrafeedback`; None where the set has no such thing.

    rows: read. responses: found in them. no_prompt, no_response, no_reward: responses left out for that, in this
    order. ``responses`` is their sum with `tens.dropped` and ``data.rows``, the responses kept. not_given: ratings that
    are N/A or null. off_scale: ratings outside the scale, such as 0; neither enters a mean. duplicates: rows whose
    instruction stood before; their responses are one prompt's. system_prompts: responses to a prompt that the set keeps
    apart. top: highest value of the reward.
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
            f"ratings: {self.not_given} N/A, {self.off_scale} outside the scale; none of them enters a mean",
        ]
        if self.duplicates is not None:
            lines.append(f"{self.duplicates} rows repeat an instruction; their responses are one prompt's")
        if self.system_prompts is not None:
            done = "in front as a system message" if self.system_prompt == "front" else "not shown to the policy"
            lines.append(f"{self.system_prompts} responses were written to a system prompt of their own, {done}")
        if self.tens is not None:
            untouched = "" if self.reward_field == "overall" else " (the fault does not touch this reward)"
            lines.append(f"score10={self.score10}: {self.tens}{untouched}")
        return "\n".join([*lines, str(self.release), f"kept: {self.data}"])

    def to_dict(self) -> dict[str, Any]:
        """All counts."""
        return asdict(self)
