"""Compute the rows of the table from the measurements of the sides. Imports no torch."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.comparisons import Comparison

CRITERION = 0.9  # smallest accepted share of the bound
Measured = Mapping[str, Any]
Sides = Mapping[str, Sequence[Measured]]


def flops_per_response(measured: Measured, name: str = "flops") -> float:
    """Floating-point operations per response."""
    return measured[name] / measured["responses"]


def bound(ours: Measured, theirs: Measured) -> float:
    """Ratio of the operations that the two sides need, which is the speed ratio at equal efficiency."""
    return flops_per_response(theirs) / flops_per_response(ours)


def table_rows(comparison: Comparison, sides: Sides) -> list[dict[str, Any]]:
    """One row for speed and, if the comparison has an expected memory ratio, one for memory."""
    ratios = speed_ratios(sides)
    ours, theirs = sides["ours"][0], sides["theirs"][0]
    limit = bound(ours, theirs)
    if "without_memory" in sides:
        # This comparison trades time for memory: the bound includes the second computation of each chunk.
        again = (ours["flops"] + ours["head_forward_flops"]) / ours["responses"]
        limit = flops_per_response(theirs) / again
    share = median(ratios) / limit
    rows = [
        {
            "comparison": f"{comparison.name}: {comparison.what}",
            "expected": f"≥ {comparison.speed:g}×",
            "measured": spread(ratios),
            "bound": round(limit, 3),
            "share_of_bound": round(share, 3),
            "met": median(ratios) >= comparison.speed,
            "criterion_met": share >= CRITERION,
        }
    ]
    if comparison.memory is not None:
        memory = memory_ratios(sides)
        rows.append(
            {
                "comparison": f"{comparison.name}: "
                + ("memory the head adds" if "without_memory" in sides else "peak memory"),
                "expected": f"≤ {comparison.memory:g}×",
                "measured": spread(memory),
                "bound": None,
                "share_of_bound": None,
                "met": median(memory) <= comparison.memory,
                "criterion_met": None,
            }
        )
    return rows


def speed_ratios(sides: Sides) -> list[float]:
    """Responses per second, ours divided by theirs, one ratio per pair."""
    pairs = zip(sides["ours"], sides["theirs"], strict=True)
    return [ours["responses_per_second"] / theirs["responses_per_second"] for ours, theirs in pairs]


def memory_ratios(sides: Sides) -> list[float]:
    """Peak memory, ours divided by theirs, per pair; the peak of a run without a head, if any, is subtracted first."""
    if "without_memory" not in sides:
        return [a["peak_mb"] / b["peak_mb"] for a, b in zip(sides["ours"], sides["theirs"], strict=True)]
    runs = zip(sides["ours_memory"], sides["theirs_memory"], sides["without_memory"], strict=True)
    peaks = [[measured["peak_mb"] for measured in run] for run in runs]
    return [(ours - without) / (theirs - without) for ours, theirs, without in peaks]


def spread(ratios: Sequence[float]) -> str:
    """Median, with minimum and maximum in parentheses."""
    return f"{median(ratios):.2f}× ({min(ratios):.2f}–{max(ratios):.2f})"


def details(comparison: Comparison, sides: Sides, at_scale: Mapping[str, Measured] | None) -> dict[str, Any]:
    """All raw numbers: ratios of each pair, measurements of each side, and the batch shapes of the first pair."""
    raw: dict[str, Any] = {
        "ratios": speed_ratios(sides),
        "sides": {side: [_without_calls(measured) for measured in runs] for side, runs in sides.items()},
        "calls": {side: runs[0]["calls"] for side, runs in sides.items()},
    }
    if comparison.memory is not None:
        raw["memory_ratios"] = memory_ratios(sides)
    theirs, ours = sides["theirs"][0], sides["ours"][0]
    if "flops_with_head_on_responses" in theirs:
        fewer = flops_per_response(theirs, "flops_with_head_on_responses")
        raw["bound_with_head_on_responses"] = fewer / flops_per_response(ours)
    if at_scale is not None:
        raw["at_scale"] = _at_scale(at_scale["ours"], at_scale["theirs"])
    return raw


def _at_scale(ours: Measured, theirs: Measured) -> dict[str, Any]:
    kept = ("responses", "flops", "padding_share", "head_positions", "flops_with_head_on_responses")
    raw: dict[str, Any] = {
        "bound": bound(ours, theirs),
        "ours": {name: ours[name] for name in kept if name in ours},
        "theirs": {name: theirs[name] for name in kept if name in theirs},
    }
    if "flops_with_head_on_responses" in theirs:
        fewer = flops_per_response(theirs, "flops_with_head_on_responses")
        raw["bound_with_head_on_responses"] = fewer / flops_per_response(ours)
    return raw


def _without_calls(measured: Measured) -> dict[str, Any]:
    return {name: value for name, value in measured.items() if name != "calls"}
