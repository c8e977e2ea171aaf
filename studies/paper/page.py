"""The report of a study of the paper, from the files of its folder."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from studies.paper import extra_tables, figures, tables
from studies.paper.browsing import completions
from studies.paper.claims import claim_figures, claim_findings, claim_tables
from studies.paper.findings import Found, findings
from studies.paper.judging import OURS
from studies.paper.methods import REFERENCE, label
from studies.paper.published import CLAIMS, CONTRADICTIONS, UNSTATED
from studies.paper.qualitative import qualitative
from studies.paper.results import Results
from studies.paper.scales import MAIN_TAU, Scale
from valuefree.report import Plot, Report, Section, Table, write_report


def report_of(folder: Path) -> Report:
    """The report of the study in `folder`.

    Raises:
        DataError: a folder without a finished study of the paper.
    """
    results = Results(folder)
    record = results.study["manifest"]
    several = len(results.scales) > 1
    sections: list[Section | None] = [_overview(results)]
    for scale in results.scales:
        suffix = f", {scale.title}" if several else ""
        key = f"-{scale.name}" if several else ""
        sections.append(_supports(results, findings(results, scale), scale, key, suffix))
        sections.append(_paper_tables(results, scale, key, suffix))
        sections.append(_beyond(results, scale, key, suffix))
        sections.append(qualitative(results, scale, key, suffix))
    sections += [_time(results), _claims(results), _paper(), _failures(results)]
    return Report(
        "The paper's experiments: " + ", ".join(scale.title for scale in results.scales),
        verdict_of(results),
        [section for section in sections if section is not None],
        [entry for scale in results.scales for entry in completions(results, scale)],
        record | {"sessions": results.study["sessions"]},
    )


def write_pages(folder: Path, page: Path | None) -> tuple[Path, Path | None, list[str]]:
    """report.html, report.md and figures in the study's folder; with `page` also that file, and a folder of its name.

    Returns:
        The HTML file, the page, and the sentences about what the study supports.
    """
    report = report_of(folder)
    html = write_report(report, folder)
    if page is not None:
        place = page.with_suffix("")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(html, place / "report.html")
        if report.plots:
            shutil.copytree(folder / "figures", place / "figures", dirs_exist_ok=True)
        text = html.with_suffix(".md").read_text(encoding="utf-8").replace("](figures/", f"]({place.name}/figures/")
        page.write_text(text, encoding="utf-8")
    return html, page, list(report.verdict)


def verdict_of(results: Results) -> list[str]:
    """The sentences at the top."""
    said = []
    for scale in results.scales:
        found = findings(results, scale)
        outcomes = ("supported", "contradicted", "undecided", "not tested")
        counts = ", ".join(f"{sum(one.verdict == name for one in found)} {name}" for name in outcomes)
        said.append(f"{scale.title}: of {len(found)} claims of the paper {counts}.")
        if scale.width:  # made from the training rows alone
            rows = results.held_out(scale.name)["train_rows"]
            said.append(
                f"This model writes no sentences: it has learned from {rows} short texts. Its reward checks "
                "constraints on the form of an answer, not its sense."
            )
        said += _headline(results, scale)
    if any(scale.published is None for scale in results.scales):
        said.append(
            "What a tiny model and its rows show need not hold for the paper's models and data; the page says for each "
            "number what it rests on."
        )
    return said


def _headline(results: Results, scale: Scale) -> list[str]:
    said = []
    for name, tau in (("RPO", MAIN_TAU), ("KTO", MAIN_TAU), ("DRO", MAIN_TAU), (OURS, None)):
        gain = results.gain(scale.name, name, tau)
        control = results.gain(scale.name, name, tau, shuffled=True)
        if gain is None:
            continue
        shuffled = "" if control is None else f"; with shuffled rewards {tables.signed(control)}"
        named = name if tau is None else f"{name} as published, τ = {tau:g}"
        said.append(f"{named}: gain in held-out reward {tables.signed(gain)} over the reference{shuffled}.")
    said += _furthest(results, scale)
    against = results.difference(scale.name, (OURS, None), ("RPO", MAIN_TAU))
    if against is not None:
        said.append(f"{OURS} less RPO as published at τ = 1: {tables.signed(against)}.")
    return said


def _furthest(results: Results, scale: Scale) -> list[str]:
    """RPO at the temperature where it gains most, with its distance and length beside the reference's."""
    gains = {tau: results.gain(scale.name, "RPO", tau) for tau in results.taus}
    known = {tau: gain for tau, gain in gains.items() if gain is not None}
    if len(known) < 2:
        return []
    tau = max(known, key=lambda one: known[one].value)
    runs, untouched = results.runs(scale.name, "RPO", tau), results.runs(scale.name, REFERENCE, None)
    kls = [run.kl["value"] for run in runs if run.kl]
    lengths, theirs = ([run.length for run in group if run.length is not None] for group in (runs, untouched))
    if not (kls and lengths and theirs):
        return []
    return [
        f"RPO as published gains most at τ = {tau:g}: {tables.signed(known[tau])}, at {fmean(kls):.1f} nats from the "
        f"reference, with answers of {fmean(lengths):.1f} tokens where the reference has {fmean(theirs):.1f}."
    ]


def _overview(results: Results) -> Section:
    study, record = results.study, results.study["manifest"]
    commits = sorted({row.commit or "unknown" for row in results.rows})
    running = sum(row.seconds for row in results.rows) / 60
    decoding = (
        "the same for all methods: sampled at temperature 0.7, top-k 50, top-p 0.95, repetition penalty 1.2, no "
        "repeated 3-grams"
        if results.decoding == "same"
        else "as in the published scripts: RPO and DRO sampled with penalties, KTO greedy without"
    )
    sentences = [
        f"Written by `python -m studies paper`, commit {record['commit']}, started {record['started']} on "
        f"{record['machine']}; runs made at commit {', '.join(commits)}. "
        f"{len(results.rows)} runs took {running:.0f} min, added up over processes.{_asked(results)}",
        f"Seeds: {study['seeds']}; temperatures {', '.join(f'{tau:g}' for tau in results.taus)}; answers {decoding}. "
        "A run's seed decides the order of the rows, the weights of a value network and the sampling; rows, held-out "
        "prompts and reference are the same for all.",
    ]
    settings = []
    for scale in results.scales:
        held_out = results.held_out(scale.name)
        clip = f"clipped at {scale.max_grad_norm:g}" if scale.max_grad_norm else "not clipped"
        settings.append(
            f"{scale.title}: {held_out['train_rows']} rows to train on, {len(held_out['prompts'])} held-out prompts; "
            f"{scale.epochs:g} epochs, batch {scale.batch * scale.accumulation}, AdamW at {scale.lr:g}, "
            f"{scale.warmup_steps} warm-up steps, linear decay, gradients {clip}, at most {scale.max_new_tokens} new "
            f"tokens; the same for every method, none tuned. {' '.join(held_out['data'])}"
        )
    lines = [[method.name, method.published or tables.NONE, method.about] for method in results.methods]
    return Section(
        "overview",
        "What was run",
        sentences,
        settings,
        [Table("The methods", ["name", "in the paper", "what it is"], lines)],
    )


def _asked(results: Results) -> str:
    """Calls to judges, and when they were answered."""
    said = ""
    for judge in results.study["judges"]:
        file = results.folder / f"judgements-{judge['key']}.jsonl"
        if file.exists():
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
            times = [row["time"] for row in rows if "time" in row]
            said += f" {judge['title']}: {len(times)} answers, from {min(times)} to {max(times)}." if times else ""
    return said


def _supports(results: Results, found: Sequence[Found], scale: Scale, key: str, suffix: str) -> Section:
    statements = {claim.key: claim for claim in CLAIMS}
    order = {"supported": 0, "contradicted": 1, "undecided": 2, "not tested": 3}
    rows = [
        [one.verdict, statements[one.claim].text, statements[one.claim].where, one.text]
        for one in sorted(found, key=lambda one: order[one.verdict])
    ]
    return Section(
        f"supports{key}",
        f"What this run supports{suffix}",
        [
            "For each claim of the paper: supported (every interval that it is about lies on its side), contradicted "
            "(one lies on the other side), undecided (neither) or not tested (nothing of it was measured). Intervals "
            "are of 95 % each and not corrected for their number: where a claim is about many, one astray contradicts "
            "it, as would happen to an empty claim about 15 independent ones in 1 − 0.975^15, a third, of the cases. "
            "The claims of Table I and section VI are measured in worlds where the optimum is known (below).",
            *_not_counted(results, scale),
        ],
        tables=[Table("", ["verdict", "claim", "where", "here"], rows)],
    )


def _not_counted(results: Results, scale: Scale) -> list[str]:
    counted = results.counted(scale.name)
    return [
        f"{judge} decides no claim here: its winner changes with the order of the answers in "
        f"{results.flip_rate(judge, scale.name):.0%} of the pairs, so its rates are near 50 % whatever is compared."
        for judge in results.judges
        if judge not in counted
    ]


def _plots(*plots: Plot | None) -> list[Plot]:
    return [plot for plot in plots if plot is not None]


def _paper_tables(results: Results, scale: Scale, key: str, suffix: str) -> Section:
    numbered = (tables.table_2, tables.table_3, tables.table_4, tables.table_5, tables.table_6)
    made = (*numbered, extra_tables.judges_table)
    found = [make(results, scale) for make in made]
    return Section(
        f"tables{key}",
        f"The paper's tables{suffix}",
        tables=[table for table in found if table.rows],
        plots=_plots(figures.rates_by_tau(results, scale)),
    )


def _beyond(results: Results, scale: Scale, key: str, suffix: str) -> Section:
    return Section(
        f"beyond{key}",
        f"Beyond the paper{suffix}",
        _distances(results, scale),
        tables=[
            table
            for make in (extra_tables.rewards_table, extra_tables.beyond_table, extra_tables.distance_table)
            if (table := make(results, scale)).rows
        ],
        plots=_plots(figures.gains(results, scale), figures.frontier(results, scale), figures.curves(results, scale)),
    )


def _distances(results: Results, scale: Scale) -> list[str]:
    """That rewards are of policies at unlike distances, with the ends of their range."""
    kls = {
        label(method.name, tau): fmean(run.kl["value"] for run in runs if run.kl)
        for method in results.methods
        for tau in (results.taus if method.taus else [None])
        if (runs := [run for run in results.runs(scale.name, method.name, tau) if run.kl])
    }
    if len(kls) < 2:
        return []
    least, most = (pick(kls, key=kls.__getitem__) for pick in (min, max))
    return [
        "As in the paper, all methods have one learning rate and one number of steps, and none is tuned. So they end "
        f"at unlike distances from the reference, from {kls[least]:.2f} nats ({least}) to {kls[most]:.2f} ({most}): a "
        "temperature means another thing against sums over tokens than against their means. A reward says little "
        "without its distance; docs/results/small.md has the methods tuned alike and compared at equal KL."
    ]


def _time(results: Results) -> Section | None:
    table, plot = tables.timing_table(results), figures.training_time(results)
    if table is None:
        return None
    return Section("time", "Figure 1", tables=[table], plots=_plots(plot))


def _claims(results: Results) -> Section | None:
    rows = results.claim_rows
    if not rows:
        return None
    return Section(
        "optimum",
        "Table I and section VI, where the optimum is known",
        [
            "Policies over short token sequences whose Z, V* and optimum are exact, as in docs/results/exact.md. DRO-V "
            "is favoured: its V is linear in features in which the offsets of the rewards are linear too, so that it "
            "can take out any constant error; a network on text may do worse.",
            "The rules of the verdicts were settled while looking at these worlds: the grid of learning rates was "
            "widened once, as eq. 19 sat at its edge (it still does: it is best where it is trained least), and a "
            "verdict on stability needs the deviation of loss and gradient in RPO's own unit to agree with the one in "
            "proportion, which is small for eq. 19 because its loss is large and constant.",
        ],
        tables=[
            Table(
                "Statement by statement",
                ["statement", "verdict", "here"],
                [[one.claim, one.verdict, one.text] for one in claim_findings(rows)],
                "By rules on Student's intervals over seeds.",
            ),
            *(Table(table.title, table.head, table.rows, table.note) for table in claim_tables(rows)),
        ],
        plots=[Plot(name, caption, figure) for name, caption, figure in claim_figures(rows)],
    )


def _paper() -> Section:
    return Section(
        "paper",
        "Where the paper contradicts itself, and what it does not say",
        tables=[
            Table("Contradictions", ["here", "there", "what"], [[*one.where, one.text] for one in CONTRADICTIONS]),
            Table("Not said", ["what", "the gap"], [[name, text] for name, text in UNSTATED.items()]),
        ],
    )


def _failures(results: Results) -> Section:
    failed = [f"{row.cell.name}: {row.error}" for row in results.failed]
    failed += [f"{name}: {error}" for name, error in results.failed_claims.items()]
    return Section("failures", "Runs that failed", [] if failed else ["None."], failed)
