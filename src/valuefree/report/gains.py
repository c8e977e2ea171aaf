"""The gain of policies over their references on the same prompts, in sentences, tables and figures.

An evaluation is a mapping here, as `valuefree.evaluation.Evaluation.to_dict` makes it and metrics.json keeps it.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from valuefree.errors import number_of
from valuefree.evaluation.stats import Estimate, bootstrap_mean, p_shown
from valuefree.report.drawing import GREY, colour, label, panels
from valuefree.report.model import Plot, Table

Evaluation = Mapping[str, Any]
FEW_PAIRS = 10  # with at most so many pairs the 95 % interval of a share spans at least 28 percentage points
INTERVALS = (
    "Intervals are 95 % bootstrap intervals over prompts. With few prompts they are Student's t intervals, which can "
    "exceed the bounds of the reward."
)
NOTE = f"{INTERVALS} The gain is a paired difference on the same prompts. The KL is an estimate and can be negative."


def estimate_of(stored: Mapping[str, Any]) -> Estimate:
    """The `Estimate` that `to_dict` made a mapping of."""
    interval = stored["interval"]
    bounds = None if interval is None else (float(interval[0]), float(interval[1]))  # JSON stores infinity as text
    return Estimate(stored["value"], bounds, stored["n"])


def signed(estimate: Estimate) -> str:
    """A difference with its sign and interval."""
    if estimate.interval is None:
        return f"{estimate.value:+.3f} (n = {estimate.n})"
    return f"{estimate.value:+.3f} [{estimate.interval[0]:+.3f}, {estimate.interval[1]:+.3f}]"


def never_seen(evaluation: Evaluation) -> bool:
    """Whether it is known that no prompt was a training or validation prompt of the policy."""
    seen = evaluation.get("seen")
    return seen is not None and not seen["trained"] and not seen["validation"]


def on_which_prompts(evaluation: Evaluation) -> str:
    """Heading that says whether the policy was trained on the prompts."""
    seen = evaluation.get("seen")
    if seen is None:
        return "On these prompts"
    if never_seen(evaluation):
        return "On prompts it never saw"
    validation = f" and {seen['validation']} were validation prompts" if seen["validation"] else ""
    return f"On {seen['prompts']} prompts, of which {seen['trained']} were trained on{validation}"


def verdict(evaluation: Evaluation) -> str:
    """One sentence on the gain: better, worse, or no difference shown."""
    gain = estimate_of(evaluation["gain"])
    tested = f"won / tied / lost {_tested(evaluation)}"
    if gain.interval is None and gain.n == 1:
        return f"Measured gain {gain.value:+.3f} on one prompt: no interval, no conclusion."
    if gain.interval is None:
        each = f"Measured gain {gain.value:+.3f} on each of {gain.n} prompts"
        return f"{each}, {tested}: all gains are equal, so no interval."
    low, high = gain.interval
    interval = f"95 % interval [{low:+.3f}, {high:+.3f}] over {gain.n} prompts"
    reward = "held-out reward" if never_seen(evaluation) else "reward"
    sentence = f"Measured gain in {reward} (sampled responses) {gain.value:+.3f}, {interval}, {tested}: "
    if low > 0:
        return sentence + "the policy is better than its reference on this reward."
    if high < 0:
        return sentence + "the policy is worse than its reference on this reward."
    return sentence + "this run does not show a difference."


def pairs_verdict(held_out: Mapping[str, float]) -> str:
    """One sentence on how many held-out pairs a reward model orders correctly."""
    pairs = int(held_out["pairs"])
    sentence = f"Orders {held_out['accuracy']:.1%} of {number_of(pairs, 'held-out pair')} correctly."
    few = " With so few pairs this share is uncertain by tens of percentage points."
    return sentence + (few if pairs <= FEW_PAIRS else "")


def _outcomes(evaluation: Evaluation) -> str:
    counts = evaluation["outcomes"]
    return f"{counts['wins']} / {counts['ties']} / {counts['losses']}"


def _tested(evaluation: Evaluation) -> str:
    return f"{_outcomes(evaluation)} (sign test {p_shown(evaluation['outcomes']['p_value'])})"


def _interval(estimate: Estimate) -> str:
    return "" if estimate.interval is None else f" [{estimate.interval[0]:.2f}, {estimate.interval[1]:.2f}]"


def _lengths(evaluation: Evaluation) -> str:
    return f"{evaluation['reference_length']:.1f} → {evaluation['policy_length']:.1f}"


def evaluation_rows(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Rows of (measure, value) of one evaluation."""
    rows = [
        ("prompts × samples", f"{evaluation['prompts']} × {evaluation['samples_per_prompt']}"),
        ("mean reward, reference", str(estimate_of(evaluation["reference"]))),
        ("mean reward, policy", str(estimate_of(evaluation["policy"]))),
        ("measured gain, paired", signed(estimate_of(evaluation["gain"]))),
        ("win / tie / loss by prompt", _tested(evaluation)),
        ("length in tokens, reference → policy", _lengths(evaluation)),
    ]
    if evaluation["kl"] is not None:
        rows.append(
            ("distance from the reference (KL divergence), nats per response", str(estimate_of(evaluation["kl"])))
        )
    return rows


def comparison_table(evaluations: Mapping[str, Evaluation], about: Mapping[str, Sequence[str]]) -> Table:
    """A row per run. about: objective and seed of each run.

    Rewards and tokens are shown as reference → policy. Seeds and sizes have a column only if they differ.
    """
    rows = []
    sizes = {
        run: f"{evaluation['prompts']} × {evaluation['samples_per_prompt']}" for run, evaluation in evaluations.items()
    }
    seeds, several_sizes = len({about[run][1] for run in evaluations}) > 1, len(set(sizes.values())) > 1
    for run, evaluation in evaluations.items():
        kl = evaluation["kl"]
        rows.append(
            [
                run,
                about[run][0],
                signed(estimate_of(evaluation["gain"])),
                f"{kl['value']:.2f}{_interval(estimate_of(kl))}" if kl is not None else "not measured",
                f"{_outcomes(evaluation)} ({p_shown(evaluation['outcomes']['p_value'])})",
                f"{evaluation['reference']['value']:.3f} → {evaluation['policy']['value']:.3f}",
                _lengths(evaluation),
                *(about[run][1:] if seeds else []),
                *([sizes[run]] if several_sizes else []),
            ]
        )
    head = ["run", "objective", "measured gain [95 %]", "KL, nats", "win / tie / loss (sign test)", "reward"]
    head += ["tokens", *(["seed"] if seeds else []), *(["prompts × samples"] if several_sizes else [])]
    note = NOTE if several_sizes else f"{next(iter(sizes.values()))} prompts × samples. {NOTE}"
    if all(never_seen(evaluation) for evaluation in evaluations.values()):
        return Table("On prompts they never saw", head, rows, note)
    notes = [
        f"{run}: {seen['trained']} of {seen['prompts']} prompts were trained on"
        + (f", and {seen['validation']} were validation prompts." if seen["validation"] else ".")
        for run, evaluation in evaluations.items()
        if (seen := evaluation.get("seen")) is not None and not never_seen(evaluation)
    ]
    return Table("On these prompts", head, rows, " ".join([*notes, note]))


def paired_differences(evaluations: Mapping[str, Evaluation]) -> dict[tuple[str, str], Estimate]:
    """For each two runs (later, earlier): the later policy's reward minus the earlier's, on the prompts of both."""
    rewards = {run: _by_prompt(evaluation) for run, evaluation in evaluations.items()}
    found = {}
    for earlier, later in combinations(rewards, 2):
        shared = [prompt for prompt in rewards[earlier] if prompt in rewards[later]]
        if shared:
            found[later, earlier] = bootstrap_mean([rewards[later][p] - rewards[earlier][p] for p in shared])
    return found


def paired_table(differences: Mapping[tuple[str, str], Estimate]) -> Table:
    """`paired_differences` as a table."""
    rows = [[f"{later} minus {earlier}", signed(d), str(d.n)] for (later, earlier), d in differences.items()]
    note = f"Difference of the policies' mean rewards on each prompt that both runs evaluated. {INTERVALS}"
    return Table("Policy against policy", ["runs", "difference [95 %]", "prompts"], rows, note)


def paired_verdict(differences: Mapping[tuple[str, str], Estimate]) -> str:
    """One sentence on which policies differ in reward."""
    better = []
    for (later, earlier), difference in differences.items():
        if difference.interval is not None and difference.interval[0] > 0:
            better.append(f"{later} is better than {earlier}, {signed(difference)}")
        elif difference.interval is not None and difference.interval[1] < 0:
            better.append(f"{later} is worse than {earlier}, {signed(difference)}")
    pairs = number_of(len(differences), "pair")
    if not better:
        return f"Compared on the same prompts, no policy is shown to have a higher reward than another ({pairs})."
    rest = f"; the others of {pairs} show no difference" if len(better) < len(differences) else ""
    return f"Compared on the same prompts: {'; '.join(better)}{rest}."


def _by_prompt(evaluation: Evaluation) -> dict[str, float]:
    return dict(zip(map(repr, evaluation["held_out"]), evaluation["policy_rewards"], strict=True))


def gain_plot(evaluation: Evaluation) -> Plot:
    """Mean reward per prompt, policy against reference, and the sorted gains."""
    reference, policy = (np.asarray(evaluation[f"{who}_rewards"]) for who in ("reference", "policy"))
    figure, (together, apart) = panels(2, width=3.8, height=3.2)
    ends = [min(reference.min(), policy.min()), max(reference.max(), policy.max())]
    together.plot(ends, ends, color=GREY, linewidth=1)
    together.scatter(reference, policy, s=20, alpha=0.45, color=colour(0), linewidths=0)
    label(together, title="one point per prompt", x="reference: mean reward of a prompt", y="policy")
    gains = np.sort(policy - reference)
    apart.axhline(0, color=GREY, linewidth=1)
    apart.bar(np.arange(len(gains)), gains, width=1.0, color=[colour(0) if gain > 0 else colour(1) for gain in gains])
    mean = float(gains.mean())
    apart.axhline(mean, color="black", linewidth=1, linestyle="--")
    apart.annotate(f"mean {mean:+.3f}", (0, mean), textcoords="offset points", xytext=(2, 3), fontsize=8)
    label(apart, title="gain by prompt, sorted", x="prompts", y="policy minus reference")
    caption = "Points: mean reward of each prompt, policy against reference; above the line the policy is better. "
    return Plot("gains", caption + "Bars: the gain of each prompt, sorted.", figure)


def forest_plot(evaluations: Mapping[str, Evaluation]) -> Plot:
    """The gain of each run with its interval; also against the KL if all runs have one."""
    measured = all(evaluation["kl"] is not None for evaluation in evaluations.values())
    height = max(0.9 + 0.36 * len(evaluations), 2.6 if measured else 0)
    figure, (panel, *more) = panels(2 if measured else 1, width=5.0, height=height)
    for against in more:
        _gain_against_kl(against, evaluations)
    panel.axvline(0, color=GREY, linewidth=1)
    for place, evaluation in enumerate(evaluations.values()):
        gain = estimate_of(evaluation["gain"])
        if gain.interval is not None:
            panel.plot(gain.interval, [place, place], color=colour(place), linewidth=2)
        panel.plot([gain.value], [place], marker="o", color=colour(place))
    panel.set_yticks(range(len(evaluations)), list(evaluations), fontsize=8)
    panel.set_ylim(len(evaluations) - 0.5, -0.5)
    label(panel, x="measured gain over the run's own reference, 95 % interval")
    caption = "Measured gain of each run over its reference on its prompts, with 95 % intervals."
    return Plot(
        "gains", f"{caption} Second panel: the gain against the KL to the reference." if measured else caption, figure
    )


def _gain_against_kl(panel: Axes, evaluations: Mapping[str, Evaluation]) -> None:
    panel.axhline(0, color=GREY, linewidth=1)
    for place, (run, evaluation) in enumerate(evaluations.items()):
        gain, kl = estimate_of(evaluation["gain"]), evaluation["kl"]["value"]
        if gain.interval is not None:
            panel.plot([kl, kl], gain.interval, color=colour(place), linewidth=2)
        panel.plot([kl], [gain.value], marker="o", color=colour(place))
        panel.annotate(run, (kl, gain.value), textcoords="offset points", xytext=(5, 3), fontsize=8)
    label(panel, x="KL to the reference, nats per response", y="gain in reward")
