"""A report as one HTML file: style, script, figures and completions inlined, fetching nothing.

Model text is stored in the page as JSON in a data block, and the script inserts it as text nodes only; the template
escapes all other text. A content security policy allows only the page's own script and style, by their hashes, and
inlined images, so injected markup could neither run nor load anything.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files

import jinja2

from valuefree.report.json_text import embedded, indented
from valuefree.report.model import Completions, Report

BROAD = 6.5  # inches; a wider figure scrolls on a phone, because it would be too small to read
Drawn = Mapping[str, tuple[str, bytes]]  # kind of image and its content, by plot


def html_of(report: Report, drawn: Drawn, narrow: Drawn) -> str:
    """The page. drawn: the image of each plot. narrow: of plots with another layout on a phone."""
    folder = files("valuefree.report")
    style = _asset(folder, "report.css")
    script = "\n".join(_asset(folder, name) for name in ("words.js", "browser.js")) if report.completions else ""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: _asset(folder, name)),
    )
    return environment.get_template("report.html.j2").render(
        report=report,
        style=style,
        script=script,
        policy=_policy(style, script),
        images={name: _image(*image) for name, image in drawn.items()},
        narrow={name: _image(*image) for name, image in narrow.items()},
        completions=embedded(browsed(report.completions)),
        broad=BROAD,
        manifest=indented(report.manifest),
    )


def browsed(completions: Sequence[Completions]) -> dict[str, object]:
    """Data of the completions browser: names of systems and judges once, and entries that refer to them by number."""
    verdicts = [verdict for entry in completions for verdict in entry.verdicts]
    systems = [name for entry in completions for name in (*entry.responses, *entry.rewards)]
    number = _numbers([*systems, *(name for v in verdicts for name in (v.first, v.second))])
    judge = _numbers([verdict.judge for verdict in verdicts])
    entries = [
        {
            "prompt": entry.prompt,
            "answers": [[number[name], text] for name, text in entry.responses.items()],
            "rewards": [[number[name], value] for name, value in entry.rewards.items()],
            "verdicts": [[judge[v.judge], number[v.first], number[v.second], v.outcome] for v in entry.verdicts],
            "reference": entry.reference,
        }
        for entry in completions
    ]
    return {"systems": list(number), "judges": list(judge), "entries": entries}


def _numbers(names: Iterable[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(dict.fromkeys(names))}


def _asset(folder, name: str) -> str:
    return folder.joinpath(name).read_text(encoding="utf-8").strip()


def _policy(style: str, script: str) -> str:
    allowed = {"default-src": "'none'", "style-src": _hash(style), "img-src": "data:"}
    allowed["script-src"] = _hash(script) if script else "'none'"
    allowed |= {"base-uri": "'none'", "form-action": "'none'"}
    return "; ".join(f"{name} {value}" for name, value in allowed.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _image(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
