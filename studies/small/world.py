"""The small world on disk: a reference per kind of model, two other policies, and the rows of a run."""

import random
import shutil
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.trainer_callback import PrinterCallback

from studies.harness.cells import Say
from studies.harness.pool import Workers
from studies.small.grammar import all_requests, reward, write_response
from studies.small.models import make_model, make_tokenizer
from studies.small.scale import NEW_TOKENS, Scale
from valuefree.evaluation.generation import Decoding, generate_ids
from valuefree.objectives import SFT, Objective
from valuefree.runs.files import read_json, write_json
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments

REGIMES = ("on", "off")
WORLD_SEED = 0
TEXTS_PER_PROMPT = 8  # of the grammar, to train a reference on
BEHAVIOUR_PROMPTS, BEHAVIOUR_SAMPLES = 192, 8
SAMPLING_BATCH = 512


def prompts_of(scale: Scale) -> dict[str, list[str]]:
    """Disjoint prompts: ``test`` and ``train``, of which each seed draws its own, and ``validation``."""
    prompts = [str(request) for request in all_requests()]
    random.Random(WORLD_SEED).shuffle(prompts)
    pool, end = scale.test_pool, scale.test_pool + scale.test_prompts
    return {"test": prompts[:pool], "validation": prompts[pool:end], "train": prompts[end:]}


def held_out_prompts(scale: Scale, seed: int) -> list[str]:
    """The prompts that the runs of a seed are measured on."""
    return random.Random(seed).sample(prompts_of(scale)["test"], scale.test_prompts)


def as_rows(prompts: Sequence[str], responses: Sequence[str]) -> datasets.Dataset:
    """Triplets with the reward of the grammar, and the number of each prompt."""
    number = {prompt: index for index, prompt in enumerate(dict.fromkeys(prompts))}
    return datasets.Dataset.from_dict(
        {
            "prompt": list(prompts),
            "response": list(responses),
            "reward": reward(prompts, responses),
            "prompt_id": [number[prompt] for prompt in prompts],
        }
    )


def sample(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], samples: int, seed: int
) -> tuple[list[list[int]], list[list[int]], list[str]]:
    """Exact samples, `samples` per prompt: ids of the prompts, ids of the responses, texts."""
    decoding = Decoding(max_new_tokens=NEW_TOKENS, batch_size=SAMPLING_BATCH).exact(seed=seed)
    asked, answers = generate_ids(model, tokenizer, prompts, decoding, samples=samples)
    return asked, answers, [text.strip() for text in tokenizer.batch_decode(answers, skip_special_tokens=True)]


def trainer_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    objective: Objective,
    rows: datasets.Dataset,
    folder: str,
    **arguments: Any,
) -> PolicyTrainer:
    """A trainer without output and checkpoints; it caches the scores of its reference in `folder`."""
    settings: dict[str, Any] = {
        "lr_scheduler_type": "constant_with_warmup",
        "max_response_length": NEW_TOKENS,  # a sample cut there must not be taught to end there
        "weight_decay": 0.0,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "logging_steps": 10_000,
        "output_dir": str(Path(folder) / "trainer"),
        "score_cache_dir": str(Path(folder) / "scores"),
    }
    args = PolicyTrainingArguments(**(settings | arguments))
    trainer = PolicyTrainer(model, objective, args, rows, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _write_model(model: PreTrainedModel, folder: Path) -> None:
    """Save by rename, so that a folder that exists is complete; the first of two writers wins."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, suffix=".part"))
    model.save_pretrained(part)
    try:
        part.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(part)


def make_references(folder: Path, kinds: Sequence[str], scale: Scale, workers: Workers, say: Say) -> None:
    """`make_reference` for each kind of model whose policies do not exist yet."""
    names = ("reference", "better", "worse")
    missing = [kind for kind in kinds if not all((folder / "world" / kind / name).exists() for name in names)]
    if missing:
        say(f"training the reference of {', '.join(missing)}")
        workers.run_all([(make_reference, (folder, kind, scale)) for kind in missing])


def make_reference(folder: Path, kind: str, scale: Scale) -> None:
    """Train the reference of `kind` on texts of the grammar, and from it the better and the worse policy."""
    if not (folder / "world" / kind / "reference").exists():
        generator = random.Random(WORLD_SEED)
        train = {*prompts_of(scale)["train"]}
        requests = [request for request in all_requests() if str(request) in train for _ in range(TEXTS_PER_PROMPT)]
        texts = [write_response(request, generator) for request in requests]
        tokenizer = make_tokenizer(kind)
        model = make_model(kind, tokenizer, seed=WORLD_SEED)
        trainer_of(
            model,
            tokenizer,
            SFT(),
            as_rows([str(request) for request in requests], texts),
            str(folder),
            max_steps=scale.reference_steps,
            learning_rate=5e-3,
            lr_scheduler_type="linear",
            warmup_steps=20,
            per_device_train_batch_size=scale.reference_batch,
            seed=WORLD_SEED,
        ).train()
        _write_model(model, folder / "world" / kind / "reference")
    for name in ("better", "worse"):
        if not (folder / "world" / kind / name).exists():
            _make_behaviour(folder, kind, name, scale)


def _make_behaviour(folder: Path, kind: str, name: str, scale: Scale) -> None:
    """The reference fine-tuned on the upper, or the lower, quarter of its own samples of each prompt."""
    model, tokenizer = load(folder, kind)
    prompts = random.Random(WORLD_SEED + 1).sample(prompts_of(scale)["train"], BEHAVIOUR_PROMPTS)
    _, _, texts = sample(model, tokenizer, prompts, BEHAVIOUR_SAMPLES, seed=WORLD_SEED + 1)
    asked = [prompt for prompt in prompts for _ in range(BEHAVIOUR_SAMPLES)]
    rewards = reward(asked, texts)
    kept: list[int] = []
    for start in range(0, len(asked), BEHAVIOUR_SAMPLES):
        ranked = sorted(range(start, start + BEHAVIOUR_SAMPLES), key=lambda row: rewards[row], reverse=name == "better")
        kept += sorted(ranked[: BEHAVIOUR_SAMPLES // 4])
    rows = as_rows([asked[row] for row in kept], [texts[row] for row in kept])
    trainer_of(
        model,
        tokenizer,
        SFT(),
        rows,
        str(folder),
        max_steps=scale.behaviour_steps,
        learning_rate=1e-3,
        per_device_train_batch_size=scale.batch,
        seed=WORLD_SEED,
    ).train()
    _write_model(model, folder / "world" / kind / name)


def load(folder: Path, kind: str, name: str = "reference") -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A policy of the world, fresh from disk, and its tokenizer."""
    auto = AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM
    return auto.from_pretrained(folder / "world" / kind / name).eval(), make_tokenizer(kind)


@lru_cache(maxsize=4)
def reference(folder: Path, kind: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The reference, loaded once per process; not to be trained."""
    return load(folder, kind)


def rows_of(folder: Path, kind: str, regime: str, seed: int, scale: Scale) -> datasets.Dataset:
    """The training rows of a seed: the same for every method, made once.

    On-policy responses are drawn from the reference; off-policy ones half from the better and half from the worse
    policy.
    """
    file = folder / "world" / kind / f"rows-{regime}-{seed}.json"
    if not file.exists():
        prompts = random.Random(seed).sample(prompts_of(scale)["train"], scale.train_prompts)
        sources = ("reference",) if regime == "on" else ("better", "worse")
        each = scale.responses // len(sources)
        parts = []
        for number, source in enumerate(sources):
            model, tokenizer = load(folder, kind, source)
            parts.append(sample(model, tokenizer, prompts, each, seed=len(sources) * seed + number)[2])
        texts = [part[each * row + k] for row in range(len(prompts)) for part in parts for k in range(each)]
        asked = [prompt for prompt in prompts for _ in range(scale.responses)]
        write_json(file, {"prompt": asked, "response": texts})
    columns = read_json(file)
    return as_rows(columns["prompt"], columns["response"])
