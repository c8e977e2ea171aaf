"""Reports: what a run showed, as one HTML file, as Markdown, and as figures. No torch.

`model` is what a report holds; `write` writes it; `runs` and `judged` read the folders of ``valuefree train``, ``demo``,
``evaluate`` and ``judge`` into one.
"""

from valuefree.report.model import Completions, Plot, Report, Section, Table, Verdict
from valuefree.report.write import write_report

__all__ = ["Completions", "Plot", "Report", "Section", "Table", "Verdict", "write_report"]
