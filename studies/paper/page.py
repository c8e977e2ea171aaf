"""The report of a study of the paper, from the files of its folder."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import get_args

from studies.harness.page import failed_section, origin, write_markdown
from studies.paper import figures, tables
from studies.paper.answers import completions, qualitative
from studies.paper.cells import kls_of
from studies.paper.claims import claim_figures, claim_findings, claim_tables
from studies.paper.methods import OURS, REFERENCE, SELF_TUNED
from studies.paper.published import CLAIMS, CONTRADICTIONS, UNSTATED
from studies.paper.results import Results
from studies.paper.rules import findings
from studies.paper.scales import MAIN_TAU
from studies.paper.verdicts import NONE, Finding, Outcome, shown
from studies.paper.wording import sentence, table
from valuefree.report import Plot, Report, Section, write_report
from valuefree.runs.files import read_jsonl

OUTCOMES: Sequence[str] = get_args(Outcome)


def report_of(folder: Path) -> Report:
    """The report of the study in `folder`.

    Raises:
        DataError: a folder without a finished study of the paper.
    """
    study = Results(folder)
    several = len(study.scales) > 1
    sections: list[Section | None] = [_overview(study)]
    verdict: list[str] = []
    browsed = []
    for results in map(study.at, study.scales):
        key, suffix = (f"-{results.scale.name}", f", {results.scale.title}") if several else ("", "")
        found = findings(results)
        verdict += _verdict(results, found)
        sections += [_supports(results, found, key, suffix), _paper_tables(results, key, suffix)]
        if not results.scale.brief:
            sections += [_beyond(results, key, suffix), qualitative(results, key, suffix)]
            browsed += completions(results)
    if any(scale.published is None for scale in study.scales):
        verdict.append(sentence("tiny"))
    sections += [_time(study), _claims(study), _paper(), failed_section(study.every_row)]
    return Report(
        "The paper's experiments: " + ", ".join(scale.title for scale in study.scales),
        verdict,
        [section for section in sections if section is not None],
        browsed,
        study.study["manifest"] | {"sessions": study.study["sessions"]},
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
        if report.plots:
            shutil.copytree(folder / "figures", place, dirs_exist_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(html, place)
        write_markdown(page, report)
    return html, page, list(report.verdict)


# --------------------------------------------------------------------------------------------- the sentences at the top


def _verdict(results: Results, found: Sequence[Finding]) -> list[str]:
    counts = Counter(one.verdict for one in found)
    named = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES)
    sentences = [f"{results.scale.title}: of {len(found)} claims of the paper {named}."]
    if results.scale.brief:
        return sentences
    if results.scale.width:  # made from the training rows alone
        sentences.append(sentence("texts", rows=results.held_out["train_rows"]))
    for name, tau in (("RPO", MAIN_TAU), ("KTO", MAIN_TAU), ("DRO", MAIN_TAU), (OURS, None), (SELF_TUNED, None)):
        gain, control = (results.gain(name, tau, shuffled=shuffled) for shuffled in (False, True))
        if gain is not None:
            shuffled = "" if control is None else f"; with shuffled rewards {shown(control, signed=True)}"
            at = name if tau is None else f"{name} as published, τ = {tau:g}"
            sentences.append(f"{at}: gain in held-out reward {shown(gain, signed=True)} over the reference{shuffled}.")
    sentences += _furthest(results)
    for first, second, named in ((OURS, "RPO", "RPO as published at τ = 1"), (SELF_TUNED, OURS, OURS)):
        against = results.difference(results.runs(first), results.runs(second))
        if against is not None:
            sentences.append(f"{first} less {named}: {shown(against, signed=True)}.")
    return sentences


def _furthest(results: Results) -> list[str]:
    """RPO at the temperature where it gains most: its KL to the reference, and the length of its answers."""
    gains = {tau: gain for tau in results.taus if (gain := results.gain("RPO", tau)) is not None}
    if len(gains) < 2:
        return []
    tau = max(gains, key=lambda one: gains[one].value)
    runs, untouched = results.runs("RPO", tau), results.runs(REFERENCE)
    kls = kls_of(runs)
    lengths, theirs = ([run.end["length"] for run in group] for group in (runs, untouched))
    if not (kls and lengths and theirs):
        return []
    values = {"kl": fmean(kls), "length": fmean(lengths), "reference": fmean(theirs)}
    return [sentence("furthest", tau=tau, gain=gains[tau], **values)]


# ----------------------------------------------------------------------------------------------------------- sections


def _overview(study: Results) -> Section:
    grid = {"seeds": study.study["seeds"], "taus": ", ".join(f"{tau:g}" for tau in study.taus)}
    sentences = [
        origin(study.study["manifest"], study.rows) + _judge_calls(study),
        sentence("seeds_of", **grid, decoding=sentence(f"decoding_{study.study['decoding']}")),
    ]
    settings = []
    for results in map(study.at, study.scales):
        scale, held_out = results.scale, results.held_out
        settings.append(
            sentence(
                "setting",
                scale=scale,
                train_rows=held_out["train_rows"],
                prompts=len(held_out["prompts"]),
                batch=scale.batch * scale.accumulation,
                clip=f"clipped at {scale.max_grad_norm:g}" if scale.max_grad_norm else "not clipped",
                but=_but_tuned(results),
                data=" ".join(held_out["data"]),
            )
        )
    lines = [[method.name, method.name if method.published else NONE, method.about] for method in study.methods]
    return Section("overview", "What was run", sentences, settings, [table("methods", lines)])


def _but_tuned(results: Results) -> str:
    """The methods that choose settings of their own, as an exception in a sentence; empty if there are none."""
    named = [method.name for method in results.methods if method.tuned and results.runs(method.name)]
    return f" but {', '.join(named)}" if named else ""


def _judge_calls(study: Results) -> str:
    """Number of answers of each judge, and when they were given; of a reward model, how it agrees with its authors."""
    text = ""
    for judge in study.study["judges"]:
        held_out = (judge.get("agreement") or {}).get("held_out_pairs")
        if held_out:
            text += " " + sentence("agreement", judge=judge["title"], **held_out)
        file = study.folder / f"judgements-{judge['key']}.jsonl"
        rows = read_jsonl(file) if file.exists() else []
        times = [row["time"] for row in rows if "time" in row]
        text += f" {judge['title']}: {len(times)} answers, from {min(times)} to {max(times)}." if times else ""
    return text


def _supports(results: Results, found: Sequence[Finding], key: str, suffix: str) -> Section:
    statements = {claim.key: claim for claim in CLAIMS}
    rows = [
        [one.verdict, statements[one.claim].text, statements[one.claim].where, one.text]
        for one in sorted(found, key=lambda one: OUTCOMES.index(one.verdict))
    ]
    unreliable = [
        sentence("unreliable", judge=judge, flips=results.flip_rate(judge))
        for judge in results.judges
        if judge not in results.reliable_judges
    ]
    sentences = [sentence("supports"), *unreliable]
    return Section(f"supports{key}", f"What this run supports{suffix}", sentences, tables=[table("supports", rows)])


def _paper_tables(results: Results, key: str, suffix: str) -> Section:
    numbered = (tables.table_2, tables.table_3, tables.table_4, tables.table_5, tables.table_6)
    made = [make(results) for make in (*numbered, tables.judges_table)]
    filled = [one for one in made if one.rows]
    plots = _plots(figures.rates_by_tau(results))
    return Section(f"tables{key}", f"The paper's tables{suffix}", tables=filled, plots=plots)


def _plots(*plots: Plot | None) -> list[Plot]:
    return [plot for plot in plots if plot is not None]


def _beyond(results: Results, key: str, suffix: str) -> Section:
    made = [make(results) for make in (tables.rewards_table, tables.more_rates_table, tables.distance_table)]
    made += [tables.chosen_table(results, method) for method in results.methods if method.tuned]
    return Section(
        f"beyond{key}",
        f"Beyond the paper{suffix}",
        _distances(results),
        tables=[one for one in made if one.rows],
        plots=_plots(figures.gains(results), figures.frontier(results), figures.curves(results)),
    )


def _distances(results: Results) -> list[str]:
    """That rewards are of policies at different distances, with the ends of their range."""
    kls = {
        name: fmean(values)
        for method, tau, name in results.grid()
        if (values := kls_of(results.runs(method.name, tau)))
    }
    if len(kls) < 2:
        return []
    ends = [pick(kls, key=kls.__getitem__) for pick in (min, max)]
    return [sentence("distances", but=_but_tuned(results), names=ends, kls=[kls[name] for name in ends])]


def _time(study: Results) -> Section | None:
    timing = tables.timing_table(study)
    return timing and Section("time", "Figure 1", tables=[timing], plots=_plots(figures.training_time(study)))


def _claims(study: Results) -> Section | None:
    rows = study.claim_rows
    if not rows:
        return None
    statements = [[one.claim, one.verdict, one.text] for one in claim_findings(rows)]
    return Section(
        "optimum",
        "Table I and section VI, where the optimum is known",
        [sentence("worlds"), sentence("settled")],
        tables=[table("statements", statements), *claim_tables(rows)],
        plots=claim_figures(rows),
    )


def _paper() -> Section:
    contradictions = table("contradictions", [[*one.where, one.text] for one in CONTRADICTIONS])
    unstated = table("unstated", [[name, text] for name, text in UNSTATED.items()])
    title = "Where the paper contradicts itself, and what it does not say"
    return Section("paper", title, tables=[contradictions, unstated])
