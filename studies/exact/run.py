"""The exact study from its options: run the cells that are missing, then write rows, figures and the page."""

import itertools
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from studies.exact.grid import (
    QUICK,
    Cell,
    Scale,
    cells_of,
    default_regimes,
    lines_of,
    measure,
    reference_lines,
    sweep_regimes,
)
from studies.exact.methods import BY_NAME
from studies.exact.page import SWEPT, make_page
from studies.exact.problems import Regime
from studies.exact.world import WorldSettings
from studies.harness.cells import Say, StudyResult, claim, run_cells, write_rows
from studies.harness.methods import names_of
from studies.harness.pool import Workers
from studies.options import StudyExactConfig
from valuefree.errors import ConfigError
from valuefree.runs.manifest import manifest


def study(options: StudyExactConfig, *, say: Say) -> StudyResult | None:
    """Carry out the study; None after a dry run. Run again after an interruption, it does what is missing.

    Raises:
        ConfigError: unknown methods, axes that are not numbers, a folder that holds a study of other settings.
    """
    scale = QUICK if options.quick else Scale()
    scale = replace(scale, seeds=options.seeds or scale.seeds)
    names = names_of(options.methods, BY_NAME, "method", separator=";")
    prompts = min(options.prompts, 64) if options.quick else options.prompts
    regimes, swept = _regimes(options, prompts)
    world = WorldSettings(
        structure=options.structure,
        length=options.length,
        alphabet=options.alphabet,
        features=options.features,
        reward=options.reward,
    )
    seeds = tuple(range(options.first_seed, options.first_seed + scale.seeds))
    control = options.control == "shuffle"
    cells = cells_of(regimes, names, seeds, world, scale, control=control)
    cells += cells_of(swept, [name for name in SWEPT if name in names], seeds, world, scale, control=False)
    folder = Path(options.out)
    with Workers(options.workers) as workers:
        say(
            f"{len(cells)} cells: {len(names)} methods, {len(regimes)} regimes, {len(swept)} regimes of the sweeps; "
            f"{workers.count} workers"
        )
        if options.dry_run:
            return None
        shared = {"prompts": prompts, "tau": options.tau, "seeds": seeds, "control": control}
        claim(folder, {"world": asdict(world), "scale": asdict(scale), **shared})
        record = manifest("studies exact", options.to_dict(), scale=asdict(scale), world=asdict(world))
        rows = run_cells(measure, cells, (), folder, workers, say)
    references, curves = [], {}
    for regime in [*regimes, *swept]:
        lines, curves[regime.name] = reference_lines(Cell(regime, "", seeds, world, scale, control=False))
        references += lines
    lines = [*references, *(line for row in rows for line in lines_of(row))]
    write_rows(folder, lines, lines)
    page = Path(options.page) if options.page else folder / "exact.md"
    make_page(page, rows, references, curves, [regime.name for regime in regimes], names, record, scale)
    return StudyResult.of(rows, page)


def _numbers(text: str, name: str, kind: Callable[[str], Any]) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{name} is {text!r}; expected numbers by comma.") from error


def _regimes(options: StudyExactConfig, prompts: int) -> tuple[list[Regime], list[Regime]]:
    """The default regimes and those of the sweeps, or the product of the axes of the options."""
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
