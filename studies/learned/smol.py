"""The world of SmolLM2: the demo's prompts, with responses drawn from the model itself at temperature 1."""

from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback

from studies.frontier.cells import objective_of
from studies.learned.cells import Cell, Truth, measure_strengths
from valuefree.cli.commands.demo import NEW_TOKENS, RANK
from valuefree.cli.commands.from_options import lora
from valuefree.data import read_triplets, split_by_prompt
from valuefree.data.triplets import prompts_of
from valuefree.demo.data import feedback, reward, shuffle_rewards
from valuefree.demo.smollm2 import smollm2_folder
from valuefree.evaluation.generation import Decoding, generate_ids, response_texts
from valuefree.evaluation.held_out.logged_responses import LoggedResponses, sample_prompts
from valuefree.models.load import load_model
from valuefree.models.strength import strength_of
from valuefree.runs.files import write_jsonl
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments

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
    model, tokenizer = load_model(str(smollm2_folder()))
    layers = model.config.num_hidden_layers
    torch.manual_seed(cell.seed)  # of the adapter's first weights
    args = PolicyTrainingArguments(
        output_dir=str(folder / "work" / cell.name),
        num_train_epochs=1,
        learning_rate=cell.lr,
        warmup_steps=3,
        lr_scheduler_type="linear",
        weight_decay=0.0,
        per_device_train_batch_size=8,
        use_cpu=True,
        seed=cell.seed,
        save_strategy="no",
        logging_steps=1000,
        report_to=[],
        disable_tqdm=True,
        max_length=256,
        max_response_length=NEW_TOKENS,
        score_cache_dir=str(folder / "scores"),
    )
    adapter = lora(RANK, layers=range(layers // 2, layers))  # as in the demo
    trainer = PolicyTrainer(
        model, objective_of(cell.label), args, train, processing_class=tokenizer, peft_config=adapter
    )
    trainer.remove_callback(PrinterCallback)
    report = LoggedResponses.prepare(held_out, trainer.scorer)
    training = LoggedResponses.prepare(sample_prompts(train, 60, seed=cell.seed), trainer.scorer)
    trainer.train()
    policy: Any = trainer.model
    truth = Truth(
        tokenizer,
        prompts_of(held_out),
        reward,
        Decoding(max_new_tokens=NEW_TOKENS, batch_size=96),
        SAMPLES,
    )
    base_P = truth.of_reference(policy, None, cell.seed)
    curve = measure_strengths(
        policy,
        strength_of(policy).at,
        SCALES,
        report,
        training,
        lambda: truth.measure(policy, None, trainer.scorer.collator, base_P, cell.seed),
    )
    curve[0] |= {"objective": trainer.objective.to_dict(), "tau": trainer.temperature}
    return curve
