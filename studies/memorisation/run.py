"""The study of memorisation from its options: run the cells that are missing, then write the page."""

from pathlib import Path

from studies.harness.cells import Say, StudyResult, claim, run_cells
from studies.harness.pool import Workers
from studies.memorisation.candidates import BASE, TUNING_SEEDS, Cell
from studies.memorisation.page import make_page
from studies.memorisation.results import choose, variants
from studies.memorisation.training import EPOCHS, LR, SIZES, STRENGTHS, measure_cell
from studies.options import StudyMemorisationConfig
from studies.small.models import KINDS
from studies.small.world import make_references
from valuefree.runs.manifest import manifest


def study(options: StudyMemorisationConfig, *, say: Say) -> StudyResult:
    """Choose among variants on the tuning seeds, then run the base and one variant of each family on the others.

    Raises:
        ConfigError: a folder that holds a study of other sizes.
    """
    folder, noise = Path(options.out).absolute(), options.noise
    shared = {"training": [EPOCHS, LR, SIZES.batch], "strengths": STRENGTHS, **SIZES.world()}
    claim(folder, shared)
    record = manifest("studies memorisation", options.to_dict())
    several = [name for names in variants().values() if len(names) > 1 for name in names]
    tuning = [Cell(kind, noise, name, seed) for kind in KINDS for name in several for seed in TUNING_SEEDS]
    with Workers(options.workers) as workers:
        make_references(folder, KINDS, SIZES, workers, say)
        tuned = run_cells(measure_cell, tuning, (folder,), folder, workers, say)
        names = [BASE, *choose(tuned)]
        final = [Cell(kind, noise, name, seed) for seed in range(options.seeds) for kind in KINDS for name in names]
        final += [Cell(kind, 0.0, BASE, seed) for seed in range(options.seeds) for kind in KINDS]
        reported = run_cells(measure_cell, final, (folder,), folder, workers, say)
    page = Path(options.page) if options.page else folder / "memorisation.md"
    sizes = {
        "noise": f"{noise:g}",
        "prompts": SIZES.train_prompts,
        "responses": SIZES.responses,
        "epochs": EPOCHS,
        "batch": SIZES.batch,
        "lr": f"{LR:g}",
        "strengths": ", ".join(f"{scale:g}" for scale in STRENGTHS),
        "test": SIZES.test_prompts,
        "samples": SIZES.samples,
    }
    make_page(page, tuned, reported, record, sizes)
    return StudyResult.of([*tuned, *reported], page)
