"""The command line: parse, call the Python API, print. One function per verb; torch comes in when a verb needs it."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from valuefree import __version__
from valuefree.cli.options import (
    REWARD_MODEL,
    VERBS,
    DemoConfig,
    EvaluateConfig,
    GenerateConfig,
    InspectConfig,
    JudgeConfig,
    PrepareConfig,
    ReportConfig,
    SampleConfig,
    ScoreConfig,
    StudyExactConfig,
    StudyPaperConfig,
    StudySmallConfig,
    TrainConfig,
)
from valuefree.cli.parse import parse, unknown
from valuefree.errors import ConfigError, JudgeError, ValueFreeError, number_of
from valuefree.runs.manifest import launched

USAGE = f"""valuefree {__version__}: a better policy from scalar feedback, offline, without a value network

usage: valuefree VERB [options]

{{verbs}}

valuefree VERB --help lists the options of a verb; every verb takes --config FILE, a YAML recipe.
"""


def _table(title: str, rows: Sequence[tuple[str, ...]], header: Sequence[str] = ()) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=bool(header))
    for name in header or ("", ""):
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def _settings(options: Any) -> None:
    print(json.dumps(options.to_dict(), indent=2, ensure_ascii=False))


def _side_by_side(samples: Sequence[dict[str, Any]]) -> None:
    from valuefree.batches.rendering import as_text

    for sample in samples:
        print(f"\nprompt     {as_text(sample['prompt'])}")
        for who in ("reference", "policy"):
            print(f"{who:<10} [{sample[f'{who}_reward']:.3f}] {sample[who]}")


def _show(evaluation: Any) -> None:
    from valuefree.report.gains import evaluation_rows, on_which_prompts, verdict

    found = evaluation.to_dict()
    _table(f"{on_which_prompts(found)} (95 % intervals over prompts)", evaluation_rows(found))
    print(verdict(found))
    _side_by_side(evaluation.samples)


def prepare(options: PrepareConfig) -> None:
    """Read a public feedback set, say what was found in it, and where its rows are."""
    from valuefree.cli.commands import prepare as preparing

    if options.dry_run:
        _settings(options)
    output = None if options.dry_run else preparing.output_of(options)
    rows, report = preparing.read(options)
    print(report)
    parts = preparing.split(options, rows, report)
    print(parts)
    if output is not None:
        print("\n".join(f"written: {file}" for file in preparing.write(output, options, parts, report)))


def inspect(options: InspectConfig) -> None:
    """Print the counts of the data and the report of the partition."""
    from valuefree.cli.commands import scoring

    _, report = scoring.inspect(options)
    rows = [(f"target, {q:.0%} quantile", f"{value:+.3f} nats") for q, value in report.target_quantiles.items()]
    _table(f"Partition, estimator {report.settings.estimator}, tau {report.settings.tau:.3g}", rows)
    print(report)


def score(options: ScoreConfig) -> None:
    """Score every row and say where the scores are."""
    from valuefree.cli.commands import objects, scoring

    if options.dry_run:
        _settings(options)
        print(objects.read(options)[1])
        return
    file, scores = scoring.score(options)
    print(f"{scores}\nwritten: {file}")


def train(options: TrainConfig) -> None:
    """Train and print what was gained."""
    from valuefree.cli.commands import objects
    from valuefree.cli.commands.runs import check
    from valuefree.cli.commands.train import train as run_training

    reward_model = options.objective == REWARD_MODEL
    if options.dry_run:
        _settings(options)
        print(f"objective: {options.objective if reward_model else objects.objective_of(options)}")
        print(check(options))
        return
    if reward_model:
        _train_reward_model(options)
        return
    result = run_training(options)
    if result.stopped:
        print(f"stopped by {result.stopped}; go on with --resume")
        return
    if result.evaluation is not None:
        _show(result.evaluation)
    policy = result.folder / "model"
    print(f"policy: {policy}\nreport: {result.folder / 'report.html'}")
    print(f"load it: from valuefree import load_model; model, tokenizer = load_model({str(policy)!r})")
    print(f"sample from it: valuefree generate prompts.txt --model {policy}")


def _train_reward_model(options: TrainConfig) -> None:
    from valuefree.cli.commands.reward_model import train_reward_model
    from valuefree.report.gains import pairs_verdict

    result = train_reward_model(options)
    if result.stopped:
        print(f"stopped by {result.stopped}; go on with --resume")
        return
    if result.held_out is not None:
        names = {"pairs": "pairs", "accuracy": "share ordered rightly", "margin": "margin, nats", "loss": "loss, nats"}
        _table("On held-out pairs", [(text, f"{result.held_out[name]:.4g}") for name, text in names.items()])
        print(pairs_verdict(result.held_out))
    print(f"reward model: {result.folder / 'model'}\nreport: {result.folder / 'report.html'}")


def sample(options: SampleConfig) -> None:
    """Sample or score responses and say where they are."""
    from valuefree.cli.commands import objects
    from valuefree.cli.commands.sample import read_responses, sample

    if options.dry_run:
        _settings(options)
        if options.responses is not None:
            print(f"{len(read_responses(options.responses, options.prompt, options.response)[0])} responses")
        else:
            prompts = len(objects.read_prompts(str(options.prompts), options.prompt))
            print(f"{prompts} prompts, {options.samples} responses each: {prompts * options.samples}")
        return
    print(sample(options))


def generate(options: GenerateConfig) -> None:
    """Sample responses and say where they are."""
    from valuefree.cli.commands import objects
    from valuefree.cli.commands.generate import generate as run_generation

    if options.dry_run:
        _settings(options)
        print(f"{len(objects.read_prompts(options.prompts, options.prompt))} prompts")
        return
    print(f"written: {run_generation(options)}")


def evaluate(options: EvaluateConfig) -> None:
    """Measure responses, or compare a policy with its reference, and print the table."""
    if options.measured():
        _measure(options)
        return
    from valuefree.cli.commands import objects
    from valuefree.cli.commands.evaluate import evaluate_policy

    if options.dry_run:
        _settings(options)
        print(f"{len(objects.read_prompts(str(options.prompts), options.prompt))} prompts")
        return
    evaluation, folder = evaluate_policy(options)
    _show(evaluation)
    print(f"report: {folder / 'report.html'}")


def judge(options: JudgeConfig) -> None:
    """Judge and print the table; an error at the end if calls are missing."""
    from valuefree.cli.commands import judge as judging

    if options.dry_run:
        _settings(options)
        print(judging.estimate_run(options) or "a reward function: nothing to ask")
        return
    found = judging.judge_outputs(options)
    said = "nothing was judged" if found.nothing_judged else "their pairs are unjudged above"
    error = JudgeError(
        f"{number_of(found.missing, 'call')} without an answer ({found.why_missing}); {said}. The answers that came "
        "are kept: once the cause is gone, the same command asks for the missing ones alone."
    )
    if found.missing and found.nothing_judged:
        raise error
    print("\n".join([found.table, *found.notes]))
    if found.measured:
        print(f"\n{judging.metrics_table(found.measured)}")
    for number, run in enumerate(found.runs):
        for names, result in run.pairs.items():
            heading = f"{' against '.join(names)}" + (f", run {number}" if len(found.runs) > 1 else "")
            _table(f"\n{heading} (95 % intervals over prompts)", judging.pair_rows(result))
            print(result.report())
        if run.ranking is not None:
            _table(f"\n{judging.RANKING} (95 % intervals, bootstrap over prompts)", judging.ranking_rows(run))
    for source, agreement in found.agreement.items():
        print(f"agreement with {source}: {agreement}")
    print(f"written: {found.folder}\nreport: {found.folder / 'report.html'}")
    if found.missing:
        raise error


def report(options: ReportConfig) -> None:
    """Write the report of runs and say where it is."""
    from valuefree.cli.commands import report as reporting

    file = reporting.write(options, _study_readers())
    print(f"report: {file}\nfor a repository: {file.with_suffix('.md')}")


def _study_readers() -> dict[str, Callable[[Path], Any]]:
    """What reads the folder of a study into a `Report`, by the kind that its study.json names."""
    from valuefree.study.paper.page import report_of

    return {"paper": report_of}


def _measure(options: EvaluateConfig) -> None:
    from valuefree.evaluation.metrics.table import HEADER, notes_of, table_rows

    if options.dry_run:
        _settings(options)
        print(f"{_what_to_measure(options)}\nmetrics: {', '.join(options.measured())}")
        return
    if options.predictions is not None:
        from valuefree.cli.commands.measure import measure_file as measure
    else:
        from valuefree.cli.commands.measure_model import measure_model as measure
    metrics, folder = measure(options)
    _table("Metrics (95 % intervals over prompts)", table_rows(metrics), HEADER)
    print("\n".join(notes_of(metrics)))
    print(f"written: {folder / 'metrics.json'}, metrics.csv, metrics.md")


def _what_to_measure(options: EvaluateConfig) -> str:
    if options.predictions is not None:
        from valuefree.cli.commands.measure import read_predictions

        return f"{len(read_predictions(options).predictions)} predictions"
    from valuefree.cli.commands.measure_model import read_references

    prompts, references = read_references(options)
    return f"{len(prompts)} prompts, {len(references or ())} references"


def demo(options: DemoConfig) -> None:
    """Run the embedded default and print its table."""
    if options.dry_run:
        _settings(options)
        return
    from valuefree.cli.commands.demo import run

    result = run(options, say=lambda text: print(text, flush=True))
    _show(result.evaluation)
    print(f"\n{result.seconds:.0f} s, {result.peak_memory_gb:.1f} GB at most\nreport: {result.folder / 'report.html'}")


def study_exact(options: StudyExactConfig) -> None:
    """Run the study and say where its page is."""
    from valuefree.study.exact import run

    result = run.study(options, say=lambda text: print(text, flush=True))
    if result is not None:
        print(f"rows: {result.rows}, of which without a result: {result.failed}\npage: {result.page}")


def study_small(options: StudySmallConfig) -> None:
    """Run what the study lacks and say where its page is."""
    from valuefree.study.small import run

    result = run.study(options, say=lambda text: print(text, flush=True))
    if result is not None:
        print(f"rows: {result.rows}, of which failed: {result.failed}\npage: {result.page}")


def study_paper(options: StudyPaperConfig) -> None:
    """Run what the study lacks and say where its report is."""
    from valuefree.study.paper import run

    result = run.study(options, say=lambda text: print(text, flush=True))
    if result is not None:
        print(f"runs: {result.rows}, of which failed: {result.failed}\nreport: {result.report}")
        print(*([f"page: {result.page}"] if result.page else []), *result.findings, sep="\n")


RUN: dict[str, Callable[[Any], None]] = {
    "prepare": prepare,
    "inspect": inspect,
    "score": score,
    "train": train,
    "sample": sample,
    "generate": generate,
    "evaluate": evaluate,
    "judge": judge,
    "report": report,
    "demo": demo,
    "study exact": study_exact,
    "study small": study_small,
    "study paper": study_paper,
}


def _listed(verbs: Sequence[str]) -> str:
    return "\n".join(f"  {verb:<12} {VERBS[verb].about}" for verb in verbs)


def _verb(arguments: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The verb, of one word or two, and what follows; no verb when help on the first of two words was asked for."""
    first, *rest = arguments
    of_two = {verb.split()[1]: verb for verb in RUN if verb.split()[0] == first and " " in verb}
    if not of_two:
        if first not in RUN:
            raise unknown("verb", first, list(dict.fromkeys(verb.split()[0] for verb in RUN)))
        return first, rest
    if not rest or rest[0] in ("-h", "--help"):
        print(f"usage: valuefree {first} {{{','.join(of_two)}}} [options]\n\n{_listed(list(of_two.values()))}")
        return None, []
    if rest[0] not in of_two:
        raise unknown(first, rest[0], list(of_two))
    return of_two[rest[0]], rest[1:]


def run(arguments: Sequence[str]) -> None:
    """Carry out a command line; raises `ValueFreeError` on any fault of the user's."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE.format(verbs=_listed(list(VERBS))))
        return
    if arguments[0] == "--version":
        print(__version__)
        return
    verb, rest = _verb(arguments)
    if verb is not None:
        with _printed_once():
            RUN[verb](parse(verb, rest))


@contextmanager
def _printed_once() -> Iterator[None]:
    """Of the processes that a launcher started, the first alone prints: the others' lines would repeat its lines."""
    if launched()[0] == 0:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def main() -> None:
    """Entry point of ``valuefree``: 0, or one message and 2, 1 or (Ctrl-C) 130; other errors keep theirs."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    number, processes = launched()
    logging.getLogger("valuefree").setLevel(logging.INFO if number == 0 else logging.ERROR)
    name = "valuefree" if processes == 1 else f"valuefree, process {number}"
    try:
        run(sys.argv[1:])
    except ConfigError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        sys.exit(130)
    except ValueFreeError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
