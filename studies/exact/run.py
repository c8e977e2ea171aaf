"""The exact study from its options: tasks dealt out to processes, then rows, figures and the page."""

import csv
import itertools
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from studies.exact.figures import draw_frontiers, draw_kl_against_tau, draw_sweeps
from studies.exact.grid import (
    FRONTIER_TAUS,
    QUICK,
    SWEPT,
    Row,
    Scale,
    Task,
    anchors,
    carry_out,
    default_regimes,
    failed,
    points,
    sweep_regimes,
    tasks,
)
from studies.exact.methods import BY_NAME, METHODS, TAUS
from studies.exact.page import Page, write_page
from studies.exact.problems import Regime
from studies.exact.world import WorldSettings
from studies.harness.pool import WorkerDied, Workers
from studies.options import StudyExactConfig
from valuefree.cli.parse import unknown
from valuefree.errors import ConfigError
from valuefree.runs.manifest import manifest

Say = Callable[[str], None]
PROGRESS_SECONDS = 20


@dataclass(frozen=True)
class StudyResult:
    """How many rows there are, how many of them are failures, and where the page is."""

    rows: int
    failed: int
    page: Path


def study(options: StudyExactConfig, *, say: Say) -> StudyResult | None:
    """Carry out the study; None after a dry run.

    Raises:
        ConfigError: unknown methods, axes that are not numbers.
    """
    start = time.perf_counter()
    scale = QUICK if options.quick else Scale()
    scale = replace(scale, seeds=options.seeds or scale.seeds)
    names = _methods(options.methods)
    prompts = min(options.prompts, 64) if options.quick else options.prompts
    regimes, swept = _regimes(options, prompts)
    world = WorldSettings(
        structure=options.structure,
        length=options.length,
        alphabet=options.alphabet,
        features=options.features,
        reward=options.reward,
    )
    seeds = range(options.first_seed, options.first_seed + scale.seeds)
    todo = tasks(regimes, names, seeds, world, scale, control=options.control == "shuffle")
    todo += tasks(swept, [name for name in SWEPT if name in names], seeds, world, scale, control=False)
    workers = options.workers or os.cpu_count() or 1
    size = f"{len(names)} methods, {len(regimes)} regimes, {len(swept)} of the sweeps"
    say(f"{len(todo)} tasks: {size}; {workers} workers")
    if options.dry_run:
        return None
    folder = Path(options.out)
    record = manifest("studies exact", options.to_dict(), scale=asdict(scale), world=asdict(world))
    rows, curves = [], {}
    for regime in [*regimes, *swept]:
        found, curves[regime.name] = anchors(Task(regime, "", tuple(seeds), world, scale, control=False))
        rows += found
    rows += _carry_out(todo, workers, say)
    record["seconds"] = time.perf_counter() - start
    _write_rows(folder, rows)
    page = Path(options.page) if options.page else folder / "exact.md"
    shown = [regime.name for regime in regimes]
    figures = _figures(rows, regimes, names, curves, page.parent / page.stem, sweeps=bool(swept))
    rates, steps = scale.learning_rates, scale.checkpoints
    grids = {name: {"knob": points(BY_NAME[name], scale), "lr": rates, "steps": steps} for name in names}
    families = {name: BY_NAME[name].family for name in names}
    write_page(Page(page, rows, shown, names, families, grids, record, figures))
    return StudyResult(len(rows), sum(row["error"] is not None for row in rows), page)


def _carry_out(todo: Sequence[Task], workers: int, say: Say) -> list[Row]:
    rows: list[Row] = []
    start = said = time.perf_counter()
    with Workers(workers) as processes:
        for done, (number, result) in enumerate(processes.run([(carry_out, (task,)) for task in todo]), start=1):
            if isinstance(result, WorkerDied):
                result = failed(todo[number], str(result))
            rows += result
            if result[0]["error"]:
                say(f"no result: {todo[number].method} in {todo[number].regime.name}: {result[0]['error']}")
            if time.perf_counter() - said > PROGRESS_SECONDS or done == len(todo):
                said = time.perf_counter()
                say(f"{done} of {len(todo)} tasks, {(said - start) / 60:.1f} min")
    return rows


def _methods(text: str) -> list[str]:
    known = [method.name for method in METHODS]
    asked = [name.strip() for name in text.split(";") if name.strip()]
    if asked == ["all"]:
        return known
    for name in asked:
        if name not in known:
            raise unknown("method", name, known)
    if not asked:
        raise unknown("method", text, known)
    return list(dict.fromkeys(asked))


def _numbers(text: str, name: str, kind: type) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{name} is {text!r}; expected numbers by comma.") from error


def _regimes(options: StudyExactConfig, prompts: int) -> tuple[list[Regime], list[Regime]]:
    """The default ones with those of the sweeps, or the product of the axes that were given."""
    if options.responses is options.noise is options.tilt is None:
        swept = sweep_regimes(prompts, options.tau) if options.sweeps else []
        return default_regimes(prompts, options.tau), swept
    responses = _numbers(options.responses or "4", "responses", int)
    if min(responses) < 1:
        raise ConfigError(f"responses is {options.responses!r}; expected at least 1 per prompt.")
    noises, tilts = _numbers(options.noise or "0", "noise", float), _numbers(options.tilt or "0", "tilt", float)
    return [
        Regime(f"n = {n}, noise {noise:g}, tilt {tilt:g}", n, prompts, tilt, noise, options.tau)
        for n, noise, tilt in itertools.product(responses, noises, tilts)
    ], []


def _write_rows(folder: Path, rows: Sequence[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    (folder / "rows.json").write_text(json.dumps(rows, ensure_ascii=False) + "\n", encoding="utf-8")


def _figures(rows, regimes: Sequence[Regime], names: Sequence[str], curves, folder: Path, *, sweeps: bool):
    """Files by caption."""
    shown = [regime.name for regime in regimes]
    found = {"Every method, as tuned, under the exact frontier": draw_frontiers(
        rows, shown, ["π_ref", "π*", *names], curves, folder / "frontier.svg"
    )}  # fmt: skip
    if sweeps:
        lines = {
            "responses per prompt n (noise 1, on-policy)": [
                (1, "sweep: n = 1"), (2, "sweep: n = 2"), (4, "noisy, on-policy"), (8, "sweep: n = 8")
            ],
            "noise on the rewards (n = 4, on-policy)": [
                (0, "clean, on-policy"), (0.5, "sweep: noise 0.5"), (1, "noisy, on-policy"), (2, "sweep: noise 2")
            ],
            "tilt of the behaviour policy (n = 4, noise 1)": [
                (-1, "sweep: tilt -1"), (0, "noisy, on-policy"), (0.5, "sweep: tilt 0.5"), (1, "noisy, off-policy")
            ],
        }  # fmt: skip
        found["J* − J against n, noise and tilt"] = draw_sweeps(rows, lines, SWEPT, folder / "sweeps.svg")
    best = {tau: kl for tau, (kl, _) in zip(FRONTIER_TAUS, curves[shown[0]], strict=False) if tau in (*TAUS, 3.0)}
    compared = [
        name for name in ("RPO, tau tuned", "RPO paper (eq. 19)", "RPO paper-code", "DRO-V", "NCA") if name in names
    ]
    caption = f"KL after the last step against τ ({shown[0]})"
    found[caption] = draw_kl_against_tau(rows, shown[0], compared, best, folder / "kl.svg")
    return found
