"""ROUGE and METEOR of each response, in plain Python and therefore in several processes where that pays. No torch.

Run as a module it is one of these processes: JSON in, JSON out. It is started afresh, not forked from a process that
has threads, nor spawned, which would run the caller's main module a second time.
"""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from valuefree.evaluation.metrics.extra import library

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
CHARACTERS = 500_000  # of predictions and references per process: some four seconds of work, where the start takes one
Scores = dict[str, list[float]]


def rouge_rows(names: Sequence[str], predictions: Sequence[str], references: Sequence[str]) -> Scores:
    """F of each response by `rouge_score`, no stemmer, its own tokenizer."""
    scorer = library("rouge_score.rouge_scorer").RougeScorer(list(names), use_stemmer=False)
    scores = [scorer.score(reference, text) for text, reference in zip(predictions, references, strict=True)]
    return {name: [float(score[name].fmeasure) for score in scores] for name in names}


class _Lookup:
    """Stems and synonyms, looked up once per word: METEOR asks for both at every one."""

    def __init__(self, stemmer: Any, wordnet: Any):
        self.stem = lru_cache(maxsize=None)(stemmer.stem)
        self.synsets = lru_cache(maxsize=None)(wordnet.synsets)


@lru_cache(maxsize=1)
def _lookup(place: str, found: str) -> _Lookup:
    """Of the WordNet that nltk has `found` at `place`, without what only other languages need: half of the loading."""
    nltk = library("nltk")

    class English(library("nltk.corpus.reader.wordnet").WordNetCorpusReader):
        def map_wn(self, version: str = "wordnet") -> None:
            """No map from WordNet 3.0 to itself."""

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The multilingual functions are not available")
        return _Lookup(nltk.PorterStemmer(), English(library("nltk.data").find(place), None))


def wordnet_place() -> str:
    """Where nltk finds WordNet, as a name below its folders: unpacked, or the archive that its downloader leaves.

    Raises:
        LookupError: nowhere.
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
    """Scores of each response, shape (R,) per name, in this process. places: folders for nltk to look for data in."""
    rouge = [name for name in ROUGE if name in names]
    found = rouge_rows(rouge, predictions, references) if rouge else {}
    if "meteor" in names:
        if places is not None:
            library("nltk.data").path[:] = places
        found["meteor"] = meteor_rows(predictions, references)
    return found


def spread_over_processes(
    names: Sequence[str], predictions: Sequence[str], references: Sequence[str], *, processes: int | None = None
) -> Scores:
    """As `scores_of_rows`, with `processes` that share the work; by default as many as there are cores and work."""
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
    """What each process does: ROUGE or METEOR, which would otherwise load WordNet in each, on every k-th row."""
    rouge, meteor = [name for name in names if name in ROUGE], [name for name in names if name == "meteor"]
    kinds = [kind for kind in (rouge, meteor) if kind]
    if processes == 1:
        return [(list(names), slice(None))]
    counts = [processes - processes // 2, processes // 2] if len(kinds) == 2 else [processes]
    return [
        (kind, slice(number, None, count)) for kind, count in zip(kinds, counts, strict=True) for number in range(count)
    ]


def _start(names: Sequence[str], predictions: Sequence[str], references: Sequence[str]) -> subprocess.Popen[str]:
    places = list(library("nltk.data").path) if "meteor" in names else None
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "valuefree.evaluation.metrics.row_scores"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="ascii",
        env=environment,
    )
    assert process.stdin is not None
    json.dump([list(names), list(predictions), list(references), places], process.stdin)
    process.stdin.close()  # it reads all before it writes
    process.stdin = None
    return process


def _result(process: subprocess.Popen[str]) -> Scores:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the process that scores ROUGE and METEOR ended with {process.returncode}; see its error.")
    return json.loads(output)


if __name__ == "__main__":
    json.dump(scores_of_rows(*json.load(sys.stdin)), sys.stdout)
