"""Judges of pairs of cells: the reward function, reward models, models on a server, local models.

One file per judge and pair.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from studies.paper.cells import Cell, Pair, responses_file
from studies.paper.served import serving
from valuefree.demo.smollm2 import smollm2_folder
from valuefree.errors import ConfigError
from valuefree.evaluation.judging.backends import Backend
from valuefree.evaluation.judging.cache import JudgementCache
from valuefree.evaluation.judging.judge import Protocol, judge, judge_by_reward
from valuefree.evaluation.judging.local_judge import LocalJudge
from valuefree.evaluation.judging.presets import JUDGES
from valuefree.evaluation.judging.prompts import PROMPTS
from valuefree.evaluation.judging.server_judge import ServerJudge
from valuefree.evaluation.reward_functions import load_reward, rewards_of
from valuefree.models.load import load_model, model_of_run
from valuefree.models.modules import accelerator_device
from valuefree.runs.files import read_json, read_jsonl, write_json

REWARD = "reward"
SMOLLM2 = "smollm2"
ANSWER_TOKENS = 12  # a label and the words that small models add to it


@dataclass(frozen=True)
class JudgeSpec:
    """One judge. name: of a model, or ``reward``, the reward function of the study.

    address: of a server; ``serve`` starts one, None loads the model; ``reward`` if the model is a reward model.
    """

    name: str
    address: str | None = None

    @classmethod
    def parse(cls, text: str) -> "JudgeSpec":
        """From ``reward``, ``MODEL``, ``MODEL@ADDRESS``, ``MODEL@serve`` or ``MODEL@reward``."""
        name, separator, address = text.partition("@")
        known = address in ("serve", REWARD) or address.startswith(("http://", "https://"))
        if not name or (separator and (not known or name == REWARD)):
            raise ConfigError(
                f"judge {text!r}: expected reward, MODEL (loaded here), MODEL@http://…/v1, MODEL@serve, which "
                "starts a server here, or MODEL@reward, a reward model."
            )
        return cls(name, address or None)

    @property
    def title(self) -> str:
        """For tables."""
        if self.name == REWARD:
            return "reward function"
        how = {None: "loaded here", "serve": "served", REWARD: "reward model"}.get(self.address, "server")
        return f"{Path(self.name).name} ({how})"

    @property
    def key(self) -> str:
        """For files."""
        if self.name == REWARD:
            return REWARD
        kind = REWARD if self.address == REWARD else self.address is None
        return hashlib.blake2b(f"{self.name}|{kind}".encode(), digest_size=4).hexdigest()

    @property
    def scores(self) -> bool:
        """Whether it gives each answer a number instead of comparing two: it sees all answers, for little time."""
        return REWARD in (self.name, self.address)

    @property
    def agreement(self) -> dict[str, Any] | None:
        """Of a reward model made by ``valuefree train``: how its run measured it on held-out pairs, else None."""
        file = Path(model_of_run(self.name)).parent / "metrics.json"
        return read_json(file) if self.address == REWARD and file.exists() else None

    @property
    def model(self) -> str:
        """Hub name or folder."""
        if self.name == SMOLLM2:
            return str(smollm2_folder())
        return JUDGES[self.name].model if self.name in JUDGES else self.name

    @contextmanager
    def backend(self, folder: Path) -> Iterator[Backend]:
        """The backend that answers for this judge, loaded or served for the duration of the context."""
        with ExitStack() as stack:
            address, shown = self.address, "SmolLM2-135M-Instruct" if self.name == SMOLLM2 else self.model
            if address is None:
                model, tokenizer = load_model(self.model)
                there: Any = model.to(accelerator_device())
                yield LocalJudge(there, tokenizer, name=shown)
                return
            here = address == "serve"
            if here:
                address = stack.enter_context(serving(self.model, folder / f"serve-{self.key}.log"))
            yield ServerJudge(self.model, server=address, name=shown, concurrency=2 if here else 16)


def judge_pairs(
    spec: JudgeSpec,
    todo: Sequence[tuple[Pair, str, int]],
    folder: Path,
    *,
    prompts: int | None,
    say: Callable[[str], None],
) -> None:
    """Judge the pairs (with scale and seed) that have no result, and keep each result as it comes.

    Args:
        prompts: number of held-out prompts, from the first; None for all.
    """
    files = {(pair, scale, seed): pair.file(folder, spec.key, scale, seed) for pair, scale, seed in todo}
    lacking = [(entry, file) for entry, file in files.items() if not _done(file, prompts)]
    if not lacking:
        return
    reward_model = load_reward(spec.model) if spec.address == REWARD else None

    @cache
    def scored(cell: Cell) -> list[float]:
        """The reward of a cell's answers: of the reward model, or as the cell has it."""
        rows = read_jsonl(responses_file(cell, folder))[:prompts]
        if reward_model is None:
            return [row["reward"] for row in rows]
        return rewards_of(reward_model, [row["prompt"] for row in rows], [row["response"] for row in rows]).tolist()

    with ExitStack() as stack:
        backend = None if spec.scores else stack.enter_context(spec.backend(folder))
        kept = stack.enter_context(JudgementCache(folder / f"judgements-{spec.key}.jsonl")) if backend else None
        for number, ((pair, scale, seed), file) in enumerate(lacking, start=1):
            first, second = pair.cells(scale, seed)
            asked, ours, theirs = _answers(first, second, folder, prompts)
            names = (first.name, second.name)
            if backend is None:
                known = iter([scored(first), scored(second)])
                result = judge_by_reward(asked, ours, theirs, lambda *_, known=known: next(known), names=names)
            else:
                protocol = Protocol(prompt=PROMPTS["paper"], max_new_tokens=ANSWER_TOKENS)
                result = judge(asked, ours, theirs, backend=backend, protocol=protocol, cache=kept, names=names)
            content = {
                "judge": spec.title,
                "pair": [first.method, first.tau, second.method, second.tau],
                "scale": scale,
                "seed": seed,
                "prompts": prompts,
                "result": result.to_dict(),
                "verdicts": [comparison.to_dict() for comparison in result.comparisons],
            }
            write_json(file, content)
            if backend is not None:
                say(f"{spec.title}: {number} of {len(lacking)} pairs, coverage {result.coverage:.0%}")


def _done(file: Path, prompts: int | None) -> bool:
    """Whether a result on as many prompts is there, with no call missing."""
    if not file.exists():
        return False
    content = read_json(file)
    asked = content["result"]["asked"]
    return content["prompts"] == prompts and not asked["failed"] and not asked["not_asked"]


def _answers(first: Cell, second: Cell, folder: Path, prompts: int | None) -> tuple[list[Any], list[str], list[str]]:
    """The prompts, and the answers of the two cells to them."""
    rows, others = (read_jsonl(responses_file(cell, folder))[:prompts] for cell in (first, second))
    return [row["prompt"] for row in rows], [row["response"] for row in rows], [row["response"] for row in others]
