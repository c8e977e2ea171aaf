"""Pool runs of the demo over seeds into docs/results/demo.md: each run, the pooled gain, and the shuffle control.

python -m valuefree.demo.results outputs/demo-* [--out docs/results/demo.md] [--readme README.md]
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valuefree.errors import DataError
from valuefree.evaluation.stats import Estimate, clustered_mean

Run = dict[str, Any]
BEGIN, END = "<!-- demo:begin -->", "<!-- demo:end -->"


def pooled(runs: Sequence[Run]) -> Estimate:
    """Mean gain over runs, clustered by prompt: a prompt held out in two runs is one observation."""
    gains, prompts = [], []
    for run in runs:
        evaluation = run["evaluation"]
        pairs = zip(evaluation["policy_rewards"], evaluation["reference_rewards"], strict=True)
        gains += [policy - reference for policy, reference in pairs]
        prompts += evaluation["held_out"]
    return clustered_mean(gains, prompts)


def true_minus_shuffled(true: Sequence[Run], shuffled: Sequence[Run]) -> Estimate:
    """Mean difference of the policies' rewards on the same prompts, run by run of one seed, clustered by prompt."""
    by_seed = {run["seed"]: run for run in shuffled}
    differences, prompts = [], []
    for run in true:
        other = by_seed[run["seed"]]["evaluation"]
        if other["held_out"] != run["evaluation"]["held_out"]:
            raise DataError(f"seed {run['seed']}: the two runs were not evaluated on the same prompts.")
        pairs = zip(run["evaluation"]["policy_rewards"], other["policy_rewards"], strict=True)
        differences += [one - two for one, two in pairs]
        prompts += other["held_out"]
    return clustered_mean(differences, prompts)


def _row(name: str, run: Run) -> str:
    found = run["evaluation"]
    values = [Estimate(**found[key]) for key in ("reference", "policy", "gain")]
    outcomes = found["outcomes"]
    counts = f"{outcomes['wins']} / {outcomes['ties']} / {outcomes['losses']}"
    kl = Estimate(**found["kl"])
    return (
        f"| {name} | {values[0].value:.3f} | {values[1].value:.3f} | {_signed(values[2])} | {counts} "
        f"| {kl.value:.2f} | {found['reference_length']:.1f} → {found['policy_length']:.1f} | {run['seconds']:.0f} s |"
    )


def _signed(estimate: Estimate) -> str:
    if estimate.interval is None:
        return f"{estimate.value:+.3f}"
    return f"{estimate.value:+.3f} [{estimate.interval[0]:+.3f}, {estimate.interval[1]:+.3f}]"


def table(runs: Sequence[Run]) -> str:
    """The runs and what they amount to, as Markdown."""
    true = sorted((run for run in runs if not run["shuffled"]), key=lambda run: run["seed"])
    shuffled = sorted((run for run in runs if run["shuffled"]), key=lambda run: run["seed"])
    lines = [
        "| run | reference | policy | gain, 95 % interval | win / tie / loss | KL | tokens | time |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(f"seed {run['seed']}", run) for run in true),
        *(_row(f"seed {run['seed']}, rewards shuffled", run) for run in shuffled),
        "",
        "| pooled over seeds, clustered by prompt | gain, 95 % interval | prompts |",
        "|---|---|---|",
    ]
    estimates = {f"true rewards ({len(true)} seeds)": pooled(true)} if true else {}
    if shuffled:
        estimates[f"rewards shuffled within prompts ({len(shuffled)} seeds)"] = pooled(shuffled)
        seeds = {run["seed"] for run in shuffled}
        both = [run for run in true if run["seed"] in seeds]
        if both:
            estimates[f"true minus shuffled ({len(both)} seeds)"] = true_minus_shuffled(both, shuffled)
    lines += [f"| {name} | {_signed(estimate)} | {estimate.n} |" for name, estimate in estimates.items()]
    return "\n".join(lines)


def write_between(file: Path, text: str) -> None:
    """Put `text` between the two markers of `file`.

    Raises:
        DataError: a marker is missing.
    """
    content = file.read_text(encoding="utf-8")
    if BEGIN not in content or END not in content:
        raise DataError(f"{file} lacks the markers {BEGIN} and {END}.")
    before, rest = content.split(BEGIN, 1)
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")


def main() -> None:
    """Read the runs' metrics.json and write the page, and the table into the README."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs of the demo")
    parser.add_argument("--out", type=Path, default=Path("docs/results/demo.md"), help="page to write")
    parser.add_argument("--readme", type=Path, help="file with the markers to write the table between")
    arguments = parser.parse_args()
    runs = [json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in arguments.runs]
    first = runs[0]["evaluation"]
    origins = sorted({f"commit {run['commit']}, {run['machine']}" for run in runs})
    text = [
        "# The demo over seeds",
        "",
        "Generated by `make demo-results`. "
        f"{first['prompts']} held-out prompts × {first['samples_per_prompt']} samples a run, the same decoding for "
        "policy and reference; reward between 0 and 1; KL in nats per response, from the policy's own samples.",
        "",
        table(runs),
        "",
        *(f"- {origin}" for origin in origins),
        "",
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(text), encoding="utf-8")
    if arguments.readme:
        write_between(arguments.readme, table(runs))


if __name__ == "__main__":
    main()
