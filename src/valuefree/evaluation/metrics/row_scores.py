"""ROUGE and METEOR of each response, in several processes if there is much work. No torch.

Run as a module, this file is one of these processes: JSON in, JSON out. The processes are started with `subprocess`:
forking a process with threads is unsafe, and `multiprocessing`'s spawn would run the caller's main module again.
"""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from valuefree.evaluation.metrics.extra import library

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
CHARACTERS = 500_000  # of predictions and references per process: about 4 s of work, after 1 s for the start
Scores = dict[str, list[float]]


def rouge_rows(names: Sequence[str], predictions: Sequence[str], references: Sequence[str]) -> Scores:
    """F of each response by `rouge_score`, no stemmer, its own tokenizer."""
    scorer = library("rouge_score.rouge_scorer").RougeScorer(list(names), use_stemmer=False)
    scores = [scorer.score(reference, text) for text, reference in zip(predictions, references, strict=True)]
    return {name: [float(score[name].fmeasure) for score in scores] for name in names}


class _Lookup:
    """Stems and synonyms, cached: METEOR looks both up at every occurrence of a word."""

    def __init__(self, stemmer: Any, wordnet: Any):
        self.stem = lru_cache(maxsize=None)(stemmer.stem)
        self.synsets = lru_cache(maxsize=None)(wordnet.synsets)


@lru_cache(maxsize=1)
def _lookup(place: str, path: str) -> _Lookup:
    """Lookup in the WordNet that nltk finds at `place`; `path` is part of the cache's key.

    The data of other languages are not loaded, which halves the time.
    """
    nltk = library("nltk")

    class English(library("nltk.corpus.reader.wordnet").WordNetCorpusReader):
        def map_wn(self, version: str = "wordnet") -> None:
            """Skip the map from WordNet 3.0 to itself."""

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The multilingual functions are not available")
        return _Lookup(nltk.PorterStemmer(), English(library("nltk.data").find(place), None))


def wordnet_place() -> str:
    """The name under which nltk finds WordNet: unpacked, or the archive that its downloader leaves.

    Raises:
        LookupError: nltk does not find it.
    """
    data = library("nltk.data")
    try:
        data.find("corpora/wordnet")
    except LookupError:
        data.find("corpora/wordnet.zip/wordnet/")
        return "corpora/wordnet.zip/wordnet/"
    return "corpora/wordnet"


def meteor_rows(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """METEOR of each response by nltk on `word_tokenize`: α 0.9, β 3, γ 0.5."""
    words = library("nltk").word_tokenize
    score = library("nltk.translate.meteor_score").single_meteor_score
    place = wordnet_place()
    known = _lookup(place, str(library("nltk.data").find(place)))
    return [
        float(score(words(reference), words(text), stemmer=known, wordnet=known))
        for text, reference in zip(predictions, references, strict=True)
    ]


def scores_of_rows(
    names: Sequence[str], predictions: Sequence[str], references: Sequence[str], places: Sequence[str] | None = None
) -> Scores:
    """Scores of each response, shape (R,) per name, in this process. places: folders in which nltk looks for data."""
    rouge = [name for name in ROUGE if name in names]
    scores = rouge_rows(rouge, predictions, references) if rouge else {}
    if "meteor" in names:
        if places is not None:
            library("nltk.data").path[:] = places
        scores["meteor"] = meteor_rows(predictions, references)
    return scores


def spread_over_processes(
    names: Sequence[str], predictions: Sequence[str], references: Sequence[str], *, processes: int | None = None
) -> Scores:
    """As `scores_of_rows`, with `processes` that share the work; default: by the number of cores and the work."""
    if processes is None:
        work = sum(map(len, predictions)) + sum(map(len, references))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        processes = min(cores, work // CHARACTERS)
    tasks = _tasks(names, max(1, min(processes, len(predictions))))
    others = [_start(task, predictions[share], references[share]) for task, share in tasks[1:]]
    try:
        first, share = tasks[0]
        parts = [scores_of_rows(first, predictions[share], references[share])]
        parts += [_result(other) for other in others]
    finally:
        for other in others:
            other.kill()
            other.wait()
    whole: Scores = {name: [0.0] * len(predictions) for name in names}
    for (_, share), part in zip(tasks, parts, strict=True):
        for name, scores in part.items():
            whole[name][share] = scores
    return whole


def _tasks(names: Sequence[str], processes: int) -> list[tuple[list[str], slice]]:
    """Metrics and rows of each process: ROUGE or METEOR on every k-th row, so that few processes load WordNet."""
    rouge, meteor = [name for name in names if name in ROUGE], [name for name in names if name == "meteor"]
    kinds = [kind for kind in (rouge, meteor) if kind]
    if processes == 1:
        return [(list(names), slice(None))]
    counts = [processes - processes // 2, processes // 2] if len(kinds) == 2 else [processes]
    return [
        (kind, slice(number, None, count)) for kind, count in zip(kinds, counts, strict=True) for number in range(count)
    ]


def _import_path() -> list[str]:
    """Folders that modules are imported from: those of this process, without the working folder.

    The folder of this package stays, even where it is the working folder.
    """
    refused = {Path.cwd()} - {Path(__file__).resolve().parents[3]}
    return [path for path in sys.path if path and Path(path).resolve() not in refused]


def _start(names: Sequence[str], predictions: Sequence[str], references: Sequence[str]) -> subprocess.Popen[str]:
    places = list(library("nltk.data").path) if "meteor" in names else None
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "valuefree.evaluation.metrics.row_scores"],  # -P: without the working folder
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="ascii",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(_import_path())},
    )
    assert process.stdin is not None
    json.dump([list(names), list(predictions), list(references), places], process.stdin)
    process.stdin.close()  # the process reads all input before it writes
    process.stdin = None
    return process


def _result(process: subprocess.Popen[str]) -> Scores:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the process that scores ROUGE and METEOR ended with {process.returncode}; see its error.")
    return json.loads(output)


if __name__ == "__main__":
    json.dump(scores_of_rows(*json.load(sys.stdin)), sys.stdout)
