"""Bradley–Terry: the loss by hand, models of every kind that learn, and folders that score as the trainer did."""

import math

import datasets
import pytest
import torch
from peft import LoraConfig
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    T5Config,
    T5ForSequenceClassification,
)

from conftest import TEXTS
from valuefree.errors import ConfigError, DataError, DivergenceError
from valuefree.evaluation.reward_functions import RewardModel, load_reward
from valuefree.models.reward_model import load_reward_model
from valuefree.training.reward_model_trainer import (
    RewardModelArguments,
    RewardModelTrainer,
    RewardPairs,
    bradley_terry_loss,
)

WORDS = ["the", "sea", "is", "wide", "and", "blue", "apples", "bread", "dough", "rest", "cats", "purr"]


def bert(tokenizer):
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), num_labels=1, **size))


def llama(tokenizer):
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForSequenceClassification(LlamaConfig(vocab_size=len(tokenizer), num_labels=1, **size))


def t5(tokenizer):
    torch.manual_seed(0)
    size = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}
    config = T5Config(vocab_size=len(tokenizer), num_labels=1, decoder_start_token_id=0, dropout_rate=0.0, **size)
    return T5ForSequenceClassification(config)


def rows(prompts, seed=0):
    """Four responses a prompt; the more often one says pears, the better."""
    generator = torch.Generator().manual_seed(seed)
    records = []
    for number in range(prompts):
        for pears in range(4):
            picks = torch.randint(len(WORDS), (6,), generator=generator).tolist()
            words = [*(WORDS[pick] for pick in picks), *["pears"] * pears]
            order = torch.randperm(len(words), generator=generator).tolist()
            text = " ".join(words[place] for place in order)
            prompt = f"{TEXTS[number % 4][:40]} {number}"
            record = {"prompt": prompt, "response": text, "reward": float(pears), "prompt_id": number}
            records.append(record)
    return datasets.Dataset.from_list(records)


def arguments(folder, **more):
    settings = {"num_train_epochs": 4, "learning_rate": 3e-3, "per_device_train_batch_size": 16, "logging_steps": 5}
    settings |= {"report_to": [], "use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "max_length": 64}
    return RewardModelArguments(output_dir=str(folder), **settings | more)


def test_the_loss_by_hand():
    chosen, rejected = torch.tensor([1.0, 0.0, -2.0]), torch.tensor([1.0, -math.log(3), 0.0])
    expected = torch.tensor([math.log(2), math.log(4 / 3), math.log1p(math.exp(2))])
    torch.testing.assert_close(bradley_terry_loss(chosen, rejected), expected)
    shifted = bradley_terry_loss(chosen + 7, rejected + 7)
    torch.testing.assert_close(shifted, expected)
    with pytest.raises(ValueError, match="same shape"):
        bradley_terry_loss(chosen, rejected[:, None])


def test_the_gradient_is_the_probability_of_the_other_order():
    chosen = torch.tensor([0.3], requires_grad=True)
    bradley_terry_loss(chosen, torch.tensor([-0.4])).sum().backward()
    torch.testing.assert_close(chosen.grad, -torch.sigmoid(torch.tensor([-0.7])))


@pytest.mark.parametrize("make", [bert, llama, t5])
def test_it_learns_what_is_better_and_its_folder_scores_the_same(make, tokenizer, tmp_path):
    held_out = rows(12, seed=1)
    trainer = RewardModelTrainer(
        make(tokenizer), arguments(tmp_path), rows(32), held_out, processing_class=tokenizer, pairs="all"
    )
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert before["eval_accuracy"] < 0.85
    assert after["eval_accuracy"] > 0.9
    assert after["eval_loss"] < before["eval_loss"]
    assert after["eval_margin"] > 0.5
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert {"accuracy", "margin", "cut_share"} <= logged[-1].keys()
    trainer.save_model(str(tmp_path / "rm"))
    score = load_reward(str(tmp_path / "rm"))
    scores = score(held_out["prompt"], held_out["response"])
    pairs = trainer.eval_dataset
    margins = [scores[i] - scores[j] for i, j in zip(pairs.chosen, pairs.rejected, strict=True)]
    assert sum(margins) / len(margins) == pytest.approx(after["eval_margin"], rel=1e-4)
    alone = [
        load_reward(str(tmp_path / "rm"))([row["prompt"]], [row["response"]])[0] for row in held_out.select([0, 5])
    ]
    assert alone == pytest.approx([scores[0], scores[5]], abs=1e-4)


@pytest.mark.parametrize("make", [bert, llama, t5])
def test_an_adapter_is_merged_into_the_folder_and_the_head_is_trained_whole(make, tokenizer, tmp_path):
    adapter = LoraConfig(r=4, target_modules="all-linear")
    train = rows(16)
    trainer = RewardModelTrainer(
        make(tokenizer), arguments(tmp_path), train, train, processing_class=tokenizer, peft_config=adapter
    )
    trained = [name for name, weight in trainer.model.named_parameters() if weight.requires_grad]
    assert all("lora_" in name or "modules_to_save" in name for name in trained)
    heads = [name for name in trained if "modules_to_save" in name]
    assert heads
    assert not any("lora_" in name for name in heads)
    trainer.train()
    trainer.save_model(str(tmp_path / "rm"))
    assert not (tmp_path / "rm" / "adapter_config.json").exists()
    score = RewardModel(str(tmp_path / "rm"))
    scores = score(train["prompt"], train["response"])
    pairs = trainer.train_dataset
    margin = [scores[i] - scores[j] for i, j in zip(pairs.chosen, pairs.rejected, strict=True)]
    assert sum(margin) / len(margin) == pytest.approx(trainer.evaluate()["eval_margin"], rel=1e-3)
    assert adapter.modules_to_save is None


def test_accumulation_2x4_equals_1x8(tokenizer, tmp_path):
    """Seven pairs: an uneven last micro-batch counts by its pairs."""
    weights = []
    for batch, steps in ((8, 1), (4, 2)):
        knobs = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": steps, "max_steps": 1}
        args = arguments(tmp_path, optim="sgd", lr_scheduler_type="constant", max_grad_norm=0.0, **knobs)
        trainer = RewardModelTrainer(llama(tokenizer), args, rows(7), processing_class=tokenizer)
        trainer.train()
        weights.append(trainer.model.score.weight.detach())
    torch.testing.assert_close(*weights)


def test_pairs_of_the_user_come_before_those_by_reward(tokenizer, tmp_path):
    own = rows(2).add_column("pair_id", [0, 0, 1, 1, 2, 2, 3, 3])
    trainer = RewardModelTrainer(bert(tokenizer), arguments(tmp_path), own, processing_class=tokenizer)
    found = zip(trainer.train_dataset.chosen.tolist(), trainer.train_dataset.rejected.tolist(), strict=True)
    assert sorted(found) == [(1, 0), (3, 2), (5, 4), (7, 6)]


def test_what_cannot_be_trained_says_so(tokenizer, tmp_path):
    args = arguments(tmp_path)
    flat = rows(3).map(lambda row: {"reward": 1.0})
    with pytest.raises(DataError, match="no pair in 12 rows"):
        RewardModelTrainer(bert(tokenizer), args, flat, processing_class=tokenizer)
    with pytest.raises(DataError, match="lacks"):
        RewardModelTrainer(bert(tokenizer), args, flat.remove_columns("reward"), processing_class=tokenizer)
    with pytest.raises(ConfigError, match="pass the tokenizer"):
        RewardModelTrainer(bert(tokenizer), args, rows(3))
    two = BertForSequenceClassification(BertConfig(vocab_size=8, hidden_size=8, num_attention_heads=2, num_labels=2))
    with pytest.raises(ConfigError, match="2 outputs"):
        RewardModelTrainer(two, args, rows(3), processing_class=tokenizer)


def test_a_model_with_another_head_is_not_loaded(tokenizer, tmp_path):
    size = {"vocab_size": len(tokenizer), "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    BertForSequenceClassification(BertConfig(**size, num_labels=3)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="3 outputs; a reward model has one"):
        load_reward_model(str(tmp_path))
    with pytest.raises(ConfigError, match="could not load a reward model"):
        load_reward_model(str(tmp_path), new_head=True)
    with pytest.raises(ConfigError, match="unknown dtype"):
        load_reward_model(str(tmp_path), dtype="int8")


def test_pairs_of_one_text_are_left_out_and_counted(caplog):
    """The same response rewarded twice, unlike: there is nothing to prefer in it."""
    texts = [("p", "a", 1.0), ("p", "a", 0.0), ("q", "a", 1.0), ("q", "b", 0.0)]
    records = [{"prompt": p, "response": r, "reward": x, "prompt_id": "pq".index(p)} for p, r, x in texts]
    pairs = RewardPairs.of(datasets.Dataset.from_list(records), "best_worst")
    assert [pairs[i] for i in range(len(pairs))] == [("q", "a", "b")]
    assert "1 pair left out: both responses are the same text" in caplog.text
    with pytest.raises(DataError, match="no pair in 2 rows"):
        RewardPairs.of(datasets.Dataset.from_list(records[:2]), "best_worst")


def test_a_run_that_diverges_names_the_prompts_of_the_step(tokenizer, tmp_path, monkeypatch):
    """Four pairs, one in a step."""
    trainer = RewardModelTrainer(
        llama(tokenizer), arguments(tmp_path, per_device_train_batch_size=1), rows(4), processing_class=tokenizer
    )
    loss = RewardModelTrainer.compute_loss
    monkeypatch.setattr(RewardModelTrainer, "compute_loss", lambda *args, **more: loss(*args, **more) * math.inf)
    with pytest.raises(DivergenceError, match="step 1 has loss inf") as stopped:
        trainer.train()
    named = [row["prompt"] for row in rows(4).select(range(0, len(rows(4)), len(rows(4)) // 4))]
    assert sum(repr(prompt) in str(stopped.value) for prompt in named) == 1
