"""The study from its options: cells, metrics, claims, timings and verdicts that are missing; then the report."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from studies.harness.cells import Row, Say, StudyResult, claim, missing, run_cells
from studies.harness.pool import Workers
from studies.options import StudyPaperConfig
from studies.paper.cells import Cell, Pair, TimingCell, cells_of, pairs_of, responses_file
from studies.paper.claims import carry_out, trials_of
from studies.paper.cost import estimate
from studies.paper.judging import REWARD, JudgeSpec, judge_pairs
from studies.paper.methods import Method, methods_of
from studies.paper.page import write_pages
from studies.paper.results import CLAIMS, NOTES, TIMING
from studies.paper.scales import Scale, scales_of
from studies.paper.served import check_installed
from studies.paper.timing import timed_runs
from studies.paper.training import measure_cell, measure_texts, metrics_folder
from studies.paper.world import Setup, made, make_world
from valuefree.errors import ConfigError, JudgeError
from valuefree.evaluation.metrics.registry import DEFAULT
from valuefree.runs.files import read_json, write_json
from valuefree.runs.manifest import manifest


@dataclass(frozen=True)
class Plan:
    """The study that the options describe."""

    options: StudyPaperConfig
    scales: Sequence[Scale]
    methods: Sequence[Method]
    setup: Setup
    cells: Sequence[Cell]
    judges: Sequence[JudgeSpec]

    @classmethod
    def of(cls, options: StudyPaperConfig, scales: Sequence[Scale] | None = None) -> "Plan":
        """From checked options.

        Raises:
            ConfigError: unknown names; options that no chosen scale reads.
        """
        chosen = list(scales) if scales is not None else scales_of(options.scale, data=options.data)
        idle = sorted({"score10", "reward_field"} & set(options.changed()))
        if idle and all(scale.feedback == "demo" for scale in chosen):
            raise ConfigError(f"{', '.join(idle)}: read by the scales small, large and xl alone; leave it out.")
        methods = methods_of(options.methods)
        setup = Setup(
            Path(options.out).absolute(),
            options.data or "openbmb/UltraFeedback",
            options.score10,
            options.reward_field,
            options.reward_function,
            options.decoding,
        )
        taus = options.tau_list()
        cells = cells_of(chosen, methods, taus, options.seeds, control=options.control == "shuffle")
        return cls(options, chosen, methods, setup, cells, judges_of(options.judges()))

    @property
    def workers(self) -> int:
        """Number of worker processes."""
        return self.options.workers or (1 if torch.accelerator.is_available() else os.cpu_count() or 1)

    def to_judge(self, spec: JudgeSpec) -> list[tuple[Pair, str, int]]:
        """Pairs with scale and seed: all of them for a judge that scores answers, else those of the options.

        Models that compare answers judge the pairs that the paper lacks only if they see all prompts anyway, and no
        brief scale.
        """
        methods, ours = [method.name for method in self.methods], spec.scores or self.options.judge_prompts == 0
        seeds = self.options.seeds if spec.scores else min(self.options.judge_seeds, self.options.seeds)
        scales = [scale for scale in self.scales if spec.scores or not scale.brief]
        if spec.name == REWARD:
            scales = [scale for scale in scales if self.setup.reward_of(scale) is not None]
        return [
            (pair, scale.name, seed)
            for scale in scales
            for pair in pairs_of(methods, self.options.tau_list(), ours=ours)
            for seed in range(seeds)
        ]


def judges_of(texts: Sequence[str]) -> list[JudgeSpec]:
    """The judges without the reward function, which judges in any case.

    Raises:
        ConfigError: two judges with the same title or the same files of verdicts.
    """
    found: list[JudgeSpec] = []
    for spec in map(JudgeSpec.parse, texts):
        for other in found:
            if spec.key == other.key or spec.title == other.title:
                raise ConfigError(
                    f"judge {spec.name} is named like another, {other.name}: their verdicts could not be told apart. "
                    "Give one of them."
                )
        if spec.name != REWARD:
            found.append(spec)
    return found


def study(options: StudyPaperConfig, *, say: Say, scales: Sequence[Scale] | None = None) -> StudyResult | None:
    """Run the study; None after a dry run. After an interruption a second call runs only the missing parts.

    Args:
        options: of the command. say: called with each line of progress. scales: instead of those of the options.

    Raises:
        ConfigError: unknown names; a folder that holds a study of other settings.
    """
    start = time.perf_counter()
    plan = Plan.of(options, scales)
    folder = plan.setup.folder
    todo = missing(plan.cells, folder)
    prompts = options.judge_prompts or max(scale.test_prompts for scale in plan.scales)
    calls = sum(2 * prompts * len(plan.to_judge(spec)) for spec in plan.judges if not spec.scores)
    say(f"{len(plan.cells)} runs, {len(plan.cells) - len(todo)} of them done; {plan.workers} workers")
    for sentence in estimate(todo, plan.scales, calls, plan.workers):
        say(sentence)
    if options.dry_run:
        return None
    if any(spec.address == "serve" for spec in plan.judges):
        check_installed()
    claim(folder, {"kind": "paper"})
    for scale in plan.scales:
        plan.setup.claim(scale)
    record = manifest("studies paper", options.to_dict())
    rows = _run(plan, say)
    seconds = {"training": time.perf_counter() - start}
    start = time.perf_counter()
    _judge(plan, say)
    seconds["judging"] = time.perf_counter() - start
    _note(plan, record, seconds)
    report, page, findings = write_pages(folder, Path(options.page) if options.page else None)
    return StudyResult.of(rows, page, [f"report: {report}", *findings])


def _run(plan: Plan, say: Say) -> list[Row]:
    """Run what is missing but the judges; return the rows of the grid."""
    setup, options, scales = plan.setup, plan.options, {scale.name: scale for scale in plan.scales}
    folder, texts = setup.folder, f"runs measured by {options.metrics or ', '.join(DEFAULT)}"
    with Workers(plan.workers) as workers:
        for scale in plan.scales:  # one after another: each may hold all of its rows
            if not made(setup, scale):
                say(f"{scale.title}: preparing rows and reference")
                workers.run_all([(make_world, (setup, scale))])
        rows = run_cells(measure_cell, plan.cells, (setup, scales), folder, workers, say, named="runs")
        good = [row.cell for row in rows if row.error is None]
        given = (setup, scales, options)
        run_cells(measure_texts, good, given, metrics_folder(folder, options), workers, say, named=texts)
        if options.claims:
            what = "runs behind Table I and section VI"
            run_cells(carry_out, trials_of(), (), folder / CLAIMS, workers, say, named=what)
    tiny = next((scale for scale in plan.scales if scale.width), None)
    if options.timing and tiny is not None:
        with Workers(1) as alone:
            run_cells(timed_runs, [TimingCell()], (setup, tiny), folder / TIMING, alone, say, named="timings")
    return rows


def _judge(plan: Plan, say: Say) -> None:
    for spec in (JudgeSpec(REWARD), *plan.judges):
        prompts = None if spec.scores else plan.options.judge_prompts or None
        done = [
            entry
            for entry in plan.to_judge(spec)
            if all(responses_file(cell, plan.setup.folder).exists() for cell in entry[0].cells(*entry[1:]))
        ]
        try:
            judge_pairs(spec, done, plan.setup.folder, prompts=prompts, say=say)
        except JudgeError as error:  # the verdicts so far are kept, and the report is written without the others
            say(f"{spec.title} stopped: {error}")


def _note(plan: Plan, record: dict[str, Any], seconds: dict[str, float]) -> None:
    """Write the notes from which, with the files of the cells, the report is made."""
    options, file = plan.options, plan.setup.folder / NOTES
    before = read_json(file)["sessions"] if file.exists() else []
    content = {
        "scales": [asdict(scale) for scale in plan.scales],
        "methods": [method.name for method in plan.methods],
        "taus": options.tau_list(),
        "seeds": options.seeds,
        "control": options.control,
        "decoding": options.decoding,
        "metrics": metrics_folder(plan.setup.folder, options).name,
        "judges": [
            {"title": spec.title, "key": spec.key, "scores": spec.scores, "agreement": spec.agreement}
            for spec in plan.judges
        ],
        "judge_prompts": options.judge_prompts or None,
        "manifest": record,
        "sessions": [*before, {"started": record["started"], "seconds": seconds, "machine": record["machine"]}],
    }
    write_json(file, content)
