"""The files of a study as tables and figures look at them. No torch."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from studies.paper.cells import Cell, Row, cells_of, responses_of
from studies.paper.methods import METHODS, REFERENCE
from studies.paper.scales import MAIN_TAU, Scale
from valuefree.batches.rendering import as_text
from valuefree.errors import DataError
from valuefree.evaluation.stats import (
    Estimate,
    bootstrap_mean,
    clustered_mean,
    paired_difference,
    t_mean,
    win_tie_loss,
)

REWARD_JUDGE = "reward function"
FLIPS = 0.5  # share of winners that change with the order, above which a judge's verdicts decide no claim


@dataclass(frozen=True)
class Spread:
    """Several runs: mean, standard deviation over runs (None of one), each run's n, and a 95 % interval."""

    mean: float
    deviation: float | None
    runs: int
    n: int
    interval: tuple[float, float] | None

    @property
    def sign(self) -> int:
        """+1 or −1 where the interval excludes zero, else 0."""
        if self.interval is None:
            return 0
        return 1 if self.interval[0] > 0 else -1 if self.interval[1] < 0 else 0


def spread(values: Sequence[float], *, n: int, interval: tuple[float, float] | None) -> Spread:
    """Of one value per run."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), deviation, len(values), n, interval)


@dataclass(frozen=True)
class Judged:
    """A judge's verdicts on a pair of methods: one result per seed; scores by prompt, None unjudged."""

    judge: str
    first: str
    second: str
    seeds: Sequence[int]
    results: Sequence[dict[str, Any]]
    verdicts: Sequence[Sequence[dict[str, Any]]]

    @cached_property
    def _scores(self) -> dict[str, list[float]]:
        """By prompt, of all runs."""
        found: dict[str, list[float]] = {}
        for verdict in (verdict for run in self.verdicts for verdict in run):
            if verdict["score"] is not None:
                found.setdefault(as_text(verdict["prompt"]), []).append(verdict["score"])
        return found

    @cached_property
    def rate(self) -> Spread | None:
        """Win rate of the first, in percent: the interval resamples prompts, with all their runs."""
        if not self._scores:
            return None
        means = [100 * float(np.mean(scores)) for scores in self._scores.values()]
        runs = [100 * result["win_rate"]["value"] for result in self.results if result["win_rate"] is not None]
        return spread(runs, n=len(means), interval=bootstrap_mean(means, bounds=(0.0, 100.0)).interval)

    @property
    def p_value(self) -> float:
        """Of the exact sign test over prompts, by their mean score in all runs."""
        return win_tie_loss([float(np.mean(scores)) - 0.5 for scores in self._scores.values()]).p_value

    def mean(self, name: str, value: Callable[[Any], float] = lambda found: found["value"]) -> float | None:
        """Mean over runs of a number of the results; None where no run has it."""
        found = [value(result[name]) for result in self.results if result.get(name) is not None]
        return float(np.mean(found)) if found else None

    def of_seed(self, seed: int) -> Sequence[dict[str, Any]]:
        """The verdicts on a seed's answers; none where its runs failed or were not judged."""
        return self.verdicts[self.seeds.index(seed)] if seed in self.seeds else ()

    @property
    def coverage(self) -> float:
        """Share of the pairs that are judged."""
        return float(np.mean([result["coverage"] for result in self.results]))


class Results:
    """All that a study's folder holds.

    Raises:
        DataError: a folder without a study of the paper.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            self.study: dict[str, Any] = json.loads((folder / "study.json").read_text(encoding="utf-8"))
            settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
            self.scales = [Scale(**settings["scales"][name]) for name in self.study["scales"]]
            self.methods = [METHODS[name] for name in self.study["methods"]]
            self.taus: list[float] = self.study["taus"]
            self.decoding: str = settings["decoding"]
            self.rows = self._rows()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder} holds no finished study of the paper ({error!r}).") from error
        self._by_cell = {row.cell: row for row in self.rows}
        self._responses: dict[Cell, list[dict[str, Any]]] = {}
        self._verdict_files: dict[Path, dict[str, Any] | None] = {}

    @property
    def encoder(self) -> str | None:
        """Of BERTScore, where it is not the default, roberta-large: the last two parts of its name."""
        name = self.study["manifest"].get("config", {}).get("bertscore_model")
        return None if name is None else "/".join(Path(name).parts[-2:])

    # --------------------------------------------------------------------------------------------------------- runs

    def _rows(self) -> list[Row]:
        """Of the study's own grid: the folder may hold runs of a larger one from before."""
        control = self.study["control"] == "shuffle"
        cells = cells_of(self.scales, self.methods, self.taus, self.study["seeds"], control=control)
        return [Row.read(cell.file(self.folder)) for cell in cells if cell.file(self.folder).exists()]

    def cell(self, scale: str, method: str, tau: float | None, seed: int, *, shuffled: bool = False) -> Cell:
        """With the temperature that a method's cell carries."""
        return Cell(scale, method, tau if METHODS[method].taus else None, seed, shuffled)

    def runs(self, scale: str, method: str, tau: float | None = MAIN_TAU, *, shuffled: bool = False) -> list[Row]:
        """Rows of a method's seeds that did not fail."""
        cells = [self.cell(scale, method, tau, seed, shuffled=shuffled) for seed in range(self.study["seeds"])]
        found = [self._by_cell[cell] for cell in cells if cell in self._by_cell]
        return [row for row in found if row.error is None]

    @property
    def failed(self) -> list[Row]:
        """With the error that ended them."""
        return [row for row in self.rows if row.error is not None]

    def responses(self, cell: Cell) -> list[dict[str, Any]]:
        """Of a cell, prompt by prompt."""
        if cell not in self._responses:
            self._responses[cell] = responses_of(cell, self.folder)
        return self._responses[cell]

    def held_out(self, scale: str) -> dict[str, Any]:
        """Prompts, references and sentences about the data."""
        return json.loads((self.folder / "world" / scale / "held_out.json").read_text(encoding="utf-8"))

    # ------------------------------------------------------------------------------------------------------ metrics

    def _metrics(self, scale: str, method: str, tau: float | None, name: str) -> dict[int, dict[str, Any]]:
        """By seed, of the runs that have a value."""
        found = {}
        for row in self.runs(scale, method, tau):
            file = row.cell.file(self.folder, "metrics", f"{self.study['metrics_key']}.json")
            metric = json.loads(file.read_text(encoding="utf-8")).get(name) if file.exists() else None
            if metric is not None and metric["value"] is not None:
                found[row.cell.seed] = metric
        return found

    def metric_runs(self, scale: str, method: str, tau: float | None, name: str) -> dict[int, float]:
        """A text metric by seed."""
        return {seed: metric["value"] for seed, metric in self._metrics(scale, method, tau, name).items()}

    def metric(self, scale: str, method: str, tau: float | None, name: str) -> Spread | None:
        """A text metric over a method's runs; with one run its interval over prompts, else Student's over runs."""
        found = list(self._metrics(scale, method, tau, name).values())
        if not found:
            return None
        values = [metric["value"] for metric in found]
        interval = t_mean(values).interval if len(found) > 1 else found[0]["interval"]
        if interval is not None:  # no metric of texts is below zero, where Student's interval of few runs may reach
            interval = (max(interval[0], 0.0), interval[1])
        return spread(values, n=found[0]["n"], interval=interval)

    # ------------------------------------------------------------------------------------------------------ rewards

    def reward(self, scale: str, method: str, tau: float | None = MAIN_TAU, *, shuffled: bool = False) -> Spread | None:
        """Mean reward of the held-out answers; interval over prompts, with all their runs."""
        runs = self.runs(scale, method, tau, shuffled=shuffled)
        values, prompts = self._rewards(runs)
        if not values:
            return None
        pooled = clustered_mean(values, prompts)
        return spread([row.gain for row in runs if row.gain is not None], n=len(set(prompts)), interval=pooled.interval)

    def _rewards(self, runs: Sequence[Row]) -> tuple[list[float], list[str]]:
        rows = [answer for row in runs for answer in self.responses(row.cell)]
        if any(answer["reward"] is None for answer in rows):
            return [], []
        return [answer["reward"] for answer in rows], [as_text(answer["prompt"]) for answer in rows]

    def difference(
        self, scale: str, first: tuple[str, float | None], second: tuple[str, float | None], *, shuffled: bool = False
    ) -> Estimate | None:
        """Mean reward of `first` (method, τ) less that of `second`, paired on prompt and seed.

        shuffled: the first's runs on shuffled rewards.
        """
        ours, theirs = self.runs(scale, *first, shuffled=shuffled), self.runs(scale, *second)
        pairs = [(a, b) for a in ours for b in theirs if a.cell.seed == b.cell.seed]
        one, prompts = self._rewards([a for a, _ in pairs])
        two, _ = self._rewards([b for _, b in pairs])
        return paired_difference(one, two, prompts) if one and two else None

    def gain(self, scale: str, method: str, tau: float | None = MAIN_TAU, *, shuffled: bool = False) -> Estimate | None:
        """`difference` to the untouched reference."""
        return self.difference(scale, (method, tau), (REFERENCE, None), shuffled=shuffled)

    def used_rewards(self, scale: str, method: str, tau: float | None = MAIN_TAU) -> Estimate | None:
        """The gain on true rewards less that on shuffled ones, paired on prompt and seed; None where not known."""
        true, control = self.runs(scale, method, tau), self.runs(scale, method, tau, shuffled=True)
        if not true or not control:
            return None
        pairs = [(a, b) for a in true for b in control if a.cell.seed == b.cell.seed]
        one, prompts = self._rewards([a for a, _ in pairs])
        two, _ = self._rewards([b for _, b in pairs])
        if not one or not two:
            return None
        return paired_difference(one, two, prompts)

    # ------------------------------------------------------------------------------------------------------- judges

    @cached_property
    def judges(self) -> list[str]:
        """Titles, the reward function first."""
        titles = [judge["title"] for judge in self.study["judges"]]
        has = any((self.folder / "judged").glob("reward-*.json"))
        return [*([REWARD_JUDGE] if has else []), *titles]

    @property
    def paper_pairs(self) -> list[tuple[str, str, float]]:
        """Methods and temperature of Tables III, IV and VI."""
        found = [("RPO", other, MAIN_TAU) for other in (REFERENCE, "KTO", "DRO")]
        found += [("RPO", other, tau) for other in (REFERENCE, "RPO-noNorm") for tau in self.taus]
        return list(dict.fromkeys(found))

    def flip_rate(self, judge: str, scale: str) -> float | None:
        """Share of the pairs judged in both orders whose winner changes with the order; None for the reward function.

        Over the pairs of Tables III, IV and VI.
        """
        verdicts = [
            verdict
            for first, second, tau in self.paper_pairs
            if (found := self.judged(judge, scale, first, second, tau, tau)) is not None
            for run in found.verdicts
            for verdict in run
            if verdict["score"] is not None and verdict["decided"] is None and len(verdict["opinions"]) == 2
        ]
        flipped = [verdict["category"] == "disagreement" for verdict in verdicts]
        return float(np.mean(flipped)) if flipped else None

    def counted(self, scale: str) -> list[str]:
        """Judges whose winner stays with the answer rather than with its place in most pairs."""
        rates = {judge: self.flip_rate(judge, scale) for judge in self.judges}
        return [judge for judge, rate in rates.items() if rate is None or rate <= FLIPS]

    def judged(
        self, judge: str, scale: str, first: str, second: str, first_tau: float | None = MAIN_TAU, second_tau=MAIN_TAU
    ) -> Judged | None:
        """Verdicts of a judge on a pair of methods at their temperatures; None where there are none."""
        key = "reward"
        if judge != REWARD_JUDGE:
            key = next(entry["key"] for entry in self.study["judges"] if entry["title"] == judge)
        prompts = None if judge == REWARD_JUDGE else self.study["judge_prompts"]
        found: dict[int, dict[str, Any]] = {}
        for seed in range(self.study["seeds"]):
            one, two = self.cell(scale, first, first_tau, seed), self.cell(scale, second, second_tau, seed)
            content = self._judged_file(self.folder / "judged" / f"{key}-{one.name}--{two.name}.json")
            if content and content["prompts"] == prompts:  # else it is left from a run on fewer or more
                found[seed] = content
        if not found:
            return None
        results, verdicts = ([content[part] for content in found.values()] for part in ("result", "verdicts"))
        return Judged(judge, first, second, list(found), results, verdicts)

    def _judged_file(self, file: Path) -> dict[str, Any] | None:
        """Its content, read once: every rule and table asks for the same few; None without it."""
        if file not in self._verdict_files:
            self._verdict_files[file] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        return self._verdict_files[file]

    # ------------------------------------------------------------------------------------------- beside the grid

    @cached_property
    def claim_rows(self) -> list[dict[str, Any]]:
        """Of the runs behind Table I and section VI."""
        files = sorted((self.folder / "claims").glob("*.json"))
        return [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))]

    @cached_property
    def failed_claims(self) -> dict[str, str]:
        """Of these runs those that failed, by name, with their error."""
        files = sorted((self.folder / "claims").glob("*.failed"))
        return {file.stem: file.read_text(encoding="utf-8") for file in files}

    @cached_property
    def timing(self) -> list[dict[str, Any]]:
        """Rows of Figure 1's timings."""
        file = self.folder / "timing.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
