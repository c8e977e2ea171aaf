"""Reports: what runs showed, as one HTML file, as Markdown, and as figures. No torch.

`model` is what a report holds, `write_report` writes it, and `read_report` makes one from the folders of runs.
"""

from valuefree.report.model import Completions, Plot, Report, Section, Table, Verdict
from valuefree.report.reading import read_report
from valuefree.report.write import write_report

__all__ = ["Completions", "Plot", "Report", "Section", "Table", "Verdict", "read_report", "write_report"]
