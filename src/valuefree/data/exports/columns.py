"""Which of the user's own columns hold prompt and response, where a tool leaves the names to its user."""

from collections.abc import Sequence

from valuefree.data.exports.account import Account, Record, Settings
from valuefree.data.exports.guess import guess_columns
from valuefree.errors import ConfigError


def text_columns(
    records: Sequence[Record], fields: Sequence[str], settings: Settings, account: Account
) -> tuple[str, str]:
    """The fields of prompt and response: those that the user named, else those whose names and contents say so.

    Raises:
        ConfigError: a named field does not exist, or none is clearly the one; lists the fields.
    """
    if not records:
        return "", ""
    guess = guess_columns([{name: record[name] for name in fields if name in record} for record in records])
    found = []
    for role, named, guessed in (
        ("prompt", settings.prompt, guess.prompt),
        ("response", settings.response, guess.response),
    ):
        if named is not None and named not in fields:
            raise ConfigError(f"no field {named!r} for the {role}; there are: {', '.join(fields)}.")
        if named is None and guessed is None:
            reason = guess.reasons.get(role, "no field fits")
            raise ConfigError(
                f"which field is the {role}? {reason}. There are: {', '.join(fields)}. Name it by --{role}."
            )
        if named is None and guessed != role:
            account.notes.append(f"{role}: field {guessed!r} ({guess.reasons[role]})")
        found.append(named or guessed)
    return found[0], found[1]
