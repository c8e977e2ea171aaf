"""From scores and what they are about to rows: one score name is the reward, and several raters are averaged."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Any, NamedTuple

from valuefree.data.exports.account import Account, Settings, SkippedRecord
from valuefree.data.reward_values import is_missing, ratings_of
from valuefree.errors import ConfigError, DataError, number_of


class Score(NamedTuple):
    """One score as it was logged. value: number, true/false, label, or None. about: what `row_of` finds its row by."""

    name: str
    value: Any
    source: str
    about: Any


class Found(NamedTuple):
    """The row that a score is about. key: the same for all scores of one response. how: score and row were joined."""

    key: str
    row: dict[str, Any]
    how: str


def check_halves(account: Account, **halves: tuple[Sized, str]) -> None:
    """Raise DataError where one half of an export is missing. halves: kind → its records, and what holds them."""
    for kind, (records, where) in halves.items():
        if not records:
            raise DataError(
                f"{account.tool}: no {kind} were found among {account.read_counts}. Scores and texts are joined: pass "
                f"the folder that also has {where}, or all of the files."
            )


def rated_rows(
    scores: Iterable[Score], row_of: Callable[[Any], Found], *, what: str, settings: Settings, account: Account
) -> list[dict[str, Any]]:
    """One row per response, with the mean of its scores as reward and their number as ``raters``.

    Args:
        row_of: the row that a score is about, from `Score.about`; raises `SkippedRecord`. what: the tool's word for a
            score, for messages.

    Raises:
        ConfigError: several names of scores, of which none was chosen; labels without a reward.
    """
    given = []
    for score in scores:
        if is_missing(score.value):
            account.skipped[f"{what} without a value"] += 1
        else:
            given.append(score)
    name = chosen_name([score.name for score in given], settings, what)
    chosen = [score for score in given if score.name == name]
    if len(chosen) < len(given):
        account.skipped[f"{what} of another name"] += len(given) - len(chosen)
    values = [score.value for score in chosen]
    rewards, notes = ratings_of(values, name=f"{what} {name!r}", categories=settings.categories, thumbs=settings.thumbs)
    account.notes += notes
    rated = []
    for score, reward in zip(chosen, rewards, strict=True):
        try:
            found = row_of(score.about)
        except SkippedRecord as reason:
            account.skipped[str(reason)] += 1
            continue
        rated.append((found.key, found.row | {"reward": reward}))
        account.joined[found.how] += 1
        account.sources[score.source] += 1
    if len(account.sources) > 1:
        account.notes.append(
            "the rewards come from several sources, see above: people and models may judge differently"
        )
    return averaged(rated, account)


def chosen_name(names: Sequence[str], settings: Settings, what: str) -> str:
    """The score to take as the reward: the one that the user chose, or the only one.

    Raises:
        ConfigError: there are several and none was chosen, or the chosen one does not exist; lists names and counts.
    """
    counts = Counter(names)
    shown = ", ".join(f"{name} ({count})" for name, count in counts.most_common())
    if settings.score_name is not None:
        if settings.score_name not in counts:
            raise ConfigError(f"no {what} has the name {settings.score_name!r}; there are: {shown or 'none'}.")
        return settings.score_name
    if len(counts) > 1:
        most = counts.most_common(1)[0][0]
        raise ConfigError(f"there are {what}s of several names: {shown}. Choose the reward: --score-name {most!r}")
    return next(iter(counts), "")


def averaged(rated: Sequence[tuple[str, dict[str, Any]]], account: Account) -> list[dict[str, Any]]:
    """One row per response: the mean reward of its raters, their number as ``raters``. rated: (id of response, row)."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for key, row in rated:
        groups.setdefault(key, []).append(row)
    several = sum(len(rows) > 1 for rows in groups.values())
    if several:
        account.notes.append(f"{number_of(several, 'response')} with several ratings: their mean is the reward")
    means = [sum(row["reward"] for row in rows) / len(rows) for rows in groups.values()]
    return [rows[0] | {"reward": mean, "raters": len(rows)} for rows, mean in zip(groups.values(), means, strict=True)]
