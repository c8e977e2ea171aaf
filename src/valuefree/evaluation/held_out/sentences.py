"""The findings of `measure` in plain English."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valuefree.errors import number_of
from valuefree.evaluation.held_out.wording import contains, count, number, one_minus, p_value, percent, with_interval
from valuefree.evaluation.stats.estimate import Estimate

if TYPE_CHECKING:
    from valuefree.evaluation.held_out.learned import Gain, Learned, Thumbs

# Report prompts below which nothing is stated but evidence. The rule of evidence is simulated from 20 prompts on
# (docs/results/coverage_held_out.md). From the half-width there, 5.2 points at 80 prompts, follow 10 points at 20:
# below, not even an accuracy of 60 % differs from chance.
TOO_FEW = 20
NEEDED = {"pairs": 90, "rows": 170}  # report prompts at which an accuracy of 55 % differs from chance; likewise

FAR, TIMID = 2 / 3, 1.5  # implied temperature as a multiple of τ: below, too far; above, room to move
WIDE = 0.1  # gap between training and held-out ranking from which a further move is not advised
_MORE = "Raise the learning rate or the epochs, or scale the policy."
_LESS = "Raise tau, lower the learning rate or the epochs, or scale the policy down."


def sentences(learned: Learned) -> list[str]:
    """The verdict, then length, memorisation, size of the move, and gain."""
    if learned.too_few:
        return [_verdict(learned)]
    found = [_verdict(learned), _prompts_between(learned), _power(learned)]
    if learned.rms > 0:
        found += [_length(learned), _length_warning(learned), _memorisation(learned), _explained(learned)]
        found += [_move(learned)]
    found += [_gain(learned), _gain_details(learned), _disagreement(learned)]
    return [sentence for sentence in found if sentence]


def summary(learned: Learned) -> list[str]:
    """The findings that decide whether to use the policy: verdict, length, memorisation, gain."""
    if learned.too_few:
        return [_verdict(learned)]
    found = [_verdict(learned), _prompts_between(learned)]
    if learned.rms > 0:
        found += [_length_warning(learned), _memorisation(learned)]
    return [sentence for sentence in [*found, _gain(learned), _disagreement(learned)] if sentence]


def next_steps(learned: Learned, *, measured: bool) -> list[str]:
    """What to do about a doubt, by options of ``train``. measured: a reward function has measured the gain."""
    found = []
    if learned.too_few:
        needed = NEEDED[learned.by]
        found.append(f"Try: collect more prompts; at least {needed} prompts have to be held out (--test-prompts).")
    elif learned.rms > 0 and _length_warning(learned):
        found.append("Try: train the same rows with --objective sft, and compare the two by `valuefree report`.")
    if learned.gain is None and not learned.too_few and not measured:
        found.append(
            "Try: give --reward-function to measure the gain, or log several answers of this model to each prompt."
        )
    return found


def pairs_compared(by: str) -> str:
    """What a share is a share of."""
    return "pairs" if by == "pairs" else "pairs of responses to different prompts"


def _verdict(learned: Learned) -> str:
    where = f"On {learned.prompts:,} report prompts"
    pairs = pairs_compared(learned.by)
    p = f"permutation {p_value(learned.permutation_p)}"
    if learned.rms == 0:
        return (
            f"{where} there is no evidence of learning: the policy has the reference's log-probabilities, "
            "which ranks responses by chance (50 %)."
        )
    share = percent(learned.ranking)
    if learned.evidence:
        return f"{where} the policy ranks responses as the feedback does in {share} of {pairs} (50 % is chance; {p})."
    if learned.too_few:
        return (
            f"{number_of(learned.prompts, 'report prompt')} are too few to say whether the policy ranks responses as "
            f"the feedback does: about {NEEDED[learned.by]} are needed, and more for a small effect."
        )
    if learned.ranking.interval is not None and learned.ranking.interval[1] < 0.5:
        return (
            f"{where} there is no evidence of learning: the policy ranks responses against the feedback. It agrees in "
            f"{share} of {pairs}, below chance (50 %; {p})."
        )
    return (
        f"{where} there is no evidence that the policy ranks responses as the feedback does: it agrees in {share} of "
        f"{pairs} (50 % is chance; {p})."
    )


def _prompts_between(learned: Learned) -> str | None:
    if learned.by == "pairs":
        return None
    if learned.adjusted:
        return (
            "Too few prompts have two responses with different rewards, so responses to different prompts are "
            "compared, after what the prompt alone predicts is subtracted."
        )
    return (
        "Too few prompts have two responses with different rewards, so prompts are compared with each other. "
        "Differences between prompts enter this share: it may be above 50 % without any preference among the "
        "responses to a prompt."
    )


def _power(learned: Learned) -> str | None:
    needed = learned.needed.ranking
    if learned.evidence or needed is None:
        return None
    if needed <= learned.prompts:
        return f"An accuracy of 55 % would probably have been seen: about {count(needed)} report prompts are enough."
    return f"About {count(needed)} report prompts would be needed to see 55 %."


def _length(learned: Learned) -> str:
    which, share = "shorter", learned.shorter
    if share.value < 0.5:
        which, share = "longer", one_minus(share)
    return (
        f"Choosing the {which} response agrees in {percent(share)} of the same pairs. Given the length, log-ratio and "
        f"reward correlate with {with_interval(learned.partial_correlation)}."
    )


def _length_warning(learned: Learned) -> str | None:
    if not learned.evidence or contains(learned.shorter, 0.5) or not contains(learned.partial_correlation, 0.0):
        return None
    return (
        "Warning: length alone may explain the ranking, because no correlation is seen among responses of equal length."
    )


def _memorisation(learned: Learned) -> str | None:
    train, held_out = learned.train_ranking, learned.ranking
    if train is None:
        return None
    said = f"On training rows: {percent(train)}"
    gap = train.value - held_out.value
    if train.interval is None or held_out.interval is None:
        return f"{said}."
    if train.interval[0] <= held_out.interval[1]:
        return f"{said}, which does not differ clearly from the report prompts."
    if gap > held_out.value - 0.5:
        return f"{said}: most of what was learned there is memorisation (a gap of {100 * gap:.0f} points)."
    return f"{said}: {100 * gap:.0f} points of it are memorisation."


def _explained(learned: Learned) -> str | None:
    share, where = learned.explained_share, " within prompts" if learned.by == "pairs" else ""
    if share.value < 0:
        return None if learned.evidence else "The correlation of log-ratio and reward is negative."
    return f"The log-ratios explain {percent(share)} of the variance of the rewards{where}."


def _move(learned: Learned) -> str | None:
    """How far the policy has moved, compared with what τ asks for."""
    progress, implied, tau = learned.progress, learned.implied_tau, learned.tau
    if progress is None or tau is None:
        return None
    if learned.evidence and implied is not None and implied < FAR * tau:
        return (
            "The policy moves further than the rewards justify: its log-ratios fit a temperature of "
            f"{number(implied)}, and the objective has {number(tau)}. {_LESS}"
        )
    said = f"The policy has made {percent(progress)} of the move that the settings ask for"
    size = abs(progress.value) / max(abs(learned.explained_share.value), 1e-12) ** 0.5  # τ · rms(ρ̃) / rms(r̃)
    if size < 0.5 and (implied is None or implied > TIMID * tau):
        gap = 0.0 if learned.train_ranking is None else learned.train_ranking.value - learned.ranking.value
        if gap < WIDE:
            return f"{said}. {_MORE}"
        return f"{said}. A longer or faster training would fit the training rows more, which it ranks better already."
    if progress.value >= 0.8:
        return f"{said}."
    return f"{said}. With noisy rewards the optimum is below 100 %."


def _gain(learned: Learned) -> str | None:
    gain = learned.gain
    if gain is None:
        reason = (learned.no_gain or "the rows were not weighted").rstrip(".")
        return f"No gain is estimated from the log: {reason}."
    said = f"Gain in reward, estimated from the log: {with_interval(gain.gain, sign=True)}."
    if learned.thumbs is not None:
        said += f" {_share_up(gain.gain, learned.thumbs)}"
    needed = learned.needed.gain
    if contains(gain.gain, 0.0) and needed is not None and needed > learned.prompts:
        said += f" About {count(needed)} report prompts would be needed to see a gain of .05."
    return said


def _gain_details(learned: Learned) -> str | None:
    gain = learned.gain
    if gain is None:
        return None
    said = (
        f"This gain is at a KL of {number(gain.kl_policy.value)} nats from the reference. Self-normalised: "
        f"{number(gain.self_normalised.value, sign=True)}; mean weight {with_interval(gain.mean_weight)}, effective "
        f"sample size {100 * gain.effective_share:.0f} % of the rows."
    )
    if gain.objective is not None:
        said += f" Gain − tau · KL: {with_interval(gain.objective, sign=True)}."
    return said


def _share_up(gain: Estimate, thumbs: Thumbs) -> str:
    """The gain in the unit of thumbs, from the share in the logged rows; shares end at 0 and 1."""

    def share(change: float) -> float:
        return min(max(thumbs.up + change / thumbs.step, 0.0), 1.0)

    ends = gain.interval and (share(gain.interval[0]), share(gain.interval[1]))
    after = Estimate(share(gain.value), ends, gain.n)
    before = Estimate(thumbs.up, None, gain.n)
    return f"Estimated share of thumbs up: {percent(before)} in the logged rows → {percent(after)} with the policy."


def _disagreement(learned: Learned) -> str | None:
    gain: Gain | None = learned.gain
    if gain is None or gain.gain.interval is None:
        return None
    if learned.evidence and gain.gain.interval[1] < 0:
        return (
            "Warning: the ranking is better than chance and the gain estimated from the log is negative. Treat both as "
            "uncertain."
        )
    return None
