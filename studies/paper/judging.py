"""Judges of pairs of cells: the reward function, models on a server, local models. One file per judge and pair."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.paper.cells import Pair, responses_file
from studies.paper.served import serving
from valuefree.demo.smollm2 import smollm2_folder
from valuefree.errors import ConfigError
from valuefree.evaluation.judging.backends import Backend
from valuefree.evaluation.judging.cache import JudgementCache
from valuefree.evaluation.judging.judge import Protocol, judge, judge_by_reward
from valuefree.evaluation.judging.local_judge import LocalJudge
from valuefree.evaluation.judging.presets import JUDGES
from valuefree.evaluation.judging.prompts import PROMPTS
from valuefree.evaluation.judging.result import JudgeResult
from valuefree.evaluation.judging.server_judge import ServerJudge
from valuefree.models.load import accelerator_device, load_model
from valuefree.runs.files import read_json, read_jsonl, write_json

REWARD = "reward"
SMOLLM2 = "smollm2"
ANSWER_TOKENS = 12  # a label and the words that small models add to it


@dataclass(frozen=True)
class JudgeSpec:
    """One judge. name: of a model, or ``reward``. address: of a server; ``serve`` starts one, None loads the model."""

    name: str
    address: str | None = None

    @classmethod
    def parse(cls, text: str) -> "JudgeSpec":
        """From ``reward``, ``MODEL``, ``MODEL@ADDRESS`` or ``MODEL@serve``."""
        name, separator, address = text.partition("@")
        known = address == "serve" or address.startswith(("http://", "https://"))
        if not name or (separator and (not known or name == REWARD)):
            raise ConfigError(
                f"judge {text!r}: expected reward, MODEL (loaded here), MODEL@http://…/v1, or MODEL@serve, which "
                "starts a server here."
            )
        return cls(name, address or None)

    @property
    def title(self) -> str:
        """For tables."""
        if self.name == REWARD:
            return "reward function"
        how = {None: "loaded here", "serve": "served"}.get(self.address, "server")
        return f"{Path(self.name).name} ({how})"

    @property
    def key(self) -> str:
        """For files."""
        if self.name == REWARD:
            return REWARD
        return hashlib.blake2b(f"{self.name}|{self.address is None}".encode(), digest_size=4).hexdigest()

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
    with ExitStack() as stack:
        backend = None if spec.name == REWARD else stack.enter_context(spec.backend(folder))
        cache = stack.enter_context(JudgementCache(folder / f"judgements-{spec.key}.jsonl")) if backend else None
        for number, ((pair, scale, seed), file) in enumerate(lacking, start=1):
            first, second = pair.cells(scale, seed)
            rows = [read_jsonl(responses_file(cell, folder))[:prompts] for cell in (first, second)]
            result = _judged(rows, (first.name, second.name), backend, cache)
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


def _judged(
    rows: Sequence[Sequence[dict[str, Any]]], names: tuple[str, str], backend: Backend | None, cache: Any
) -> JudgeResult:
    prompts = [row["prompt"] for row in rows[0]]
    ours, theirs = ([row["response"] for row in part] for part in rows)
    if backend is not None:
        protocol = Protocol(prompt=PROMPTS["paper"], max_new_tokens=ANSWER_TOKENS)
        return judge(prompts, ours, theirs, backend=backend, protocol=protocol, cache=cache, names=names)
    known = iter([[row["reward"] for row in part] for part in rows])  # computed before: the function would repeat them
    return judge_by_reward(prompts, ours, theirs, lambda *_: next(known), names=names)
