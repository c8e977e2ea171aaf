"""Failures of the system to read or write, in one message. No torch."""

import errno
import os
import re

# What to do about an error of the system, by its number.
ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Free some space, then run the command again."),
    **dict.fromkeys(
        (errno.EROFS, errno.EACCES, errno.EPERM), "Change its permissions, or name another path, then run it again."
    ),
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
        "There is a file where a folder is needed, or a folder where a file is needed; name another path.",
    ),
    errno.ENOENT: "It is missing, or it was deleted while the command ran; run the command again.",
}
CHECK = "Check the path, the disk and the permissions, then run the command again."
_NUMBER = re.compile(r"\(os error (\d+)\)")  # in messages of safetensors and tokenizers
_TORCH = ("PytorchStreamWriter", "inline_container.cc")  # torch's writer names no cause


def system_failure(error: BaseException) -> str | None:
    """What a failure to read or write says to a user; None for an error of another kind.

    Libraries that are not written in Python raise errors of their own, some of which name the system's error.
    """
    if isinstance(error, OSError):
        number, path = error.errno, error.filename
    else:
        found = _NUMBER.search(str(error))
        number, path = (int(found[1]) if found else None), None
    if number is not None:
        return f"{os.strerror(number)}{f': {path}' if path is not None else ''}. {ADVICE.get(number, CHECK)}"
    if isinstance(error, OSError) or any(name in str(error) for name in _TORCH):
        return f"a file could not be read or written ({error}). {CHECK}"
    return None
