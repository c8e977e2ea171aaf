"""``valuefree judge``: from files of outputs to win rates."""

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuefree.cli import show
from valuefree.cli.commands.judge_agreement import agreement_with, read_verdicts
from valuefree.cli.commands.judge_systems import Measured, measure_systems, metrics_of, metrics_table, read_runs
from valuefree.cli.options.judge import JudgeConfig
from valuefree.cli.output import bars
from valuefree.data.validation import prompt_text
from valuefree.errors import ConfigError, JudgeError, number_of
from valuefree.evaluation.control_tokens import control_tokens_note
from valuefree.evaluation.judging.arena import ArenaResult, arena
from valuefree.evaluation.judging.asking import Estimate, Prices, estimate
from valuefree.evaluation.judging.backends import Backend, FunctionJudge
from valuefree.evaluation.judging.cache import JudgementCache
from valuefree.evaluation.judging.judge import Protocol, calls_of, judge, judge_by_reward
from valuefree.evaluation.judging.labels import Labels
from valuefree.evaluation.judging.local_judge import LocalJudge
from valuefree.evaluation.judging.presets import JUDGES
from valuefree.evaluation.judging.prompts import load_prompt
from valuefree.evaluation.judging.server_judge import ServerJudge
from valuefree.evaluation.judging.tables import RANKING, pair_rows, ranking_rows, table_of
from valuefree.evaluation.markdown import escape_marks
from valuefree.evaluation.outputs import Aligned
from valuefree.evaluation.reward_functions import load_reward
from valuefree.evaluation.stats import Agreement
from valuefree.models.load import load_model
from valuefree.models.modules import accelerator_device
from valuefree.report import read_report, write_report
from valuefree.runs.files import write_json, write_jsonl, write_text
from valuefree.runs.manifest import COMPLETIONS, fingerprint, manifest
from valuefree.runs.run_folder import check_verb


@dataclass(frozen=True)
class Judging:
    """What ``valuefree judge`` found: per run of the systems an `ArenaResult` and metrics; κ with others; where.

    aligned: per run, the texts that were compared, and how many were left out. served: a server renders them.
    """

    runs: Sequence[ArenaResult]
    agreement: dict[str, Agreement]
    judge: str
    folder: Path
    aligned: Sequence[Aligned]
    measured: Sequence[Measured] = ()
    served: bool = False

    @property
    def notes(self) -> list[str]:
        """What --common left out, and texts that a server may misread, in words."""
        left_out = [
            f"Left out by --common{f', run {number}' if len(self.aligned) > 1 else ''}: {run.omitted}"
            for number, run in enumerate(self.aligned)
            if run.left_out
        ]
        asked = [
            "\n".join([prompt_text(prompt), *answers])
            for run in self.aligned
            for prompt, *answers in zip(run.prompts, *run.responses.values(), strict=True)
        ]
        note = control_tokens_note(asked, what="prompts, or the answers to them,") if self.served else None
        return [*left_out, note] if note else left_out

    @property
    def missing(self) -> int:
        """Calls without an answer; the same command makes them."""
        return sum(run.asked.missing for run in self.runs)

    @property
    def nothing_judged(self) -> bool:
        """Whether no pair has a verdict."""
        return not any(result.judged for run in self.runs for result in run.pairs.values())

    @property
    def why_missing(self) -> str:
        """What stopped the run, or the first error."""
        found = [run.asked.stopped or run.asked.first_error for run in self.runs if run.asked.missing]
        return str(found[0]) if found else ""

    @property
    def table(self) -> str:
        """Win rates as Markdown."""
        return table_of(self.runs[0], self.runs, judge=self.judge)


def judge_outputs(options: JudgeConfig) -> Judging:
    """Judge, and write judge.json, verdicts.jsonl, completions.jsonl, judge.md, manifest.json and the report.

    What was answered is written even where calls are missing; `Judging.missing` counts these.
    """
    check_verb(options.out, "judge")
    others = {source: read_verdicts(source) for source in options.agreement}  # a fault in them costs no call
    texts = metrics_of(options)
    runs = read_runs(options)
    measured = [measure_systems(options, texts, run) for run in runs] if texts is not None else []
    folder = Path(options.out)
    record = manifest(
        "judge", options.to_dict(), given=options.given(), fingerprint=[_fingerprint(run) for run in runs]
    )
    against = None if options.arena else next(iter(runs[0].responses))
    with ExitStack() as stack:
        shared = _settings(options, stack)
        results = [arena(run.prompts, run.responses, against=against, seed=options.seed, **shared) for run in runs]
    rows = _rows(results)
    agreement = {source: agreement_with(verdicts, rows, seed=options.seed) for source, verdicts in others.items()}
    name = results[0].pairs[next(iter(results[0].pairs))].setup.judge
    found = Judging(results, agreement, name, folder, runs, measured, options.server is not None)
    if not (found.missing and found.nothing_judged and (folder / "judge.json").exists()):  # keep an earlier result
        _write(found, rows, record)
    write_report(read_report([folder]), folder)
    return found


def estimate_run(options: JudgeConfig) -> Estimate | None:
    """What the calls of a run would take at most; None for a reward function, which is not asked."""
    runs = read_runs(options)
    if options.reward_function is not None:
        return None
    backend, prices = load_judge(options), _prices(options)
    protocol = protocol_of(options).with_judge(backend)
    with JudgementCache(_cache_file(options), write=False) as cache:
        calls = []
        for run in runs:
            names = list(run.responses)
            pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if options.arena or i == 0]
            for a, b in pairs:
                calls += calls_of(
                    run.prompts, run.responses[a], run.responses[b], backend=backend, protocol=protocol, cache=cache
                )
        return estimate(calls, backend, cache, protocol.settings(), prices)


# ------------------------------------------------------------------------------------------------------------ the judge


def load_judge(options: JudgeConfig) -> Backend:
    """The judge that the options name.

    Raises:
        ConfigError: no such model, function or server.
    """
    name = str(options.judge)
    model = JUDGES[name].model if name in JUDGES else name
    if options.server is not None:
        _check_served(options, name)
        return ServerJudge(
            options.served_name or model,
            server=options.server,
            name=model,
            revision=options.revision or "unknown",
            api_key_env=options.api_key_env,
            key_over_http=options.key_over_http,
            concurrency=options.concurrency,
            timeout_seconds=options.timeout_seconds,
            max_retries=options.max_retries,
        )
    if options.judge_is_function:
        return FunctionJudge(_function(name), name=name, revision=options.revision)
    loaded, tokenizer = load_model(
        model,
        dtype=options.dtype,
        attn_implementation=options.attn_implementation,
        trust_remote_code=options.trust_remote_code,
    )
    there: Any = loaded.to(accelerator_device())  # type: ignore[arg-type]  # the stub of `to` takes no device
    return LocalJudge(there, tokenizer, name=model, batch_size=options.judge_batch_size)


def _check_served(options: JudgeConfig, name: str) -> None:
    """Refuse a function with --server; ``llama3:latest``, as some servers call a model, is none: no module llama3."""
    module = name.partition(":")[0]
    named = all(part.isidentifier() for part in module.split("."))
    if not options.judge_is_function or options.served_name is not None or not named:
        return
    with _working_folder():
        there = importlib.util.find_spec(module.partition(".")[0]) is not None
    if there:
        raise ConfigError(
            f"--judge {name} is a function in the module {module}, which runs in this process, and --server asks a "
            "model; leave one out, or name the server's model by --served-name."
        )


@contextmanager
def _working_folder() -> Iterator[None]:
    """Modules are looked for in the working folder too."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _function(spec: str) -> Any:
    module, _, name = spec.partition(":")
    try:
        with _working_folder():
            function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"no judge {spec!r} ({error}); expected module:function.") from error
    if not callable(function):
        raise ConfigError(f"{spec!r} is {type(function).__name__}, not a function from a question to an answer.")
    return function


def protocol_of(options: JudgeConfig) -> Protocol:
    """How pairs are put to the judge."""
    preset = JUDGES.get(str(options.judge))
    prompt = options.judge_prompt or (preset.prompt if preset else "guarded")
    return Protocol(
        prompt=load_prompt(prompt, Labels.of(options.labels)),
        orders=options.orders,
        read=options.read,
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        max_characters=options.max_characters,
        seed=options.seed,
    )


def _prices(options: JudgeConfig) -> Prices:
    return Prices(options.input_price, options.output_price, options.max_cost)


def _cache_file(options: JudgeConfig) -> Path:
    return Path(options.cache) if options.cache is not None else Path(options.out) / "judgements.jsonl"


def _settings(options: JudgeConfig, stack: ExitStack) -> dict[str, Any]:
    if options.reward_function is not None:
        function = load_reward(options.reward_function)
        return {"compare": judge_by_reward, "reward_function": function, "name": options.reward_function}
    backend = load_judge(options)
    cache = stack.enter_context(JudgementCache(_cache_file(options)))
    settings = {"backend": backend, "protocol": protocol_of(options), "cache": cache, "prices": _prices(options)}
    return {"compare": judge, "progress": bars(), **settings}


# ------------------------------------------------------------------------------------------------------------- writing


def _fingerprint(run: Aligned) -> str:
    return fingerprint({"prompt": run.prompts, **{f"response {name}": texts for name, texts in run.responses.items()}})


def _rows(runs: Sequence[ArenaResult]) -> list[dict[str, Any]]:
    """The rows of verdicts.jsonl: one per run, pair of systems and pair of answers."""
    return [
        {"run": number, "systems": list(names), **pair.to_dict()}
        for number, run in enumerate(runs)
        for names, result in run.pairs.items()
        for pair in result.comparisons
    ]


def _answers(runs: Sequence[Aligned]) -> list[dict[str, Any]]:
    """The rows of completions.jsonl: one per run and prompt, in the order of the verdicts on two systems."""
    return [
        {"run": number, "prompt": prompt, "responses": dict(zip(run.responses, answers, strict=True))}
        for number, run in enumerate(runs)
        for prompt, *answers in zip(run.prompts, *run.responses.values(), strict=True)
    ]


def _write(found: Judging, rows: Iterable[dict[str, Any]], record: dict[str, Any]) -> None:
    content = {
        "judge": found.judge,
        "runs": [run.to_dict() for run in found.runs],
        "metrics": [_plain(run) for run in found.measured],
        "prompts_left_out": [run.left_out for run in found.aligned],
        "missing_calls": found.missing,
        "agreement": {source: agreement.to_dict() for source, agreement in found.agreement.items()},
    }
    write_json(found.folder / "judge.json", content)
    write_json(found.folder / "manifest.json", record)
    write_jsonl(found.folder / "verdicts.jsonl", rows)
    write_jsonl(found.folder / COMPLETIONS, _answers(found.aligned))
    write_text(found.folder / "judge.md", _markdown(found))


def _plain(run: Measured) -> dict[str, Any]:
    return {system: {name: metric.to_dict() for name, metric in found.items()} for system, found in run.items()}


def _markdown(found: Judging) -> str:
    parts = [found.table, *found.notes, *([metrics_table(found.measured)] if found.measured else [])]
    for number, run in enumerate(found.runs):
        heading = f", run {number}" if len(found.runs) > 1 else ""
        for names, result in run.pairs.items():
            rows = "\n".join(f"| {escape_marks(name.strip())} | {value} |" for name, value in pair_rows(result))
            title = escape_marks(" against ".join(names)) + heading
            parts.append(f"## {title}\n\n| | |\n|---|---|\n{rows}\n\n`{result.signature}`")
        ranked = "\n".join(f"| {escape_marks(name)} | {value} |" for name, value in ranking_rows(run))
        if ranked:
            parts.append(f"## {RANKING}\n\n| system | strength |\n|---|---|\n{ranked}")
    parts += [f"Agreement with {source}: {agreement}" for source, agreement in found.agreement.items()]
    return "\n\n".join(parts) + "\n"


def command(options: JudgeConfig) -> None:
    """Judge and print the table; an error at the end if calls are missing."""
    if options.dry_run:
        show.settings(options, str(estimate_run(options) or "a reward function: nothing to ask"))
        return
    found = judge_outputs(options)
    said = "nothing was judged" if found.nothing_judged else "their pairs are unjudged above"
    error = JudgeError(
        f"{number_of(found.missing, 'call')} without an answer ({found.why_missing}); {said}. The answers that came "
        "are kept: once the cause is gone, the same command asks for the missing ones alone."
    )
    if found.missing and found.nothing_judged:
        raise error
    print("\n".join([found.table, *found.notes]))
    if found.measured:
        print(f"\n{metrics_table(found.measured)}")
    for number, run in enumerate(found.runs):
        for names, result in run.pairs.items():
            heading = f"{' against '.join(names)}" + (f", run {number}" if len(found.runs) > 1 else "")
            show.table(f"\n{heading} (95 % intervals over prompts)", pair_rows(result))
            print(result.report())
        if run.ranking is not None:
            show.table(f"\n{RANKING} (95 % intervals, bootstrap over prompts)", ranking_rows(run))
    for source, agreement in found.agreement.items():
        print(f"agreement with {source}: {agreement}")
    print(f"written: {found.folder}\nreport: {found.folder / 'report.html'}")
    if found.missing:
        raise error
