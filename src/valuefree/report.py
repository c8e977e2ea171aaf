"""The report of one run: a table, plots and samples in one HTML file that needs nothing else."""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from valuefree.data.rendering import as_text
from valuefree.evaluation.rewards import Evaluation
from valuefree.partition import PartitionReport

CURVES = ("loss", "logratio", "logratio_reward_correlation")


def verdict(evaluation: Evaluation) -> str:
    """What the interval of the gain supports, in one sentence."""
    gain = evaluation.gain
    if gain.interval is None:
        return f"Gain {gain.value:+.3f} on one prompt: no interval, no conclusion."
    low, high = gain.interval
    said = f"Gain in held-out reward {gain.value:+.3f}, 95 % interval [{low:+.3f}, {high:+.3f}] over {gain.n} prompts: "
    if low > 0:
        return said + "the policy is better than its reference on this reward."
    if high < 0:
        return said + "the policy is worse than its reference on this reward."
    return said + "this run does not show a difference."


def evaluation_table(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Rows of (what, value) of an evaluation."""
    outcomes = evaluation.outcomes
    rows = [
        ("held-out prompts × samples", f"{len(evaluation.gains)} × {evaluation.samples_per_prompt}"),
        ("mean reward, reference", str(evaluation.reference)),
        ("mean reward, policy", str(evaluation.policy)),
        ("gain, paired", str(evaluation.gain)),
        ("win / tie / loss by prompt", f"{outcomes} (sign test p = {outcomes.p_value:.3g})"),
        ("length in tokens, reference → policy", f"{evaluation.reference_length:.1f} → {evaluation.policy_length:.1f}"),
    ]
    if evaluation.kl is not None:
        rows.append(("KL to the reference, nats per response", str(evaluation.kl)))
    return rows


def _image(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def training_plot(history: Sequence[Mapping[str, Any]]) -> str | None:
    """Curves of the training log as an image, or None if nothing was logged."""
    logs = [entry for entry in history if "loss" in entry]
    names = [name for name in CURVES if any(name in entry for entry in logs)]
    if not names:
        return None
    figure = Figure(figsize=(3.6 * len(names), 2.6))
    for index, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), index)
        points = [(entry["step"], entry[name]) for entry in logs if name in entry]
        axes.plot(*zip(*points, strict=True), marker=".", color="#3465a4")
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    return _image(figure)


def gain_plot(evaluation: Evaluation) -> str:
    """Mean reward per prompt, policy against reference, as an image."""
    figure = Figure(figsize=(3.4, 3.2))
    axes = figure.add_subplot(1, 1, 1)
    both = [*evaluation.reference_rewards, *evaluation.policy_rewards]
    ends = [min(both), max(both)]
    axes.plot(ends, ends, color="#999999", linewidth=1)
    axes.scatter(evaluation.reference_rewards, evaluation.policy_rewards, s=18, alpha=0.45, color="#3465a4")
    axes.set_xlabel("reference: mean reward of a prompt", fontsize=8)
    axes.set_ylabel("policy", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    return _image(figure)


def write_report(
    folder: Path,
    *,
    title: str,
    manifest: Mapping[str, Any],
    evaluation: Evaluation | None = None,
    partition: PartitionReport | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write ``report.html`` into `folder`; returns its path.

    Args:
        folder: made if needed. title: heading. manifest: shown whole at the end.
        evaluation, partition: what to tabulate; either may be missing. history: the trainer's log.
        notes: sentences for the reader, such as what was dropped or truncated.
    """
    samples = evaluation.samples if evaluation else []
    text = (
        jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
        .from_string(Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8"))
        .render(
            title=title,
            notes=notes,
            verdict=verdict(evaluation) if evaluation else None,
            table=evaluation_table(evaluation) if evaluation else [],
            samples=[sample | {"prompt": as_text(sample["prompt"])} for sample in samples],
            partition=partition.sentences() if partition else [],
            training=training_plot(history),
            gains=gain_plot(evaluation) if evaluation else None,
            manifest=json.dumps(manifest, indent=2, ensure_ascii=False, default=_plain),
        )
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    return file


def _plain(value: Any) -> Any:
    return "inf" if value == math.inf else str(value)
