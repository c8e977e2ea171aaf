"""A study's folder made by hand: cells, answers, metrics and verdicts with known numbers, no model anywhere."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from studies.harness.cells import Row
from studies.paper.cells import Cell, Pair, TimingCell, responses_file
from studies.paper.judging import JudgeSpec
from studies.paper.results import Results
from studies.paper.scales import SCALES, Scale
from valuefree.evaluation.judging.judge import judge_by_reward

TINY = replace(SCALES["tiny"], test_prompts=8)
WEAK, STRONG = JudgeSpec("weak"), JudgeSpec("strong", "http://there/v1")


def estimate(value: float, *, n: int = 8) -> dict:
    return {"value": value, "interval": [value - 0.1, value + 0.1], "n": n}


class Made:
    """Writes the files of a study: `cell` adds a run, `judged` verdicts, `finish` the notes; then `results`.

    Args:
        folder: of the study. methods, taus, seeds: of its grid.
    """

    def __init__(
        self,
        folder: Path,
        methods: Sequence[str] = ("SFT", "KTO", "DRO", "RPO", "RPO-noNorm"),
        taus: Sequence[float] = (0.1, 1.0, 5.0),
        seeds: int = 2,
        prompts: int = 8,
        judges: Sequence[JudgeSpec] = (WEAK,),
        scale: Scale = TINY,
    ):
        self.folder, self.methods, self.taus, self.seeds, self.scale = folder, methods, list(taus), seeds, scale
        self.prompts, self.judges = [f"prompt {number}" for number in range(prompts)], judges
        self.note()

    def note(self, **more: object) -> None:
        """What the study was, with changes."""
        self.write("study.json", {"kind": "paper"})
        self.write(
            "notes.json",
            {
                "scales": [asdict(self.scale)],
                "methods": list(self.methods),
                "taus": self.taus,
                "seeds": self.seeds,
                "control": "shuffle",
                "decoding": "same",
                "metrics": "metrics-key",
                "judges": [{"title": spec.title, "key": spec.key} for spec in self.judges],
                "judge_prompts": None,
                "manifest": {
                    "command": "studies paper",
                    "config": {},
                    "versions": {},
                    "commit": "abc",
                    "started": "then",
                    "machine": "there",
                },
                "sessions": [{"started": "then", "seconds": {"training": 60.0, "judging": 30.0}, "machine": "there"}],
            }
            | more,
        )
        held_out = {"prompts": self.prompts, "references": [f"reference of {p}" for p in self.prompts]}
        self.write(f"world/{self.scale.name}/held_out.json", held_out | {"data": ["Made by hand."], "train_rows": 10})

    def write(self, name: str, content: object) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
        return file

    def row(
        self, cell: object, curve: object, error: str | None = None, commit: str | None = None, folder: str = "."
    ) -> None:
        """A row in the folder of its stage."""
        Row(cell, curve, error, 0.0, 0.0, commit).write(self.folder / folder)  # type: ignore[arg-type]

    def cell(
        self,
        method: str,
        seed: int = 0,
        tau: float | None = 1.0,
        *,
        rewards: Sequence[float] | None = None,
        metrics: Mapping[str, float] | None = None,
        kl: float | None = None,
        shuffled: bool = False,
        commit: str | None = None,
        error: str | None = None,
        **more: object,
    ) -> Cell:
        """A run; rewards: one per prompt, none where the run has no reward function."""
        cell = Cell(self.scale.name, method, tau, seed, shuffled)
        reward = None if rewards is None else estimate(sum(rewards) / len(rewards))
        found = {"reward": reward, "kl": None if kl is None else estimate(kl), "length": 10.0}
        found |= {"partition": None, "history": [], "chosen": None} if method != "SFT" else {}
        self.row(cell, None if error else [found | more], error, commit)
        if error is not None:
            return cell
        known = rewards if rewards is not None else [None] * len(self.prompts)
        file = responses_file(cell, self.folder)
        file.parent.mkdir(exist_ok=True)
        columns = enumerate(zip(self.prompts, known, strict=True))
        lines = [
            {"prompt": p, "response": f"{cell.name} answers {number}", "reward": r, "tokens": 3}
            for number, (p, r) in columns
        ]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        values = {
            name: {"value": value, "interval": [value - 0.01, value + 0.01], "n": len(self.prompts)}
            for name, value in (metrics or {}).items()
        }
        self.row(cell, [values], folder="metrics-key")
        return cell

    def judged(
        self,
        judge: JudgeSpec,
        first: str,
        second: str,
        scores: Sequence[float],
        *,
        seed: int = 0,
        tau: float = 1.0,
    ) -> None:
        """Verdicts of a judge: the first's score by prompt, 1, ½ or 0."""
        prompts = self.prompts[: len(scores)]
        rewards = iter([list(scores), [1 - score for score in scores]])
        result = judge_by_reward(
            prompts, ["a a"] * len(scores), ["b"] * len(scores), lambda *_: next(rewards), names=(first, second)
        )
        content = {"prompts": None, "result": result.to_dict(), "verdicts": [c.to_dict() for c in result.comparisons]}
        file = Pair(first, second, tau).file(self.folder, judge.key, self.scale.name, seed)
        self.write(str(file.relative_to(self.folder)), content)

    def timing(self, seconds: Mapping[str, Sequence[float]]) -> None:
        """Seconds by method, one per repetition, at one size."""
        rows = [
            {
                "size": "width 64",
                "parameters": 250_000,
                "method": method,
                "repeat": repeat,
                "prepare_seconds": 1.0,
                "train_seconds": value,
                "cpu_seconds": value,
                "steps": 20,
                "rows": 10,
            }
            for method, values in seconds.items()
            for repeat, value in enumerate(values)
        ]
        self.row(TimingCell(), rows, folder="timing")

    @property
    def results(self) -> Results:
        return Results(self.folder)


Make = Callable[..., Made]
