"""``valuefree report``: folders of runs → HTML, Markdown and figures."""

from importlib.metadata import entry_points
from pathlib import Path

from valuefree.cli.options.report import ReportConfig
from valuefree.errors import ConfigError, DataError
from valuefree.report import Report, read_report, write_report
from valuefree.report.folders import as_written
from valuefree.runs.files import read_json

STUDY = "study.json"
READERS = "valuefree.study_reports"  # group of entry points: a kind of study → a function from its folder to a `Report`


def command(options: ReportConfig) -> None:
    """Write the report of runs and say where it is."""
    file = write(options)
    print(f"report: {file}\nfor a repository: {file.with_suffix('.md')}")


def write(options: ReportConfig) -> Path:
    """Write the report of the runs, or of one study; the HTML file.

    Raises:
        ConfigError: a study beside other runs. DataError: a folder that no run made, or whose files are broken.
    """
    folders = [Path(run) for run in options.runs]
    found = [folder for folder in folders if (folder / STUDY).exists()]
    if found and len(folders) > 1:
        raise ConfigError(f"{found[0]} is a study, which has a report of its own; name it alone.")
    report = _study(found[0]) if found else read_report(folders)
    with as_written(folders):
        return write_report(report, Path(options.out) if options.out is not None else folders[0])


def _study(folder: Path) -> Report:
    """The report of a study, by the reader that its package has registered for its kind."""
    file = folder / STUDY
    try:
        kind = read_json(file)["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: {error!r}; expected an object with the kind of the study. Run it again.") from error
    readers = {entry.name: entry for entry in entry_points(group=READERS)}
    if kind not in readers:
        known = ", ".join(readers) or "none"
        raise DataError(f"{file} is of kind {kind!r}; kinds with a report: {known}.")
    try:
        read = readers[kind].load()
    except ModuleNotFoundError as error:
        raise DataError(
            f"{file} is of kind {kind!r}, and {error.name} cannot be imported: studies are not part of the installed "
            "package. Run the command in a clone of the repository."
        ) from error
    return read(folder)
