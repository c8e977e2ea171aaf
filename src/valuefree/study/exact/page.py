"""The page of the exact study. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuefree.study.exact.tables import Rows, regime_table, summary, verdicts


@dataclass(frozen=True)
class Page:
    """What is written, and from what; figures are files by caption."""

    file: Path
    rows: Rows
    regimes: Sequence[str]
    methods: Sequence[str]
    record: Mapping[str, Any]
    figures: Mapping[str, Path]


def write_page(page: Page) -> None:
    """Write the Markdown file."""
    rows, regimes = page.rows, page.regimes
    methods = ["π_ref", "π*", *page.methods]
    parts = ["# The exact study", "", _origin(page), "", "## In short", "", summary(rows, regimes, page.methods), ""]
    parts += ["What was aimed at for `RPO()`, difference in J* − J in brackets (below zero: RPO() is better):", ""]
    parts += [verdicts(rows, regimes), "", "## How it was done", "", _protocol(page), ""]
    for caption, file in page.figures.items():
        parts += [f"![{caption}]({page.file.stem}/{file.name})", "", f"*{caption}.*", ""]
    for regime in regimes:
        parts += [f"## {regime[0].upper()}{regime[1:]}", "", regime_table(rows, regime, methods), ""]
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
        f"Written by `valuefree study exact` ({flags}), commit {record['commit']}, started {record['started']}, "
        f"{record['seconds'] / 60:.1f} min on {record['machine']}; {versions}."
    )


def _protocol(page: Page) -> str:
    scale, world = page.record["scale"], page.record["world"]
    tau = page.record["config"]["tau"]
    exact = "exact" if world["reward"] == "additive" else "estimated from samples"
    rates = ", ".join(f"{lr:g}" for lr in scale["learning_rates"])
    steps = ", ".join(map(str, scale["checkpoints"]))
    return f"""\
A policy writes {world["length"]} tokens from an alphabet of {world["alphabet"]} ({world["structure"]}) given
{world["features"]} numbers that describe the prompt; the reward is {world["reward"]} over tokens, with a
standard deviation of about 1 within a prompt and {world["between"]:g} between prompts. J = E r − τ·KL(π‖π_ref)
with τ = {tau:g}; J* − J is {exact} on {scale["held_out"]} held-out prompts of each world. Policies are linear
in the features, start at the reference, and are trained by Adam on all rows at once.

Every method has {scale["points"]} points of a knob of its own (τ for RPO, DRO, NCA and weighted SFT, β for KTO,
DPO, IPO and SLiC, factors on the learning rate for SFT) times {len(scale["learning_rates"])} learning rates
({rates}), measured after {steps} steps. Knob, learning rate and step are those with the best mean J on
validation prompts; the tables are of test prompts. Means over {scale["seeds"]} seeds (another world, other
prompts and data each), Student's 95 % intervals, paired by seed; bold where a signed interval excludes zero.

"Rewards shuffled": the tuned setting on rewards permuted within every prompt; what gain survives did not come
from them. With one response per prompt there is nothing to permute. A method is said not to have used the
rewards when its shuffled gain is above zero with its interval and at least half of the true one. "RPO, oracle
V*" and "4 reference samples" know what the others do not and are not counted in the summary. Off-policy data
come from a policy tilted by the reward and by a direction that has nothing to do with it, in equal parts. V̂ of
`regressed` and V of DRO see the same features as the policy, in which the offsets of the rewards are linear:
better features than a language model's states may be."""


def _failures(rows: Rows) -> str:
    failed: dict[tuple[str, str], str] = {}
    for row in rows:
        if row["error"] is not None:
            failed.setdefault((row["regime"], row["method"]), row["error"])
    return "\n".join(f"- {method}, {regime}: {error}" for (regime, method), error in failed.items()) or "None."
