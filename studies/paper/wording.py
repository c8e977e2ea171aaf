"""The words of the report, from ``report.yaml``, filled with numbers: tables, findings and sentences. No torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from studies.paper.verdicts import Finding, Outcome, shown
from valuefree.evaluation.stats import Estimate
from valuefree.report import Table

WORDS = yaml.safe_load(Path(__file__).with_name("report.yaml").read_text(encoding="utf-8"))


class _Shown:
    """An estimate, or None, whose format is that of its value: ``+.2f`` is `shown` signed and with two digits."""

    def __init__(self, found: Estimate | None):
        self.found = found

    def __format__(self, form: str) -> str:
        digits = int(form.strip("+.f") or 3)
        return shown(self.found, signed=form.startswith("+"), digits=digits)


def _fill(text: str, values: dict[str, Any]) -> str:
    return text.format(**{name: _shown(value) for name, value in values.items()})


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return _Shown(value) if value is None or isinstance(value, Estimate) else value


def sentence(key: str, **values: Any) -> str:
    """A sentence of the report."""
    return _fill(WORDS["sentences"][key], values)


def table(key: str, rows: Sequence[Sequence[str]], methods: Sequence[str] = (), **values: Any) -> Table:
    """A table of the report; methods: the columns that stand for ``*methods`` in its head."""
    words = WORDS["tables"][key]
    head = [name for cell in words["head"] for name in (methods if cell == "*methods" else [_fill(cell, values)])]
    return Table(_fill(words["title"], values), head, rows, _fill(words.get("note", ""), values))


def finding(key: str, verdict: Outcome, **values: Any) -> Finding:
    """A verdict on a statement of Table I or section VI, with its numbers."""
    words = WORDS["findings"][key]
    return Finding(_fill(words["claim"], values), verdict, _fill(words["text"], values))
