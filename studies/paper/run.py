"""The study from its options: cells, metrics, verdicts, claims and timings that are missing; then the report."""

import json
import os
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from studies.harness.files import write_text
from studies.harness.pool import WorkerDied, Workers
from studies.options import StudyPaperConfig
from studies.paper.cells import Cell, Pair, Row, cells_of, missing, pairs_of
from studies.paper.claims import claim_tasks
from studies.paper.claims.plan import Scale as ClaimScale
from studies.paper.cost import estimate
from studies.paper.judging import REWARD, JudgeSpec, judge_pairs
from studies.paper.methods import Method, methods_of
from studies.paper.page import write_pages
from studies.paper.scales import Scale, scales_of
from studies.paper.served import check_installed
from studies.paper.timing import timed_runs
from studies.paper.training import measure_cell, metrics_file, run_cell, settings_key
from studies.paper.world import Setup, made, make_world
from valuefree.errors import ConfigError, JudgeError
from valuefree.evaluation.metrics.registry import DEFAULT
from valuefree.runs.manifest import git_commit, manifest

Say = Callable[[str], None]
PROGRESS_SECONDS = 20
TIMING_REPEATS = 3
KIND = "paper"


@dataclass(frozen=True)
class StudyResult:
    """Number of runs and of failed runs, the files of report and page, and the sentences at the top of the report."""

    rows: int
    failed: int
    report: Path
    page: Path | None
    findings: Sequence[str]


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
        """Pairs with scale and seed: all of them for the reward function, else those of the options.

        Models judge the pairs that the paper lacks only if they see all prompts anyway.
        """
        reward = spec.name == REWARD
        methods, ours = [method.name for method in self.methods], reward or self.options.judge_prompts == 0
        seeds = self.options.seeds if reward else min(self.options.judge_seeds, self.options.seeds)
        scales = [scale for scale in self.scales if not reward or self.setup.reward_of(scale) is not None]
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
    todo = missing(plan.cells, plan.setup.folder)
    prompts = options.judge_prompts or max(scale.test_prompts for scale in plan.scales)
    calls = sum(2 * prompts * len(plan.to_judge(spec)) for spec in plan.judges)
    say(f"{len(plan.cells)} runs, {len(plan.cells) - len(todo)} of them done; {plan.workers} workers")
    for sentence in estimate(todo, plan.scales, calls, plan.workers):
        say(sentence)
    if options.dry_run:
        return None
    if any(spec.address == "serve" for spec in plan.judges):
        check_installed()
    folder = plan.setup.folder
    _claim(plan)
    record = manifest("studies paper", options.to_dict())
    with Workers(plan.workers) as processes:
        for scale in plan.scales:  # one after another: each may hold all of its rows
            if not made(plan.setup, scale):
                say(f"{scale.title}: preparing rows and reference")
                _whole(processes.run([(make_world, (plan.setup, scale))]))
        rows = _run_cells(plan, todo, processes, say)
        _measure(plan, processes, say)
        if options.claims:
            _run_claims(folder, processes, say)
    if options.timing:
        _time(plan, say)
    seconds = {"training": time.perf_counter() - start}
    start = time.perf_counter()
    _judge(plan, say)
    seconds["judging"] = time.perf_counter() - start
    _note(folder, plan, record, seconds)
    report, page, findings = write_pages(folder, Path(options.page) if options.page else None)
    failed = sum(row.error is not None for row in rows)
    return StudyResult(len(rows), failed, report, page, findings)


def _whole(found: Iterable[tuple[int, Any]]) -> list[Any]:
    """Results of tasks that the study needs, in the order of the tasks.

    Raises:
        WorkerDied: a process of these tasks died.
    """
    results = dict(found)
    for result in results.values():
        if isinstance(result, WorkerDied):
            raise result
    return [results[number] for number in sorted(results)]


def _claim(plan: Plan) -> None:
    """Record the settings that all runs of a folder share; seeds and judges may differ between runs."""
    options, file = plan.options, plan.setup.folder / "settings.json"
    noted = plan.setup.folder / "study.json"
    if noted.exists() and json.loads(noted.read_text(encoding="utf-8")).get("kind") != KIND:
        raise ConfigError(f"{plan.setup.folder} holds another study. Choose another folder with --out, or remove it.")
    shared = {name: getattr(options, name) for name in ("decoding", "data", "score10", "reward_field")}
    ours: dict[str, Any] = {"kind": KIND, **shared, "reward_function": options.reward_function}
    theirs = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"scales": {}}
    known = theirs.pop("scales")
    other = sorted(name for name in ours if name in theirs and theirs[name] != ours[name])
    for scale in plan.scales:
        world = json.loads(json.dumps(scale.world()))
        was = known.setdefault(scale.name, world)
        other += [f"{scale.name} {name}" for name in world if was.get(name) != world[name]]
    if other:
        raise ConfigError(
            f"{plan.setup.folder} holds a study that differs in {', '.join(other)}, so its runs cannot be "
            "continued. Choose another folder with --out, or remove it."
        )
    write_text(file, json.dumps({**ours, "scales": known}, indent=1))


def _run_cells(plan: Plan, todo: Sequence[Cell], processes: Workers, say: Say) -> list[Row]:
    """Run the missing cells; return the rows of all."""
    commit, scales = git_commit(), {scale.name: scale for scale in plan.scales}
    start = reported = time.perf_counter()
    tasks = [(run_cell, (cell, plan.setup, scales[cell.scale], commit)) for cell in todo]
    for done, (number, result) in enumerate(processes.run(tasks), start=1):
        if isinstance(result, WorkerDied):
            result = Row(todo[number], commit=commit, error=f"{type(result).__name__}: {result}")
            result.write(plan.setup.folder)
        if result.error is not None:
            say(f"failed: {result.cell.name}: {result.error}")
        if time.perf_counter() - reported > PROGRESS_SECONDS or done == len(todo):
            reported = time.perf_counter()
            say(f"{done} of {len(todo)} runs, {(reported - start) / 60:.1f} min")
    return [Row.read(cell.file(plan.setup.folder)) for cell in plan.cells]


def _measure(plan: Plan, processes: Workers, say: Say) -> None:
    """Measure the answers of the cells that have no text metrics yet."""
    folder, scales = plan.setup.folder, {scale.name: scale for scale in plan.scales}
    answered = [cell for cell in plan.cells if cell.file(folder, "responses", "jsonl").exists()]
    todo = [cell for cell in answered if not metrics_file(cell, folder, plan.options).exists()]
    if todo:
        say(f"metrics of {len(todo)} runs: {plan.options.metrics or ', '.join(DEFAULT)}")
    tasks = [(measure_cell, (cell, plan.setup, scales[cell.scale], plan.options)) for cell in todo]
    for number, result in processes.run(tasks):
        if isinstance(result, WorkerDied):
            raise ConfigError(f"metrics of {todo[number].name}: {result}")


def _run_claims(folder: Path, processes: Workers, say: Say) -> None:
    """Run the missing tasks for Table I and section VI; a failed task leaves its error and is repeated next time."""
    tasks = claim_tasks(ClaimScale())
    todo = [task for task in tasks if not (folder / "claims" / f"{task[0]}.json").exists()]
    if todo:
        say(f"{len(todo)} of {len(tasks)} runs behind Table I and section VI")
    for number, result in processes.run([(_claimed, (folder, *task)) for task in todo]):
        failed = folder / "claims" / f"{todo[number][0]}.failed"
        if result is None:
            failed.unlink(missing_ok=True)
            continue
        write_text(failed, str(result))
        say(f"failed: {todo[number][0]}: {result}")


def _claimed(folder: Path, name: str, function: Callable[..., list[dict[str, Any]]], arguments: tuple) -> str | None:
    """Write the rows of a task; return the error if it raised."""
    try:
        rows = function(*arguments)
    except Exception as fault:  # kept in a file and listed in the report
        return "".join(traceback.format_exception_only(fault)).strip()
    write_text(folder / "claims" / f"{name}.json", json.dumps(rows, default=float))
    return None


def _time(plan: Plan, say: Say) -> None:
    """Figure 1's timings, one after another in a process of their own."""
    tiny = next((scale for scale in plan.scales if scale.width), None)
    file = plan.setup.folder / "timing.json"
    if tiny is None or file.exists():
        return
    say(f"timings: {TIMING_REPEATS} repetitions, alone")
    with Workers(1) as alone:
        tasks = [(timed_runs, (plan.setup, tiny, repeat)) for repeat in range(TIMING_REPEATS + 1)]
        _, *found = _whole(alone.run(tasks))  # the first repetition is a warm-up
    rows = [row for result in found for row in result]
    write_text(file, json.dumps(rows, indent=1))


def _judge(plan: Plan, say: Say) -> None:
    for spec in (JudgeSpec(REWARD), *plan.judges):
        prompts = None if spec.name == REWARD else plan.options.judge_prompts or None
        done = [
            entry
            for entry in plan.to_judge(spec)
            if all(cell.file(plan.setup.folder, "responses", "jsonl").exists() for cell in entry[0].cells(*entry[1:]))
        ]
        try:
            judge_pairs(spec, done, plan.setup.folder, prompts=prompts, say=say)
        except JudgeError as error:  # the verdicts so far are kept, and the report is written without the others
            say(f"{spec.title} stopped: {error}")


def _note(folder: Path, plan: Plan, record: dict[str, Any], seconds: dict[str, float]) -> None:
    """Write study.json, from which, with the files of the cells, the report is made."""
    file = folder / "study.json"
    before = json.loads(file.read_text(encoding="utf-8"))["sessions"] if file.exists() else []
    content = {
        "kind": KIND,
        "scales": [scale.name for scale in plan.scales],
        "methods": [method.name for method in plan.methods],
        "taus": plan.options.tau_list(),
        "seeds": plan.options.seeds,
        "control": plan.options.control,
        "metrics_key": settings_key(plan.options),
        "judges": [{"title": spec.title, "key": spec.key} for spec in plan.judges],
        "judge_prompts": plan.options.judge_prompts or None,
        "manifest": record,
        "sessions": [*before, {"started": record["started"], "seconds": seconds, "machine": record["machine"]}],
    }
    write_text(file, json.dumps(content, indent=1, default=str))
