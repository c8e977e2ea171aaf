"""Tables of the claims, every number from the rows. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from studies.paper.claims.plan import COVERAGE, EQ_19, SENSITIVITY, STABILITY, TUNING
from studies.paper.claims.results import Rows, difference, distinct, mean, pick, shares, shown

SEEDS = "Means over seeds (another world, other prompts and data each), Student's 95 % intervals."


@dataclass(frozen=True)
class ClaimTable:
    """Title, names of the columns, rows of as many cells, and a note in plain sentences."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def claim_tables(rows: Rows) -> list[ClaimTable]:
    """A table per experiment, and per world where there are two; without rows of an experiment it is left out."""
    makers = (_stability, _outcome, _sensitivity, _follows, _tuning)
    tables = [make(rows) for make in makers]
    tables += [_coverage(rows, world) for world in distinct(rows, "coverage", "world")]
    tables += [_errors(rows, world) for world in distinct(rows, "coverage", "world")]
    tables += [_reference(rows, world) for world in distinct(rows, "reference", "world")]
    return [table for table in tables if table.rows]


def _table(title: str, head: Sequence[str], lines: Sequence[Sequence[str]], note: str) -> ClaimTable:
    return ClaimTable(title, tuple(head), tuple(tuple(line) for line in lines), note)


def _stability(rows: Rows) -> ClaimTable:
    columns = ("loss_cv_steps", "loss_cv_orders", "gradient_cv_steps", "gradient_cv_orders", "loss_mean")
    lines = []
    for condition in distinct(rows, "stability", "condition"):
        for method in STABILITY:
            found = pick(rows, "stability", method, condition=condition, chosen=True)
            if found:
                cells = [shown(mean(found, name), digits=2) for name in columns]
                lines.append([condition, method, f"{found[0]['lr']:g}", *cells])
    head = ["data", "method", "lr", "loss, over steps", "loss, over orders", "gradient norm, over steps"]
    head += ["gradient norm, over orders", "mean loss, nats²"]
    note = (
        "Coefficients of variation (standard deviation over mean) in the second half of training on mini-batches of "
        "prompts with Adam at a constant learning rate, the one of the grid with the best final J on validation "
        "prompts; over steps, and over orders of the mini-batches of the same rows. The gradient is the policy's. The "
        "loss of DRO is τ² times that of RPO, which a coefficient does not see; the mean is in RPO's unit. A loss "
        "that hardly falls varies little in proportion, and one that falls to zero (V* on data without noise) varies "
        f"because it falls. {SEEDS}"
    )
    return _table("Stability of loss and gradient", head, lines, note)


def _outcome(rows: Rows) -> ClaimTable:
    lines = []
    for condition in distinct(rows, "stability", "condition"):
        for method in STABILITY:
            found = pick(rows, "stability", method, condition=condition, chosen=True)
            if found:
                numbers = f"{found[0]['policy_parameters']} + {found[0]['value_parameters']}"
                cells = [shown(mean(found)), shown(mean(found, "gap_spread"), digits=4)]
                cells.insert(1, shown(mean(found, "gap_reference")))
                lines.append([condition, method, numbers, *cells, shown(mean(found, "steps_to_reach"), digits=0)])
    head = [
        "data",
        "method",
        "parameters, policy + value",
        "final J* − J",
        "J* − J(π_ref)",
        "spread over orders of the final J",
        "steps to 90 %",
    ]
    note = (
        "The same runs. Steps to 90 %: after which J on validation prompts stays within a tenth of the way from "
        "J(π_ref) to the run's own final J, whether that lies above or below. With V held fixed the gradients of RPO, "
        "DRO and DRO rescaled by 1/τ on the policy have the same direction, in the proportion 1 : τ² : τ."
    )
    return _table("Where the stability runs end", head, lines, note)


def _at(rows: Rows, method: str, kind: str, delta: float, *, held: bool) -> Rows:
    # δ = 0 is the same run for both kinds.
    return pick(rows, "sensitivity", method, kind="constant" if delta == 0 else kind, delta=delta, held=held)


def _cases(rows: Rows) -> list[tuple[str, float]]:
    found = [(row["kind"], row["delta"]) for row in rows if row.get("experiment") == "sensitivity"]
    return list(dict.fromkeys(found))


def _case_name(kind: str, delta: float) -> str:
    return f"{delta:+g}" if kind == "constant" else f"random, ± {delta:g}"


def _sensitivity(rows: Rows) -> ClaimTable:
    lines = []
    for kind, delta in _cases(rows):
        cells = []
        for method in SENSITIVITY:
            held, retuned = (mean(_at(rows, method, kind, delta, held=flag)) for flag in (True, False))
            cells.append(f"{shown(held)}; {'–' if retuned is None else f'{retuned.value:.3f}'}")
        lines.append([_case_name(kind, delta), *cells])
    note = (
        "J* − J with V = V* + δ, in reward units; n = 4, clean, drawn from the reference. Before the semicolon with "
        "the learning rate and number of steps that the method chose at δ = 0, after it with those chosen again at "
        "each δ by J on validation prompts. DRO is here without its 1/τ on the policy's learning rate, so that both "
        "learn at one rate. A random error has its own value for every prompt, with the standard "
        f"deviation given; a V that is linear in the prompt's features cannot unlearn it. {SEEDS}"
    )
    return _table("J* − J when V is off by δ", ["δ", *SENSITIVITY], lines, note)


def _follows(rows: Rows) -> ClaimTable:
    lines = []
    for kind, delta in _cases(rows):
        groups = [_at(rows, method, kind, delta, held=True) for method in SENSITIVITY]
        ratios = [shown(mean(found, "logratio"), signed=True, digits=2) for found in groups]
        learned = shown(mean(groups[-1], "value_bias"), signed=True, digits=2)
        lines.append([_case_name(kind, delta), *ratios, learned])
    note = (
        "Mean log π/π_ref on the training responses, in nats, at the setting that δ = 0 chose; if the policy could "
        "follow, it would move by −δ/τ. Last column: mean V − V* after the last step, where V learns."
    )
    head = ["δ", *SENSITIVITY, "V − V* at the end"]
    return _table("Mean log-ratio on the data when V is off by δ", head, lines, note)


def _tuning(rows: Rows) -> ClaimTable:
    lines = []
    for method in TUNING:
        found = pick(rows, "tuning", method)
        if found:
            cells = [shown(mean(found)), shown(mean(found, "value_bias"), signed=True, digits=2)]
            lines.append([method, *cells, f"{found[0]['lr']:g}, {found[0]['step']}"])
    note = (
        "The policy's learning rate and the number of steps are tuned for each row alike, by J on validation prompts; "
        "what concerns V is not. V − V*: mean over training prompts, in reward units, of a V that learns after the "
        f"last step. All of RPO at level ∞, as eq. 21. {SEEDS}"
    )
    head = ["method", "J* − J", "V̂ − V*", "lr, steps"]
    return _table("What the choice for V is worth", head, lines, note)


def _coverage(rows: Rows, world: str) -> ClaimTable:
    lines = []
    for condition in distinct(rows, "coverage", "condition"):
        for count in distinct(rows, "coverage", "responses"):
            where = {"world": world, "condition": condition, "responses": count}
            groups = [pick(rows, "coverage", method, **where) for method in COVERAGE]
            if groups[0]:
                cells = [shown(mean(found)) for found in groups]
                versus = shown(difference(groups[0], groups[3]), signed=True)
                lines.append([condition, str(count), *cells, versus, shown(mean(groups[0], "gap_reference"))])
    head = ["data", "n", *COVERAGE, f"{COVERAGE[0]} minus {COVERAGE[3]}", "J* − J(π_ref)"]
    note = (
        f"J* − J on test prompts, τ = 1, world {world!r}. Learning rate and steps, early stopping therefore, are tuned "
        "for each cell alike by J on validation prompts. Top quarter missing: no response of the best 25 % of a "
        "prompt's reference samples is in the data. Little variety: drawn from the reference with its logits times 3. "
        f"Rewards that are zero for most responses are not among these. {_corner(rows, world)} {SEEDS}"
    )
    return _table(f"Coverage, {world} responses", head, lines, note)


def _corner(rows: Rows, world: str) -> str:
    """How often eq. 19 chose to move as little as the grid allows: a wider grid would bring it nearer to π_ref yet."""
    here = [row for row in rows if row.get("experiment") == "coverage" and row["world"] == world]
    least = min((row["lr"], row["step"]) for row in here)
    chosen = [(row["lr"], row["step"]) == least for row in here if row["method"] == EQ_19 and row["seed"] == 0]
    return (
        f"In {sum(chosen)} of {len(chosen)} cells {EQ_19} chose learning rate {least[0]:g} and {least[1]} steps, the "
        "least training of any cell, which is close to leaving the reference as it is."
    )


def _errors(rows: Rows, world: str) -> ClaimTable:
    lines = []
    for condition in distinct(rows, "coverage", "condition"):
        for count in distinct(rows, "coverage", "responses"):
            where = {"world": world, "condition": condition, "responses": count}
            groups = [pick(rows, "coverage", method, **where) for method in (COVERAGE[0], COVERAGE[1], COVERAGE[3])]
            if groups[0]:
                cells = [shown(mean(found, "value_bias"), signed=True, digits=2) for found in groups]
                lines.append([condition, str(count), *cells, shown(mean(groups[0], "logratio"), signed=True, digits=2)])
    head = ["data", "n", COVERAGE[0], COVERAGE[1], f"{COVERAGE[3]} (last step)", f"mean log-ratio, {COVERAGE[0]}"]
    note = "Mean over training prompts, in reward units. Without noise that of eq. 19 is τ log π*(observed responses)."
    return _table(f"V̂ − V*, {world} responses", head, lines, note)


def _reference(rows: Rows, world: str) -> ClaimTable:
    lines = []
    for tilt in distinct(rows, "reference", "reference"):
        for method in COVERAGE:
            found = shares(pick(rows, "reference", method, world=world, reference=tilt))
            if found:
                cells = [shown(mean(found, name)) for name in ("gap", "gap_reference", "share", "reward")]
                gained = shown(mean(found, "reward_gained"), signed=True)
                bias = shown(mean(found, "value_bias"), signed=True, digits=2)
                lines.append([f"{tilt:+g}", method, *cells, gained, bias])
    head = ["tilt", "method", "J* − J", "J* − J(π_ref)", "share of the attainable J", "E r", "E r gained", "V̂ − V*"]
    note = (
        f"The reference is π_ref·exp(tilt·r), normalised (above zero: better), and writes the data itself; n = 4, "
        f"world {world!r}. J, V* and π* are with respect to that reference. Share: 1 − (J* − J)/(J* − J(π_ref)); below "
        f"zero the policy is worse than the reference. Tuned for each row alike. {SEEDS}"
    )
    return _table(f"Quality of the reference, {world} responses", head, lines, note)
