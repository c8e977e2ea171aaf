"""From the folders of ``valuefree train``, ``demo`` and ``evaluate`` to a report: one run, or several compared."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from valuefree.errors import DataError, number_of
from valuefree.report.completions import rewarded, side_by_side, with_occurrence
from valuefree.report.folders import RunFiles
from valuefree.report.gains import (
    NOTE,
    comparison_table,
    evaluation_rows,
    forest_plot,
    gain_plot,
    on_which_prompts,
    paired_differences,
    paired_table,
    paired_verdict,
    pairs_verdict,
    verdict,
)
from valuefree.report.held_out import held_out_section, held_out_verdict
from valuefree.report.model import Completions, Report, Section, Table
from valuefree.report.partitions import partition_section
from valuefree.report.training import training_section

UNEQUAL = 1.5  # ratio of KLs above which the report warns of unequal KL
SMALL = 0.05  # nats; a smaller KL counts as this one


class TrainedRun:
    """A finished run: its evaluation and partition (None if it has none), log, notes and completions."""

    def __init__(self, folder: RunFiles):
        self.folder, self.name, self.manifest = folder, folder.name, folder.manifest
        metrics = folder.read("metrics.json")
        compared = folder.command == "evaluate"
        self.logged: dict[str, Any] = metrics.get("logged") or {}
        self.comparisons: list[dict[str, Any]] = metrics.get("comparisons", [])
        rewarded = compared and not self.logged
        self.evaluation: dict[str, Any] | None = metrics if rewarded else metrics.get("evaluation")
        if rewarded and "gain" not in metrics:
            raise DataError(
                f"{folder.path} contains metrics of texts, without a policy and its reference; its metrics.md is its "
                "report."
            )
        self.partition: dict[str, Any] | None = metrics.get("partition")
        self.held_out_pairs: dict[str, float] | None = metrics.get("held_out_pairs")
        self.notes: list[str] = metrics.get("notes", [])
        self.history = folder.lines("metrics.jsonl")

    @property
    def config(self) -> Mapping[str, Any]:
        """The run's options."""
        return self.manifest["config"]

    @property
    def steps(self) -> int:
        """Optimizer steps of the training; 0 for a run without training."""
        return max((line.get("step", 0) for line in self.history), default=0)

    @property
    def shuffled(self) -> bool:
        """Whether it is a control, trained on permuted rewards."""
        return bool(self.config.get("shuffle_rewards"))

    @property
    def objective(self) -> str:
        """The objective, and whether the rewards were shuffled."""
        return f"{self.trained_by}, rewards shuffled" if self.shuffled else self.trained_by

    @property
    def trained_by(self) -> str:
        """Name of the objective; empty for a run without training."""
        return str(self.manifest.get("objective", {}).get("name", ""))

    @property
    def title(self) -> str:
        """Title of the report: the command, and its model or data."""
        command = f"valuefree {self.folder.command}"
        if self.folder.command == "demo":
            control = " (control: rewards shuffled)" if self.shuffled else ""
            return f"{command}: {self.config['model']}, seed {self.config['seed']}{control}"
        if self.folder.command == "evaluate":
            models = self.config["model"]
            return f"{command}: {models if isinstance(models, str) else ', '.join(models)}"
        return f"{command}: {self.objective} on {self.config['data']}"

    @property
    def reward(self) -> str:
        """Name of the reward in the list of judges."""
        return f"reward ({self.config['reward_function']})" if self.config.get("reward_function") else "reward"

    def completions(self, names: Mapping[str, str]) -> list[Completions]:
        """The completions; names: display names of `policy` and `reference`."""
        return rewarded(self.folder.completions(), names, judge=self.reward)


def training_report(folders: Sequence[RunFiles]) -> Report:
    """The report of one run, or of several compared.

    Raises:
        DataError: a folder whose files are missing, broken, or of another kind of evaluation.
    """
    runs = [TrainedRun(folder) for folder in folders]
    parts = [
        overview_section(runs),
        _held_out(runs),
        training_section({run.name: run.history for run in runs}, {run.name: run.trained_by for run in runs}),
        partition_section(
            {run.name: run.partition for run in runs if run.partition is not None}, several=len(runs) > 1
        ),
        _notes(runs),
    ]
    several = len(runs) > 1
    return Report(
        title=f"valuefree: {len(runs)} runs compared" if several else runs[0].title,
        verdict=verdicts(runs),
        sections=[part for part in parts if part is not None],
        completions=completions_of(runs),
        manifest={run.name: run.folder.provenance for run in runs} if several else runs[0].folder.provenance,
    )


def _held_out(runs: Sequence[TrainedRun]) -> Section | None:
    """What the log says of the policies of all runs."""
    assessments, measured = {}, set()
    for run in runs:
        for name, assessment in run.logged.items():
            one = len(run.logged) == 1
            shown = run.name if one and len(runs) > 1 else name if len(runs) == 1 else f"{run.name} {name}"
            assessments[shown] = assessment
            measured |= {shown} if run.evaluation is not None else set()
    comparisons = [comparison for run in runs for comparison in run.comparisons]
    return held_out_section(assessments, comparisons, measured=measured)


def verdicts(runs: Sequence[TrainedRun]) -> list[str]:
    """One sentence on the comparison of several runs, where they evaluated the same prompts; then one on each run."""
    paired = paired_differences({run.name: run.evaluation for run in runs if run.evaluation is not None})
    sentences = [paired_verdict(paired)] if paired else []
    for run in runs:
        if run.held_out_pairs is not None:
            sentence = pairs_verdict(run.held_out_pairs)
        else:
            said = [verdict(run.evaluation)] if run.evaluation is not None else []
            if len(runs) == 1 or not said:  # of several runs a table shows what the log says
                said += [
                    f"{name}: {held_out_verdict(found)}" if len(run.logged) > 1 else held_out_verdict(found)
                    for name, found in run.logged.items()
                ]
            sentence = " ".join(said) or "The policy was not evaluated: no prompts were held out."
        control = "Control, rewards shuffled. " if run.shuffled else ""
        sentences.append(f"{run.name}: {control}{sentence}" if len(runs) > 1 else control + sentence)
    return sentences


def overview_section(runs: Sequence[TrainedRun]) -> Section | None:
    """The gains, and warnings about their comparison; None without any."""
    several = len(runs) > 1
    warnings = _incomparable(runs)
    evaluations = {run.name: run.evaluation for run in runs if run.evaluation is not None}
    tables = [_pairs_table(runs)] if any(run.held_out_pairs for run in runs) else []
    plots = []
    if len(evaluations) == 1 and not several:
        (evaluation,) = evaluations.values()
        tables.append(Table(on_which_prompts(evaluation), ["measure", "value"], evaluation_rows(evaluation), NOTE))
        plots.append(gain_plot(evaluation))
    elif evaluations:
        tables.append(comparison_table(evaluations, {run.name: _about(run) for run in runs}))
        plots.append(forest_plot(evaluations))
        paired = paired_differences(evaluations)
        tables += [paired_table(paired)] if paired else []
    if not (warnings or tables or plots):
        return None
    return Section("overview", "Overview", items=warnings, tables=tables, plots=plots)


def _notes(runs: Sequence[TrainedRun]) -> Section | None:
    notes = [f"{run.name}: {note}" if len(runs) > 1 else note for run in runs for note in run.notes]
    return Section("notes", "Notes: data, time and memory", items=notes) if notes else None


def _about(run: TrainedRun) -> list[str]:
    return [run.objective, str(run.config.get("seed", ""))]


def _pairs_table(runs: Sequence[TrainedRun]) -> Table:
    rows = [
        [run.name, f"{pairs['pairs']:.0f}", *(f"{pairs[name]:.4g}" for name in ("accuracy", "margin", "loss"))]
        for run in runs
        if (pairs := run.held_out_pairs) is not None
    ]
    return Table("On held-out pairs", ["run", "pairs", "share ordered correctly", "margin, nats", "loss, nats"], rows)


def _incomparable(runs: Sequence[TrainedRun]) -> list[str]:
    """Warnings about differences that make the runs' numbers hard to compare."""
    warnings = []
    for name, key in (("reward functions", "reward_function"), ("data", "data"), ("models", "model")):
        values = {str(run.config.get(key)) for run in runs}
        if len(values) > 1:
            warnings.append(f"The runs have different {name}: {', '.join(sorted(values))}.")
    kls = {run.name: run.evaluation["kl"]["value"] for run in runs if run.evaluation and run.evaluation["kl"]}
    if len(kls) > 1 and max(kls.values()) > UNEQUAL * max(min(kls.values()), SMALL):
        after = {run.name: f" after {number_of(run.steps, 'step')}" if run.steps else "" for run in runs}
        listed = ", ".join(f"{name} {value:.2f}{after[name]}" for name, value in kls.items())
        warnings.append(
            f"The gains are at unequal KL to the reference (in nats per response: {listed}). A run with a larger KL "
            "can gain more for this reason alone. Compare checkpoints or strengths with about the same KL."
        )
    return warnings


def completions_of(runs: Sequence[TrainedRun]) -> list[Completions]:
    """The completions of all runs, side by side where runs share prompts.

    References with equal answers in all runs are one system, `reference`; otherwise each run has its own.
    """
    if len(runs) == 1:
        return runs[0].completions({"policy": "policy", "reference": "reference"})
    policies = {run.name: f"{run.name} policy" for run in runs}
    shared = _one_reference(runs)
    return side_by_side(
        run.completions({"policy": policies[run.name], "reference": "reference" if shared else f"{run.name} reference"})
        for run in runs
    )


def _one_reference(runs: Sequence[TrainedRun]) -> bool:
    """Whether the references give the same answers to shared prompts in all runs."""
    answers: dict[tuple[str, int], set[str]] = defaultdict(set)
    for run in runs:
        for key, row in with_occurrence(run.folder.completions(), lambda row: repr(row["prompt"])):
            answers[key].add(row["responses"]["reference"])
    return all(len(different) == 1 for different in answers.values())
