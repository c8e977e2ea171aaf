"""The page of a study as Markdown with its figures in a folder of its name; the origin of its numbers. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from studies.harness.cells import Row
from studies.harness.controls import REMOVES, UNUSED
from studies.harness.results import DAGGER, World, control_table, edges
from valuefree.errors import DataError
from valuefree.report import Plot, Report, Section, Table
from valuefree.report.drawing import colour, laid_out, mark
from valuefree.report.markdown import markdown_of
from valuefree.report.write import png_of, svg_of
from valuefree.runs.files import write_text


def origin(record: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The command, the commits, the time and the machine that the numbers of a page come from."""
    options = " ".join(
        f"--{name.replace('_', '-')}" + ("" if value is True else f" {_option(value)}")
        for name, value in record["config"].items()
        if value not in (None, False)
    )
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items() if version)
    commits = ", ".join(sorted({str(row.commit) for row in rows}))
    return (
        f"Written by python -m {record['command']} {options}, started {record['started']} on {record['machine']}. "
        f"{len(rows)} runs of one thread each took {sum(row.seconds for row in rows) / 60:.1f} min in all. Commit of "
        f"the runs: {commits}; of this page: {record['commit']}. Versions: {versions}."
    )


def _option(value: Any) -> str:
    return " ".join(f'"{item}"' for item in value) if isinstance(value, (list, tuple)) else str(value)


def write_between(file: Path, name: str, text: str) -> None:
    """Put `text` between the markers of `name` in a Markdown file, ``<!-- name:begin -->`` and ``<!-- name:end -->``.

    Raises:
        DataError: a marker is missing.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    content = file.read_text(encoding="utf-8")
    if begin not in content or end not in content:
        raise DataError(f"{file} lacks the markers {begin} and {end}.")
    before, rest = content.split(begin, 1)
    write_text(file, f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")


def write_page(
    page: Path, title: str, sections: Sequence[Section], record: Mapping[str, Any], rows: Sequence[Row]
) -> None:
    """Write a page that opens with the origin of the numbers and ends with the runs that failed, and its figures."""
    every = [Section("origin", "Origin", [origin(record, rows)]), *sections, failed_section(rows)]
    report, folder = Report(title, [], every, [], record), page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for plot in report.plots:
        with laid_out(plot.figure):
            (folder / f"{plot.name}.svg").write_bytes(svg_of(plot.figure, plot.name))
            (folder / f"{plot.name}.png").write_bytes(png_of(plot.figure))
    write_markdown(page, report)


def failed_section(rows: Sequence[Row]) -> Section:
    """The runs that failed, with their errors."""
    failed = [f"{row.cell.name}: {row.error}" for row in rows if row.error is not None]
    return Section("failed", f"Runs that failed: {len(failed)} of {len(rows)}", items=failed or ["None."])


def write_markdown(page: Path, report: Report) -> None:
    """Write the Markdown file, whose figures are in a folder of its name beside it."""
    write_text(page, markdown_of(report, figures=page.stem).encode("utf-8", errors="replace").decode("utf-8"))


def protocol(module: Path, **values: Any) -> list[str]:
    """The paragraphs of protocol.txt beside a module, with its fields filled in."""
    text = module.with_name("protocol.txt").read_text(encoding="utf-8").format(dagger=DAGGER, **values)
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def world_section(world: World, key: str, tables: Sequence[Table], plots: Sequence[Plot] = ()) -> Section:
    """The chapter of one world: its figures, its tables, and its controls where there are any."""
    controls = [control_table(world)] if world.controls else []
    return Section(key, world.title[0].upper() + world.title[1:], tables=[*tables, *controls], plots=plots)


def edges_section(worlds: Sequence[World]) -> Section:
    """The choices that lie at an edge of what was tried."""
    return Section("edges", "Choices at an edge of what was tried", items=edges(worlds))


def controls_section(worlds: Sequence[World], how: str) -> Section:
    """What the permutations that were run remove, and when a method counts as not using the rewards."""
    present = [control for control in REMOVES if any(control in world.controls for world in worlds)]
    items = [f"{control}: {REMOVES[control]}." for control in present]
    return Section("controls", "Controls", [how, f"{UNUSED}."] if items else ["None were run."], items)


def draw_line(panel: Axes, number: int, x: Sequence[float], y: Sequence[float], name: str, **more: Any) -> None:
    """Draw the line, or the points, of the n-th method; no two of 56 methods look alike."""
    style: dict[str, Any] = {"color": colour(number), "marker": mark(number), "markersize": 5, "linewidth": 1.3}
    panel.plot(x, y, label=name, **style | more)
