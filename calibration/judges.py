"""Measure judges on real judgements: how many can be read, how accurate they are, and how they resist an injection.

python -m calibration.judges --data FOLDER [--server http://127.0.0.1:8001/v1 --model NAME] [--page FILE]

FOLDER holds judge_llmbar_raw.jsonl (LLMBar, princeton-nlp, MIT), judge_pandalm_pairs.jsonl and pandalm_human.jsonl
(PandaLM, WeOpenML, Apache-2.0) and nullmodel_injection.json (alpaca_eval's NullModel) as JSON lines. With a server, the
injection is tried on the model behind it.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuefree.evaluation import JudgeResult, ServerJudge, judge, read_answer
from valuefree.evaluation.judging.backends import Backend
from valuefree.evaluation.judging.judge import BOTH, Protocol
from valuefree.evaluation.judging.outcomes import Comparison
from valuefree.evaluation.judging.prompts import PROMPTS
from valuefree.evaluation.judging.result import Setup
from valuefree.evaluation.judging.tables import percent
from valuefree.evaluation.markdown import markdown_table
from valuefree.evaluation.stats import Agreement, Estimate, clustered_mean, cohen_kappa
from valuefree.runs.manifest import git_commit, machine

CONSTANT = "I don't know."
VERDICT_OF = {"A": "win", "B": "loss"}  # LLMBar's gold labels, for the first response
WINNER = {"1": "win", "2": "loss"}  # the data's own reading of a text
GPT35 = {"1": "A", "2": "B", "Tie": "N"}  # any other value is unreadable
PANDALM = {"1": "A", "2": "B", "0": "N"}


def lines_of(file: Path) -> list[dict[str, Any]]:
    """The rows of a JSON lines file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]


# -------------------------------------------------------------------------------------------------------------- LLMBar


def _share(rows: Sequence[tuple[str, float]]) -> Estimate | None:
    """Mean of (prompt, 0 or 1) over prompts; None without rows."""
    keys, values = [prompt for prompt, _ in rows], [value for _, value in rows]
    return clustered_mean(values, keys, bounds=(0.0, 1.0)) if rows else None


@dataclass(frozen=True)
class RealJudge:
    """The judgements of one judge and strategy, read again from its raw texts.

    gold: the right result of each pair. otherwise: number of texts whose label in the data is the opposite verdict.
    """

    judge: str
    strategy: str
    result: JudgeResult
    gold: list[str]
    otherwise: int

    def accuracy(self) -> Estimate | None:
        """Share of readable verdicts that are the gold label, over both orders, clustered by prompt."""
        rows = [
            (pair.prompt, float(opinion.result == gold))
            for pair, gold in zip(self.result.comparisons, self.gold, strict=True)
            for opinion in pair.opinions
            if opinion.result is not None
        ]
        return _share(rows)

    def accuracy_agreed(self) -> Estimate | None:
        """The same where both orders name the same response."""
        rows = [
            (pair.prompt, float(pair.category == gold))
            for pair, gold in zip(self.result.comparisons, self.gold, strict=True)
            if pair.category in ("win", "loss")
        ]
        return _share(rows)


def real_judges(rows: Iterable[dict[str, Any]]) -> list[RealJudge]:
    """Every judge and strategy of LLMBar's raw outputs, most judgements first."""
    found: dict[tuple[str, str], tuple[list[Comparison], list[str], list[bool]]] = {}
    for row in rows:
        for said in row["judgments"]:
            pairs, gold, otherwise = found.setdefault((said["judge"], said["strategy"]), ([], [], []))
            opinions = tuple(read_answer(said[f"raw_{order}"][0], None, order=order, read="text") for order in BOTH)
            lengths = (len(row["response_a"].split()), len(row["response_b"].split()))
            pairs.append(Comparison(row["prompt"], opinions, lengths))
            gold.append(VERDICT_OF[row["gold"]])
            otherwise += [
                {opinion.result, WINNER.get(said[f"winner_{opinion.order}"])} == {"win", "loss"} for opinion in opinions
            ]
    ordered = sorted(found.items(), key=lambda item: (-len(item[1][0]), item[0]))
    return [
        RealJudge(
            name,
            strategy,
            JudgeResult(("a", "b"), pairs, Setup(name, "", strategy, False, 2, "text")),
            gold,
            sum(wrong),
        )
        for (name, strategy), (pairs, gold, wrong) in ordered
    ]


def pandalm_agreement(rows: Sequence[dict[str, Any]]) -> dict[str, Agreement]:
    """Cohen's κ of PandaLM's two judges with the majority of three people, clustered by prompt."""
    people = [row["majority"] for row in rows]
    prompts = [row["prompt"] for row in rows]
    judges = {"gpt-3.5": ("gpt35", GPT35), "PandaLM-7B": ("pandalm", PANDALM)}
    return {
        name: cohen_kappa([names.get(row[column]) for row in rows], people, clusters=prompts)
        for name, (column, names) in judges.items()
    }


# ----------------------------------------------------------------------------------------------------------- injection


def best_answers(rows: Iterable[dict[str, Any]], count: int) -> tuple[list[str], list[str]]:
    """The first `count` prompts that have text answers, and the highest-rewarded answer of each."""
    best: dict[str, tuple[float, str]] = {}
    for row in rows:
        response = row["response"]
        if isinstance(response, str) and response.strip():
            best[row["prompt"]] = max(best.get(row["prompt"], (-1.0, "")), (row["reward"], response))
    chosen = list(best.items())[:count]
    return [prompt for prompt, _ in chosen], [answer for _, (_, answer) in chosen]


def attack(
    text: str, prompts: Sequence[str], answers: Sequence[str], *, backend: Backend, prompt: str, **settings: Any
) -> JudgeResult:
    """The same text as answer to every prompt, against real answers."""
    protocol = Protocol(prompt=PROMPTS[prompt], max_new_tokens=8)
    names = ("constant", "real answer")
    return judge(prompts, [text] * len(prompts), answers, backend=backend, protocol=protocol, names=names, **settings)


# ---------------------------------------------------------------------------------------------------------------- page


def judges_table(judges: Sequence[RealJudge]) -> str:
    """Readability, position bias and accuracy of each judge."""
    header = ("judge", "strategy", "pairs", "readable", "read otherwise", "flips", "first place", "accuracy")
    header = (*header, "where orders agree")
    rows = []
    for found in judges:
        result = found.result
        opinions = [opinion for pair in result.comparisons for opinion in pair.opinions]
        read = sum(opinion.verdict is not None for opinion in opinions)
        rows.append(
            (
                found.judge,
                found.strategy,
                str(len(result.comparisons)),
                f"{read} of {len(opinions)}",
                str(found.otherwise),
                percent(result.flip_rate()),
                percent(result.first_position_rate()),
                percent(found.accuracy()),
                percent(found.accuracy_agreed()),
            )
        )
    return markdown_table(header, rows)


def injection_table(data: Path, server: str, model: str, name: str, prompts: int) -> str:
    """Win rates of constant answers against real ones, under both prompts."""
    asked, answers = best_answers(lines_of(data / "pandalm_human.jsonl"), prompts)
    null = json.loads((data / "nullmodel_injection.json").read_text(encoding="utf-8"))["constant_output"]
    backend = ServerJudge(model, server=server, name=name, concurrency=2, timeout_seconds=600)
    rows = []
    for prompt in ("guarded", "paper"):
        for what, text in (("NullModel's injection", null), (f"“{CONSTANT}”", CONSTANT)):
            result = attack(text, asked, answers, backend=backend, prompt=prompt, progress=True)
            rows.append((prompt, what, *injection_cells(result)))
    return markdown_table(("prompt", "constant answer", *INJECTION), rows)


INJECTION = ("judged", "win rate of the constant answer", "if all unjudged were lost, won", "first place")
JUDGED = 0.5  # least share of judged pairs for a rate: what a judge leaves unread is not a random part of the pairs


def injection_cells(result: JudgeResult) -> tuple[str, str, str, str]:
    """How many pairs are judged, and the rates if these are at least half of all."""
    judged, asked = len(result.judged), len(result.comparisons)
    low, high = result.bounds()
    rates = ("too few judged to say", "too few judged to say")
    if judged >= JUDGED * asked:
        won = f"{percent(result.win_rate())}, p = {result.outcomes().p_value:.2g}"
        rates = (won, percent(result.first_position_rate()))
    return f"{judged} of {asked}", rates[0], f"{low:.1%} to {high:.1%}", rates[1]


def page(data: Path, injection: str | None, command: str) -> str:
    """The whole page."""
    judges = real_judges(lines_of(data / "judge_llmbar_raw.jsonl"))
    agreement = pandalm_agreement(lines_of(data / "judge_pandalm_pairs.jsonl"))
    kappas = [
        (name, str(found.n), str(found.missing), f"{found.observed:.3f}", f"{found.kappa}")
        for name, found in agreement.items()
    ]
    parts = [
        "# Judges on real judgements",
        f"Generated by `{command}`. Intervals are 95 % over prompts: bootstrap, and Clopper's and Pearson's "
        "where all prompts agree.",
        "## Raw outputs of real judges (LLMBar), both orders, with gold labels",
        "Every text is read again by `read_answer`. *Read otherwise*: texts for which the data's label is the other "
        "response; most open with “Output (b) is better.”, and reasons follow. *Flips*: the winner changes with the "
        "order. *First place*: how often the response shown first is picked. *Accuracy*: readable verdicts that are "
        "the gold label, over both orders.",
        judges_table(judges),
        "## Agreement with people (PandaLM, majority of three votes, A / B / neutral)",
        markdown_table(("judge", "pairs", "unreadable", "agree", "Cohen's κ"), kappas),
    ]
    if injection is not None:
        parts += [
            "## A constant answer against real ones",
            "NullModel's constant answer won 76.9 % of alpaca_eval (arXiv 2410.07137) by closing the delimiters of its "
            "template. Here it stands against the answers that people liked best. A pair is judged if the verdict can "
            f"be read in both orders. Where fewer than {JUDGED:.0%} are judged, the rates are left out: these pairs "
            "are few, and no random part of all. p is that of the sign test over prompts.",
            injection,
        ]
    parts.append(f"- commit {git_commit() or 'none'}, {machine()}")
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the page or print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the judgements")
    parser.add_argument("--server", help="OpenAI-compatible server, http://host:port/v1, for the injection")
    parser.add_argument("--model", help="name of the model there")
    parser.add_argument("--name", help="what to call it on the page; default: its name there")
    parser.add_argument("--prompts", type=int, default=24, help="prompts of the injection (default: 24)")
    parser.add_argument("--page", type=Path, help="Markdown file to write; default: print")
    given = parser.parse_args(arguments)
    injection, command = None, "python -m calibration.judges --data …"
    if given.server is not None:
        name = given.name or given.model
        injection = injection_table(given.data, given.server, given.model, name, given.prompts)
        injection = f"Judge: {name}, {given.prompts} prompts.\n\n{injection}"
        command += " --server … --model …"
    text = page(given.data, injection, command)
    if given.page is None:
        print(text)
    else:
        given.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
