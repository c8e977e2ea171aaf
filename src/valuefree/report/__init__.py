"""Reports of runs as one HTML file, as Markdown, and as figures. No torch.

`model` defines the content of a report, `read_report` makes one from the folders of runs, `write_report` writes it.
"""

from valuefree.report.model import Completions, Plot, Report, Section, Table, Verdict
from valuefree.report.reading import read_report
from valuefree.report.write import write_report

__all__ = ["Completions", "Plot", "Report", "Section", "Table", "Verdict", "read_report", "write_report"]
