"""Tables that the paper lacks: rewards and their control, distances, more pairs, what judges are worth. No torch."""

from collections.abc import Sequence

import numpy as np

from studies.paper.judging import OURS
from studies.paper.methods import REFERENCE, label
from studies.paper.results import REWARD_JUDGE, Judged, Results, spread
from studies.paper.scales import Scale
from studies.paper.tables import NONE, RATES, rate_cell, shown, signed
from valuefree.evaluation.stats import t_mean
from valuefree.report import Table


def rewards_table(results: Results, scale: Scale) -> Table:
    """Every method: reward, gain over the reference, and the shuffle control."""
    rows = []
    for method in results.methods:
        for tau in results.taus if method.taus else [None]:
            if not results.runs(scale.name, method.name, tau):
                continue
            used = results.used_rewards(scale.name, method.name, tau)
            sure = used is not None and used.interval is not None and used.interval[0] > 0
            rows.append(
                [
                    label(method.name, tau),
                    shown(results.reward(scale.name, method.name, tau)),
                    signed(results.gain(scale.name, method.name, tau)) if method.make else NONE,
                    signed(results.gain(scale.name, method.name, tau, shuffled=True)),
                    NONE if used is None else f"{'yes' if sure else 'not shown'}: {signed(used)}",
                ]
            )
    return Table(
        f"Every method: reward, {scale.title}",
        ["method", "reward", "gain over the reference", "gain, rewards shuffled", "used the rewards"],
        rows,
        f"Reward: mean ± standard deviation over runs; {results.study['seeds']} runs × {scale.test_prompts} prompts. "
        "Intervals of 95 %, bootstrap over prompts with all their runs; gains paired on prompt and seed. Used the "
        "rewards: the gain less that on rewards permuted within prompts; yes where its interval lies above zero. The "
        "control is run at τ = 1.",
    )


def distance_table(results: Results, scale: Scale) -> Table:
    """Every method: how far it went, how long its answers are, and what its partition said before training."""
    rows = []
    for method in results.methods:
        for tau in results.taus if method.taus else [None]:
            runs = [run for run in results.runs(scale.name, method.name, tau) if run.kl is not None]
            if not runs:
                continue
            kls = [run.kl["value"] for run in runs if run.kl]
            partitions = [run.partition for run in runs if run.partition]
            rows.append(
                [
                    label(method.name, tau),
                    shown(spread(kls, n=scale.kl_prompts, interval=t_mean(kls).interval), 2),
                    _mean_of([run.length for run in runs if run.length is not None], 1),
                    _mean_of([100 * found["level_share_unweighted"] for found in partitions], 0),
                    _mean_of([found["median_log_coverage"] for found in partitions], 1),
                ]
            )
    return Table(
        f"Every method: distance and partition, {scale.title}",
        ["method", "KL", "length", "level, %", "log coverage"],
        rows,
        f"KL to the reference in nats per answer, of {scale.kl_prompts} exact samples a run: mean ± standard deviation "
        "over runs [Student's 95 % interval]. Length in tokens. Level: share of the initial loss at κ = ∞ that pushes "
        "all answers of a prompt alike. Log coverage: of the reference's probability by a prompt's answers, nats "
        "(token means where the method takes these), median.",
    )


def _mean_of(values: Sequence[float], digits: int) -> str:
    return f"{np.mean(values):.{digits}f}" if len(values) else NONE


def beyond_table(results: Results, scale: Scale) -> Table:
    """Win rates that the paper does not have: against SFT on everything, and of this package's default."""
    pairs = [("RPO", name) for name in ("SFT-all", "SFT-best", "DRO-V")]
    pairs += [(OURS, name) for name in (REFERENCE, "KTO", "DRO", "RPO", "DRO-V", "SFT-all", "SFT-best")]
    rows = []
    for judge in results.judges:
        for first, second in pairs:
            found = results.judged(judge, scale.name, first, second)
            if found is not None:
                rows.append([judge, first, second, rate_cell(found), _controlled(found)])
    return Table(
        f"More win rates, {scale.title}",
        ["judge", "win rate of", "over", "win rate", "at equal length"],
        rows,
        RATES + "At equal length: of a logistic regression on the standardised difference in length.",
    )


def _controlled(found: Judged) -> str:
    values = [
        100 * result["length_controlled"]["rate"]["value"]
        for result in found.results
        if result.get("length_controlled") and result["length_controlled"].get("rate")
    ]
    return f"{np.mean(values):.1f}" if values else NONE


def judges_table(results: Results, scale: Scale) -> Table:
    """How far each judge can be believed: coverage, flips, the pull of the first place, agreement with the reward."""
    rows = []
    for judge in results.judges:
        if judge == REWARD_JUDGE:
            continue
        found = [
            one
            for first, second, tau in results.paper_pairs
            if (one := results.judged(judge, scale.name, first, second, tau, tau)) is not None
        ]
        if not found:
            continue
        sizes = [sum(len(run) for run in one.verdicts) for one in found]
        covered = sum(one.coverage * size for one, size in zip(found, sizes, strict=True)) / sum(sizes)
        rows.append(
            [
                judge,
                str(sum(sizes)),
                f"{covered:.0%}",
                _percent([one.mean("first_position_rate") for one in found]),
                _percent([one.mean("flip_rate") for one in found]),
                agreement_with_reward(results, scale, judge),
            ]
        )
    return Table(
        f"The judges, {scale.title}",
        ["judge", "pairs", "judged in both orders", "picks the first place", "winner changes with the order", "agrees"],
        rows,
        "Means over the pairs of methods. Agrees: share of the judged pairs of answers with a winner whose winner has "
        "the larger reward, of those with unlike rewards.",
    )


def _percent(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.0%}" if known else NONE


def agreement_with_reward(results: Results, scale: Scale, judge: str) -> str:
    """Share of a judge's decided pairs whose winner has the larger reward."""
    same = total = 0
    for first, second, tau in results.paper_pairs:
        theirs = results.judged(judge, scale.name, first, second, tau, tau)
        truth = results.judged(REWARD_JUDGE, scale.name, first, second, tau, tau)
        if theirs is None or truth is None:
            continue
        for seed, mine in zip(theirs.seeds, theirs.verdicts, strict=True):
            for verdict, reward in zip(mine, truth.of_seed(seed), strict=False):  # a judge may see fewer prompts
                if verdict["score"] in (None, 0.5) or reward["score"] in (None, 0.5):
                    continue
                total += 1
                same += (verdict["score"] > 0.5) == (reward["score"] > 0.5)
    return f"{same} of {total}" if total else NONE
