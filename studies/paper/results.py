"""The files of a study as tables and figures read them: at one scale, by method and temperature."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from studies.harness.cells import Row, read_rows
from studies.paper.cells import Cell, Pair, TimingCell, cells_of, gain_of, paper_pairs, responses_file
from studies.paper.claims.plan import trials_of
from studies.paper.methods import METHODS, REFERENCE, Method, label, temperatures
from studies.paper.scales import FAMILIES, MAIN_TAU, Scale
from studies.paper.verdicts import Spread, spread
from valuefree.data.prompts import as_text
from valuefree.errors import DataError
from valuefree.evaluation.stats import (
    Estimate,
    bootstrap_mean,
    clustered_mean,
    paired_difference,
    t_mean,
    win_tie_loss,
)
from valuefree.runs.files import read_json, read_jsonl

NOTES, CLAIMS, TIMING = "notes.json", "claims", "timing"  # in the folder of a study

REWARD_JUDGE = "reward function"
FLIPS = 0.5  # share of winners that change with the order, above which a judge's verdicts decide no claim


@dataclass(frozen=True)
class Judged:
    """A judge's verdicts on a pair of methods, one result per seed; a score is None where the judge gave none."""

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
        """Win rate of the first method, in percent; the interval resamples prompts, each with all its runs."""
        if not self._scores:
            return None
        means = [100 * float(np.mean(scores)) for scores in self._scores.values()]
        runs = [100 * result["win_rate"]["value"] for result in self.results if result["win_rate"] is not None]
        return spread(runs, n=len(means), interval=bootstrap_mean(means, bounds=(0.0, 100.0)).interval)

    @property
    def p_value(self) -> float:
        """Of the exact sign test over prompts, by their mean score in all runs."""
        return win_tie_loss([float(np.mean(scores)) - 0.5 for scores in self._scores.values()]).p_value

    def mean(self, name: str) -> float | None:
        """Mean over runs of an estimate of the results; None where no run has it."""
        found = [result[name]["value"] for result in self.results if result.get(name) is not None]
        return float(np.mean(found)) if found else None

    def of_seed(self, seed: int) -> Sequence[dict[str, Any]]:
        """The verdicts on a seed's answers; none where its runs failed or were not judged."""
        return self.verdicts[self.seeds.index(seed)] if seed in self.seeds else ()

    @property
    def coverage(self) -> float:
        """Share of the pairs of answers that are judged."""
        return float(np.mean([result["coverage"] for result in self.results]))


class Results:
    """The content of a study's folder, at one of its scales: the first, unless chosen by `at`.

    Raises:
        DataError: a folder without a study of the paper.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            self.study: dict[str, Any] = read_json(folder / NOTES)
            self.scales = [Scale(**fields) for fields in self.study["scales"]]
            self.scale = self.scales[0]
            self.methods = [METHODS[name] for name in self.study["methods"]]
            self.taus: list[float] = self.study["taus"]
            control = self.study["control"] == "shuffle"
            # Only the study's own grid: the folder may hold runs of a larger one from before.
            cells = cells_of(self.scales, self.methods, self.taus, self.study["seeds"], control=control)
            self.rows = read_rows(cells, folder)
            self._texts = {row.cell: row for row in read_rows(cells, folder / self.study["metrics"])}
            self.claims = read_rows(trials_of(), folder / CLAIMS)
            self._timings = read_rows([TimingCell()], folder / TIMING)
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise DataError(f"{folder} holds no finished study of the paper ({error!r}).") from error
        self._by_cell = {row.cell: row for row in self.rows}
        self._responses: dict[Cell, list[dict[str, Any]]] = {}
        self._verdict_files: dict[Path, dict[str, Any] | None] = {}

    def at(self, scale: Scale) -> "Results":
        """The same study at another of its scales."""
        other = copy.copy(self)
        other.scale = scale
        return other

    @property
    def sizes(self) -> "list[Results]":
        """This scale and the other two sizes of its model, from the smallest; empty if one of them was not run."""
        known = {scale.name: scale for scale in self.scales}
        family = next((names for names in FAMILIES if self.scale.name in names), ())
        return [self.at(known[name]) for name in family] if known.keys() >= set(family) else []

    @property
    def other_models(self) -> dict[str, str]:
        """By metric, the model that computed it where that is not the paper's: the last two parts of its name."""
        config = self.study["manifest"].get("config", {})
        given = {metric: config.get(f"{metric}_model") for metric in ("bertscore", "toxicity")}
        return {metric: "/".join(Path(name).parts[-2:]) for metric, name in given.items() if name is not None}

    # --------------------------------------------------------------------------------------------------------- runs

    def runs(self, method: str, tau: float | None = MAIN_TAU, *, shuffled: bool = False) -> list[Row]:
        """Rows of a method that did not fail, by seed. shuffled: the runs of the control."""
        seeds = range(self.study["seeds"])
        cells = [Cell.of(self.scale.name, method, tau, seed, shuffled=shuffled) for seed in seeds]
        found = [self._by_cell[cell] for cell in cells if cell in self._by_cell]
        return [row for row in found if row.error is None]

    def grid(self) -> Iterator[tuple[Method, float | None, str]]:
        """Every method at each of its temperatures that has runs, with its label."""
        for method in self.methods:
            for tau in temperatures(method, self.taus):
                if self.runs(method.name, tau):
                    yield method, tau, label(method.name, tau)

    @property
    def every_row(self) -> list[Row]:
        """At all scales: the runs, their metrics, those of the claims and the timings."""
        return [*self.rows, *self._texts.values(), *self.claims, *self._timings]

    def responses(self, cell: Cell) -> list[dict[str, Any]]:
        """Of a cell, prompt by prompt."""
        if cell not in self._responses:
            self._responses[cell] = read_jsonl(responses_file(cell, self.folder))
        return self._responses[cell]

    def first_responses(self, methods: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Responses of seed 0 at τ = 1, of the methods that have them."""
        runs = {name: [run for run in self.runs(name) if run.cell.seed == 0] for name in methods}
        return {name: self.responses(found[0].cell) for name, found in runs.items() if found}

    @property
    def held_out(self) -> dict[str, Any]:
        """Prompts, references and sentences about the data."""
        return read_json(self.folder / "world" / self.scale.name / "held_out.json")

    # ------------------------------------------------------------------------------------------------------ metrics

    def _metrics(self, method: str, tau: float | None, name: str) -> dict[int, dict[str, Any]]:
        """A metric with its interval by seed, for the runs that have a value."""
        texts = [self._texts[row.cell] for row in self.runs(method, tau) if row.cell in self._texts]
        found = {row.cell.seed: row.end.get(name) for row in texts}
        return {seed: metric for seed, metric in found.items() if metric and metric["value"] is not None}

    def metric(self, method: str, tau: float | None, name: str) -> Spread | None:
        """A text metric over a method's runs; with one run its interval over prompts, else Student's over runs."""
        found = list(self._metrics(method, tau, name).values())
        if not found:
            return None
        values = [metric["value"] for metric in found]
        interval = t_mean(values).interval if len(found) > 1 else found[0]["interval"]
        if interval is not None:  # no metric of texts is below zero, where Student's interval of few runs may reach
            interval = (max(interval[0], 0.0), interval[1])
        return spread(values, n=found[0]["n"], interval=interval)

    def metric_difference(self, first: tuple[str, float], second: tuple[str, float], name: str) -> Estimate | None:
        """A text metric of `first` (method, τ) less that of `second`: Student's interval, paired on seeds."""
        ours, theirs = (self._metrics(*one, name) for one in (first, second))
        shared = sorted(ours.keys() & theirs.keys())
        return t_mean([ours[seed]["value"] - theirs[seed]["value"] for seed in shared]) if shared else None

    # ------------------------------------------------------------------------------------------------------ rewards

    def reward(self, method: str, tau: float | None = MAIN_TAU) -> Spread | None:
        """Mean reward of the held-out answers; interval over prompts, with all their runs."""
        runs = self.runs(method, tau)
        values, prompts = self._rewards(runs)
        if not values:
            return None
        pooled = clustered_mean(values, prompts)
        gains = [gain for row in runs if (gain := gain_of(row)) is not None]
        return spread(gains, n=len(set(prompts)), interval=pooled.interval)

    def _rewards(self, runs: Sequence[Row]) -> tuple[list[float], list[str]]:
        """Reward and prompt of every answer; none where an answer has no reward."""
        rows = [answer for row in runs for answer in self.responses(row.cell)]
        if any(answer["reward"] is None for answer in rows):
            return [], []
        return [answer["reward"] for answer in rows], [as_text(answer["prompt"]) for answer in rows]

    def difference(self, first: Sequence[Row], second: Sequence[Row]) -> Estimate | None:
        """Mean reward of the first runs less that of the second, paired on prompt and seed; None without pairs."""
        pairs = [(a, b) for a in first for b in second if a.cell.seed == b.cell.seed]
        one, prompts = self._rewards([a for a, _ in pairs])
        two, _ = self._rewards([b for _, b in pairs])
        return paired_difference(one, two, prompts) if one and two else None

    def gain(self, method: str, tau: float | None = MAIN_TAU, *, shuffled: bool = False) -> Estimate | None:
        """`difference` to the untouched reference."""
        return self.difference(self.runs(method, tau, shuffled=shuffled), self.runs(REFERENCE))

    # ------------------------------------------------------------------------------------------------------- judges

    @cached_property
    def judges(self) -> list[str]:
        """Titles, the reward function first."""
        titles = [judge["title"] for judge in self.study["judges"]]
        has = any((self.folder / "judged").glob("reward-*.json"))
        return [*([REWARD_JUDGE] if has else []), *titles]

    def judged_pairs(self, judge: str, pairs: Sequence[Pair]) -> dict[Pair, Judged]:
        """A judge's verdicts on those pairs that it judged."""
        found = {pair: self.judged(judge, pair) for pair in pairs}
        return {pair: one for pair, one in found.items() if one is not None}

    def flip_rate(self, judge: str) -> float | None:
        """Share of the pairs judged in both orders whose winner changes with the order; None for the reward function.

        Over the pairs of Tables III, IV and VI.
        """
        flipped = [
            verdict["category"] == "disagreement"
            for found in self.judged_pairs(judge, paper_pairs(self.taus)).values()
            for run in found.verdicts
            for verdict in run
            if verdict["score"] is not None and verdict["decided"] is None and len(verdict["opinions"]) == 2
        ]
        return float(np.mean(flipped)) if flipped else None

    @property
    def reliable_judges(self) -> list[str]:
        """Judges whose winner does not change with the order of the answers in most pairs."""
        rates = {judge: self.flip_rate(judge) for judge in self.judges}
        return [judge for judge, rate in rates.items() if rate is None or rate <= FLIPS]

    def judged(self, judge: str, pair: Pair) -> Judged | None:
        """Verdicts of a judge on a pair; None where there are none."""
        key, prompts = "reward", None
        if judge != REWARD_JUDGE:
            entry = next(entry for entry in self.study["judges"] if entry["title"] == judge)
            key, prompts = entry["key"], None if entry.get("scores") else self.study["judge_prompts"]
        found: dict[int, dict[str, Any]] = {}
        for seed in range(self.study["seeds"]):
            file = pair.file(self.folder, key, self.scale.name, seed)
            if file not in self._verdict_files:  # read once: every rule and table reads the same few
                self._verdict_files[file] = read_json(file) if file.exists() else None
            content = self._verdict_files[file]
            if content and content["prompts"] == prompts:  # otherwise it is from a run on another number of prompts
                found[seed] = content
        if not found:
            return None
        results, verdicts = ([content[part] for content in found.values()] for part in ("result", "verdicts"))
        return Judged(list(found), results, verdicts)

    # ------------------------------------------------------------------------------------------- beside the grid

    @property
    def claim_rows(self) -> list[dict[str, Any]]:
        """Rows of the runs for Table I and section VI."""
        return [point for row in self.claims for point in row.curve or ()]

    @property
    def timing(self) -> list[dict[str, Any]]:
        """Rows of Figure 1's timings."""
        return [point for row in self._timings for point in row.curve or ()]
