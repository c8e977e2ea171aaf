"""The report of one or several folders of runs of any verb."""

from collections.abc import Sequence
from pathlib import Path

from valuefree.errors import DataError
from valuefree.report.completions import side_by_side
from valuefree.report.folders import JUDGED, RunFiles, as_written, open_runs
from valuefree.report.judged import judged_report
from valuefree.report.model import Report
from valuefree.report.runs import training_report


def read_report(folders: Sequence[Path]) -> Report:
    """The report of runs of ``valuefree train``, ``demo``, ``evaluate`` and ``judge``.

    Several training runs are compared, several judges are shown beside each other. With both kinds the training runs
    come first, and answers to the same prompts are shown together.

    Raises:
        DataError: no folder; a folder that is not of such a run, or whose files are missing or broken.
    """
    if not folders:
        raise DataError("no run to report on; name at least one folder.")
    with as_written(folders):
        return _report_of(open_runs(folders))


def _report_of(runs: Sequence[RunFiles]) -> Report:
    judged = [run for run in runs if run.command == JUDGED]
    trained = [run for run in runs if run.command != JUDGED]
    if not judged:
        return training_report(trained)
    if not trained:
        return judged_report(judged)
    parts = [training_report(trained), judged_report(judged)]
    return Report(
        title=f"valuefree: {', '.join(run.name for run in runs)}",
        verdict=[sentence for part in parts for sentence in part.verdict],
        sections=[section for part in parts for section in part.sections],
        completions=side_by_side(part.completions for part in parts),
        manifest={run.name: run.manifest for run in runs},
    )
