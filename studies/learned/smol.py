"""The world of SmolLM2: the demo's prompts, with responses drawn from the model itself at temperature 1."""

from functools import partial
from pathlib import Path
from typing import Any

from transformers import PrinterCallback

from studies.harness.training import objective_of
from studies.learned.cells import Cell, Measured, Truth
from valuefree.cli.commands.demo import NEW_TOKENS, load_policy, training_arguments
from valuefree.cli.options.demo import DemoConfig
from valuefree.data import read_triplets, split_by_prompt
from valuefree.data.triplets import prompts_of
from valuefree.demo.data import feedback, reward, shuffle_rewards
from valuefree.demo.smollm2 import smollm2_folder
from valuefree.evaluation.generation import Decoding, generate_ids, response_texts
from valuefree.evaluation.held_out.logged_responses import LoggedResponses, sample_prompts
from valuefree.models.load import load_model
from valuefree.models.strength import strength_of
from valuefree.runs.files import write_jsonl
from valuefree.training.trainer import PolicyTrainer

WORLD = "smollm2"
RESPONSES = 4
TEST_PROMPTS = 80
SAMPLES = 2
SCALES = (0.25, 0.5, 1.0)


def make_rows(folder: Path) -> Path:
    """The file of rows: exact samples of SmolLM2 for the demo's 240 prompts, rewarded by the demo's function."""
    file = folder / "smollm2-rows.jsonl"
    if not file.exists():
        model, tokenizer = load_model(str(smollm2_folder()))
        prompts = prompts_of(feedback())
        decoding = Decoding(max_new_tokens=NEW_TOKENS, batch_size=96).exact(seed=0)
        _, ids = generate_ids(model, tokenizer, prompts, decoding, samples=RESPONSES)
        texts = response_texts(model, tokenizer, ids)
        repeated = [prompt for prompt in prompts for _ in range(RESPONSES)]
        rows = zip(repeated, texts, reward(repeated, texts), strict=True)
        write_jsonl(file, ({"prompt": p, "response": text, "reward": r} for p, text, r in rows if text.strip()))
    return file


def measure_cell(cell: Cell, folder: Path) -> list[dict[str, Any]]:
    """Train on 160 prompts, and measure at each strength on the 80 others."""
    train, held_out = split_by_prompt(read_triplets(make_rows(folder)), test_prompts=TEST_PROMPTS, seed=cell.seed)
    if cell.shuffled:
        train = shuffle_rewards(train, seed=cell.seed)
    options = DemoConfig(seed=cell.seed, lr=cell.lr, cache_dir=str(folder / "scores"))
    model, tokenizer, adapter = load_policy(options, train, folder)
    args = training_arguments(options, folder / "work" / cell.name)
    trainer = PolicyTrainer(
        model, objective_of(cell.label), args, train, processing_class=tokenizer, peft_config=adapter
    )
    trainer.remove_callback(PrinterCallback)
    few = sample_prompts(train, 60, seed=cell.seed)
    report, training = (LoggedResponses.prepare(rows, trainer.scorer) for rows in (held_out, few))
    trainer.train()
    policy: Any = trainer.model
    decoding = Decoding(max_new_tokens=NEW_TOKENS, batch_size=96)
    truth = Truth(tokenizer, prompts_of(held_out), reward, decoding, SAMPLES)
    base_P = truth.of_reference(policy, None, cell.seed)
    known = partial(truth.measure, policy, None, trainer.scorer.collator, base_P, cell.seed)
    curve = Measured(policy, report, training, known).at_strengths(strength_of(policy).at, SCALES)
    curve[0] |= {"objective": trainer.objective.to_dict(), "tau": trainer.temperature}
    return curve
