"""WordNet and punkt for METEOR: in a folder, where nltk looks, or from Debian's WordNet. No torch."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from valuefree.data.storage import cache_root
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.extra import library

DEBIAN = Path("/usr/share/wordnet")  # of wordnet-base and wordnet-sense-index
COMMAND = "python -m nltk.downloader wordnet punkt_tab"
PARTS = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}
# The 45 lexicographer files of WordNet in the order of their numbers, as lexnames(5WN) lists them.
LEXICOGRAPHER_FILES = (
    *("adj.all", "adj.pert", "adv.all"),
    *("noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute", "noun.body", "noun.cognition"),
    *("noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group", "noun.location", "noun.motive"),
    *("noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession", "noun.process"),
    *("noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time"),
    *("verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption"),
    *("verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession"),
    *("verb.social", "verb.stative", "verb.weather"),
    "adj.ppl",
)


def lexnames() -> str:
    """The file ``lexnames``, which nltk reads and Debian's package lacks: number, name, part of speech."""
    return "".join(
        f"{number:02d}\t{name}\t{PARTS[name.split('.')[0]]}\n" for number, name in enumerate(LEXICOGRAPHER_FILES)
    )


def wordnet_folder(source: Path, data: Path) -> Path:
    """Copy Debian's WordNet in `source` into the nltk data folder `data`, with ``lexnames``; atomically."""
    target = data / "corpora" / "wordnet"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / "wordnet"
        shutil.copytree(source, made)
        (made / "lexnames").write_text(lexnames(), encoding="ascii")
        try:
            made.rename(target)
        except OSError:
            if not (target / "lexnames").exists():  # else another process has made it meanwhile
                raise
    return target


def use_nltk_data(folder: str | None = None) -> None:
    """Make nltk find WordNet and punkt: in `folder`, on its own path, or in Debian's packages.

    The folder, and a copy of Debian's WordNet in the user's cache, go on ``nltk.data.path``.

    Raises:
        ConfigError: data are missing; the message names the command that gets them.
    """
    data = library("nltk.data")
    if folder is not None:
        if not Path(folder).is_dir():
            raise ConfigError(f"nltk_data is {folder!r}, which is not a folder.")
        _look_in(data, Path(folder))
    missing = []
    if not _found(data, "corpora/wordnet", "corpora/wordnet.zip/wordnet/") and not _debian(data):
        missing.append("WordNet (corpora/wordnet)")
    if not _found(data, "tokenizers/punkt_tab/english", "tokenizers/punkt_tab.zip/punkt_tab/english/"):
        missing.append("punkt (tokenizers/punkt_tab)")
    if missing:
        raise ConfigError(
            f"METEOR needs {' and '.join(missing)}, which nltk finds neither in "
            f"{folder or 'the folders of nltk.data.path'} nor in {DEBIAN}. Get them with `{COMMAND}`, or name "
            "a folder that has them by --nltk-data (docs/metrics.md says how to make one from Debian and PyPI), or "
            "leave out meteor, as in --metrics rouge."
        )


def _look_in(data: Any, folder: Path) -> None:
    name = str(folder.resolve())
    if name not in data.path:
        data.path.insert(0, name)


def _found(data: Any, *places: str) -> bool:
    for place in places:
        try:
            data.find(place)
        except LookupError:
            continue
        return True
    return False


def _debian(data: Any) -> bool:
    """Whether Debian's packages are installed; if so, copy them, because nltk reads no links that leave its folders."""
    if not all((DEBIAN / name).exists() for name in ("data.noun", "index.sense")):
        return False
    cache = cache_root() / "nltk_data"
    if not (cache / "corpora" / "wordnet" / "lexnames").exists():
        wordnet_folder(DEBIAN, cache)
    _look_in(data, cache)
    return True
