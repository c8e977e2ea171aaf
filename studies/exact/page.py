"""The page of the exact study. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.exact.summary import edges, summary, verdicts
from studies.exact.tables import DEFAULT, Grid, Rows, control_table, controls_in, regime_table
from studies.harness.controls import REMOVES, UNUSED
from valuefree.objectives.rpo import TARGET_STD


@dataclass(frozen=True)
class Page:
    """What is written, and from what. families, grids: of each method; figures: files by caption."""

    file: Path
    rows: Rows
    regimes: Sequence[str]
    methods: Sequence[str]
    families: Mapping[str, str]
    grids: Mapping[str, Grid]
    record: Mapping[str, Any]
    figures: Mapping[str, Path]


def write_page(page: Page) -> None:
    """Write the Markdown file."""
    rows, regimes = page.rows, page.regimes
    methods = ["π_ref", "π*", *page.methods]
    short = summary(rows, regimes, page.methods, page.families)
    parts = ["# The exact study", "", _origin(page), "", "## In short", "", short, ""]
    parts += [f"What was aimed at for `{DEFAULT}`, difference in J* − J in brackets (below zero: it is better):", ""]
    parts += [verdicts(rows, regimes), "", "## How it was done", "", _protocol(page), ""]
    for caption, file in page.figures.items():
        parts += [f"![{caption}]({page.file.stem}/{file.name})", "", f"*{caption}.*", ""]
    for regime in regimes:
        parts += [f"## {regime[0].upper()}{regime[1:]}", "", regime_table(rows, regime, methods, page.grids), ""]
        controls = control_table(rows, regime, page.methods)
        parts += ["Gains with true and with permuted rewards:", "", controls, ""] if controls else []
    parts += ["## Choices at an edge of the grid", "", edges(rows, regimes, page.methods, page.grids), ""]
    parts += ["## Runs that failed", "", _failures(rows), ""]
    page.file.parent.mkdir(parents=True, exist_ok=True)
    page.file.write_text("\n".join(parts), encoding="utf-8")


def _origin(page: Page) -> str:
    record = page.record
    flags = " ".join(
        f"--{name.replace('_', '-')}" if value is True else f"--{name.replace('_', '-')} {value}"
        for name, value in record["config"].items()
        if value not in (None, False)
    )
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items() if version)
    return (
        f"Written by `python -m studies exact` ({flags}), commit {record['commit']}, started {record['started']}, "
        f"{record['seconds'] / 60:.1f} min on {record['machine']}; {versions}."
    )


def _protocol(page: Page) -> str:
    scale, world = page.record["scale"], page.record["world"]
    tau = page.record["config"]["tau"]
    exact = "exact" if world["reward"] == "additive" else "estimated from samples"
    rates = ", ".join(f"{lr:g}" for lr in scale["learning_rates"])
    steps = ", ".join(map(str, scale["checkpoints"]))
    shipped = ", ".join(f"`{name}`" for name in page.methods if page.grids[name]["knob"] == (None,)) or "none"
    return f"""\
A policy writes {world["length"]} tokens from an alphabet of {world["alphabet"]} ({world["structure"]}) given
{world["features"]} numbers that describe the prompt; the reward is {world["reward"]} over tokens, with a
standard deviation of about 1 within a prompt and {world["between"]:g} between prompts. J = E r − τ·KL(π‖π_ref)
with τ = {tau:g}; J* − J is {exact} on {scale["held_out"]} held-out prompts of each world. Policies are linear
in the features, start at the reference, and are trained by Adam on all rows at once.

Every method but those as shipped has {scale["points"]} points of a knob of its own (τ for RPO, DRO, NCA and weighted
SFT, β for KTO, DPO, IPO and SLiC, factors on the learning rate for SFT) times {len(scale["learning_rates"])} learning
rates ({rates}), measured after {steps} steps. Methods as shipped
({shipped})
take the objective's literal defaults; their learning rate and steps alone are chosen. Knob, learning rate and step are
those with the best mean J over the seeds on validation prompts; the tables are of test prompts. An asterisk marks a
choice at an edge of its grid, and a list of these stands below.
"After all steps" is the same run after {scale["checkpoints"][-1]} steps.

J charges {tau:g} in reward per nat. Methods as shipped aim at a price of their own, `RPO()` at 1/{TARGET_STD:g}
(its τ is the standard deviation of rewards within prompts over {TARGET_STD:g}): they go further than this J pays for,
and it counts against them. What they gain for the distance are the columns E r gain and KL.

Means over {scale["seeds"]} seeds. Each seed has a world of its own (reference, reward, prompts, data); settings are
chosen on validation prompts of the same worlds. Student's 95 % intervals, paired by seed, not corrected for how many
there are; bold where a signed interval excludes zero, to the digits shown. An aim holds (yes) or fails (NO) where its
whole interval does; else it is undecided.

{_controls_text(page)}

Rows with "oracle V*" or "4 reference samples" know what the others do not and are not compared in the summary.
Off-policy data come from a policy tilted by the reward and by a direction that has nothing to do with it, in equal
parts. V̂ of `informed` and `regressed` and V of DRO see the same features as the policy, in which the offsets of the
rewards are linear: better features than a language model's states may be."""


def _controls_text(page: Page) -> str:
    present = {control for regime in page.regimes for control in controls_in(page.rows, regime)}
    if not present:
        return "No method was run on permuted rewards."
    listed = "\n".join(f"- *{name}*: {text}." for name, text in REMOVES.items() if name in present)
    return f"""\
Controls: each method, as tuned, on permuted rewards of the same data.

{listed}

With one response per prompt the exchange between prompts is the only control, and removes all. {UNUSED}."""


def _failures(rows: Rows) -> str:
    failed: dict[tuple[str, str], str] = {}
    for row in rows:
        if row["error"] is not None:
            failed.setdefault((row["regime"], row["method"]), row["error"])
    return "\n".join(f"- {method}, {regime}: {error}" for (regime, method), error in failed.items()) or "None."
