"""``valuefree report``: folders of runs → HTML, Markdown and figures."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from valuefree.cli.options import ReportConfig
from valuefree.errors import ConfigError, DataError
from valuefree.report import Report, read_report, write_report

STUDY = "study.json"
StudyReaders = Mapping[str, Callable[[Path], Report]]


def write(options: ReportConfig, studies: StudyReaders) -> Path:
    """Write the report of the runs, or of one study; the HTML file.

    Args:
        studies: what reads the folder of a study, by the kind that its study.json names. The command line hands them
            in, which alone may import the studies.

    Raises:
        ConfigError: a study beside other runs. DataError: a folder that no run made, or whose files are broken.
    """
    folders = [Path(run) for run in options.runs]
    found = [folder for folder in folders if (folder / STUDY).exists()]
    if found and len(folders) > 1:
        raise ConfigError(f"{found[0]} is a study, which has a report of its own; name it alone.")
    report = _study(found[0], studies) if found else read_report(folders)
    return write_report(report, Path(options.out) if options.out is not None else folders[0])


def _study(folder: Path, studies: StudyReaders) -> Report:
    file = folder / STUDY
    try:
        kind = json.loads(file.read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: {error!r}; expected an object with the kind of the study. Run it again.") from error
    if kind not in studies:
        known = ", ".join(studies) or "none"
        raise DataError(f"{file} is of kind {kind!r}; kinds with a report: {known}.")
    return studies[kind](folder)
