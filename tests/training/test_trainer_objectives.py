"""Every objective in the trainer: it trains, and what it asks for is what it gets."""

import math
from dataclasses import dataclass

import datasets
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from conftest import MAKERS, make_llama
from training.test_trainer import arguments, trainer
from valuefree.batches.collate import prompt_batch
from valuefree.data import RewardScaler
from valuefree.errors import ConfigError, DataError
from valuefree.models.logprobs import response_logps
from valuefree.models.modules import backbone_of
from valuefree.models.prompt_features import prompt_features
from valuefree.models.value_network import network_of, prompt_means
from valuefree.objectives import DPO, DRO, GRPO, IPO, KTO, NCA, RPO, SFT, TOPR, AsymRE, SLiC
from valuefree.objectives.base import Objective, ObjectiveOutput
from valuefree.training.mismatched_pairs import MismatchedPairs
from valuefree.training.preparation import STEP_INPUTS
from valuefree.training.step_inputs import StepInput
from valuefree.training.trainer import PolicyTrainer
from valuefree.training.training_rows import training_rows

OBJECTIVES = {
    "rpo": RPO(),
    "rpo-learned": RPO(estimator="learned"),
    "rpo-regressed": RPO(estimator="regressed"),
    "rpo-paper": RPO.preset("paper"),
    "rpo-paper-code": RPO.preset("paper-code"),
    "dro": DRO(),
    "dro-shared": DRO.preset("paper-code"),
    "kto": KTO(),
    "kto-paper-code": KTO.preset("paper-code"),
    "nca": NCA(),
    "dpo": DPO(),
    "ipo": IPO(pairs="adjacent"),
    "slic": SLiC(pairs="all"),
    "asymre": AsymRE(),
    "topr": TOPR(),
    "grpo": GRPO(),
    "rpo-a-star-po": RPO.preset("a-star-po"),
    "sft": SFT(),
    "sft-best": SFT(on="best"),
    "sft-weighted": SFT(on="weighted"),
}


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("kind", ["t5", "llama"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_steps_change_what_is_to_be_trained(tmp_path, rows, tokenizer, name, kind, adapter):
    lora = LoraConfig(r=2, target_modules="all-linear") if adapter else None
    run = trainer(
        tmp_path,
        MAKERS[kind](tokenizer),
        rows,
        tokenizer,
        OBJECTIVES[name],
        peft_config=lora,
        eval_dataset=rows,
        max_steps=2,
        optim="adamw_torch",
        learning_rate=1e-2,
    )
    before = {name: weight.detach().clone() for name, weight in run.model.named_parameters()}
    run.train()
    assert all(torch.tensor(entry["loss"]).isfinite() for entry in run.state.log_history if "loss" in entry)
    assert torch.tensor(run.evaluate()["eval_loss"]).isfinite()
    changed = {name for name, weight in run.model.named_parameters() if not torch.equal(weight, before[name])}
    assert any("value_network" not in name for name in changed)
    network = network_of(run.model)
    assert (network is not None) == ("value_outputs" in OBJECTIVES[name].requires)
    if network is not None:
        assert any("value_network.head" in name for name in changed)
        assert any("value_network.backbone" in name for name in changed) == (network.backbone is not None)
    if adapter:
        assert all("lora" in name or "value_network.head" in name for name in changed)


# ----------------------------------------------------------------------------------------------------- mismatched pairs


def biased_rows(rows):
    """Rewards that make about half the rows desirable."""
    return rows.remove_columns("reward").add_column("reward", [float(k % 2) for k in range(len(rows))])


def moved(run) -> None:
    """Another policy than the one that was scored."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in run.model.parameters():
            weight += 0.05 * torch.randn_like(weight)


def steps_of(run) -> list[list[dict]]:
    loader = list(run.get_train_dataloader())
    size = run.args.gradient_accumulation_steps
    return [loader[at : at + size] for at in range(0, len(loader), size)]


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_the_baseline_of_a_step_does_not_depend_on_how_it_is_cut(tmp_path, rows, tokenizer, kind):
    """8 rows at once and 8 times one row: the mean over the same eight pairs, of a policy away from the reference."""
    found = {}
    for batch, accumulation in ((8, 1), (1, 8), (3, 2)):
        sizes = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation, "max_steps": 9}
        run = trainer(tmp_path, MAKERS[kind](tokenizer), rows, tokenizer, KTO(), **sizes)
        moved(run)
        found[batch, accumulation] = []
        for step in steps_of(run):
            step = run._with_step_inputs(run.model, step, run.train_dataset, 2)
            found[batch, accumulation].append({float(part.step_inputs["kl_estimate"]) for part in step})
    for values in found.values():
        assert all(len(same) == 1 for same in values)
    first, second = ([same.pop() for same in found[cut]] for cut in ((8, 1), (1, 8)))
    assert max(map(abs, first)) > 1e-2
    assert second == pytest.approx(first, rel=1e-4)


def test_the_baseline_is_the_mean_over_the_rows_of_a_step_by_hand(tmp_path, rows, tokenizer):
    run = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, KTO(), num_train_epochs=2, max_steps=-1)
    drawn = run.train_dataset.step_inputs["kl_estimate"]
    assert len(drawn.partners) == 2
    assert (drawn.partners[0] != drawn.partners[1]).any()
    reference = make_llama(tokenizer)
    moved(run)
    (step, _) = steps_of(run)
    step = run._with_step_inputs(run.model, step, run.train_dataset, 1)
    table, ratios = run.train_dataset.table, []
    for row in step[0].row_numbers:
        other = int(drawn.partners[1][row])
        assert rows[other]["prompt"] != rows[row]["prompt"]
        pair = {"prompt_ids": [table[row]["prompt_ids"]], "response_ids": [table[other]["response_ids"]]}
        batch = run._collator.tensors(pair | {"prompt_id": [0]})
        with torch.no_grad():
            ratios.append(float(response_logps(run.model, batch).total - response_logps(reference, batch).total))
    assert float(step[0].step_inputs["kl_estimate"]) == pytest.approx(sum(ratios) / len(ratios), rel=1e-4)


@pytest.mark.parametrize("strategy", ["random", "group_by_length", "sequential"])
def test_kto_sees_the_pairs_of_its_epoch_whatever_the_order(tmp_path, rows, tokenizer, strategy, monkeypatch):
    """Two steps an epoch, five steps: epochs 0, 0, 1, 1, 2, each with the partners drawn for it."""
    seen = []
    own = MismatchedPairs.compute

    def compute(self, dataset, batches, logps, epoch, device):
        seen.append(epoch)
        return own(self, dataset, batches, logps, epoch, device)

    monkeypatch.setattr(MismatchedPairs, "compute", compute)
    settings = {"max_steps": 5, "train_sampling_strategy": strategy}
    run = trainer(tmp_path, make_llama(tokenizer), biased_rows(rows), tokenizer, KTO(beta=1.0), **settings)
    run.train()
    assert seen == [0, 0, 1, 1, 2]
    assert len(run.train_dataset.step_inputs["kl_estimate"].partners) == 3


def test_an_epoch_that_was_not_scored_is_an_error(tmp_path, rows, tokenizer):
    run = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, KTO(), max_steps=2)
    run.args.max_steps = 3
    with pytest.raises(ConfigError, match="mismatched pairs of 1 epochs were scored"):
        run.train()


class BestLogps(StepInput):
    """log π of the best-rewarded response of the data set, under the policy of the step, shape ()."""

    def __init__(self, row, collator):
        self.row, self.collator = row, collator

    @classmethod
    def prepare(cls, dataset, scorer, *, epochs, seed):
        return cls(int(dataset.rewards.argmax()), scorer.collator)

    def compute(self, dataset, batches, logps, epoch, device):
        return logps(self.collator.batch(dataset.table, [self.row]))[0]


@dataclass(frozen=True)
class BehindTheBest(Objective):
    """A toy: it reads a log-probability that takes a forward pass of its own."""

    @property
    def requires(self):
        return frozenset({"reference_logps", "best_logps"})

    def __call__(self, inputs):
        behind = inputs.require("best_logps") - inputs.policy_logps
        return ObjectiveOutput(behind.square(), {"behind": behind.detach()})


def test_an_objective_brings_a_forward_pass_of_its_own_by_one_entry(tmp_path, rows, tokenizer, monkeypatch):
    """No line of the trainer knows it; the value of a step is that of the policy before the step."""
    monkeypatch.setitem(STEP_INPUTS, "best_logps", BestLogps)
    run = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, BehindTheBest(), eval_dataset=rows, max_steps=2)
    best = int(np.argmax(rows["reward"]))
    batch = run._collator.batch(run.train_dataset.table, [best])
    with torch.no_grad():
        expected = float(response_logps(run.model, batch).total)
    step = run._with_step_inputs(run.model, steps_of(run)[0], run.train_dataset, 0)
    assert [float(part.step_inputs["best_logps"]) for part in step] == [pytest.approx(expected, rel=1e-6)]
    run.train()
    assert "behind" in run.state.log_history[0]
    assert math.isfinite(run.evaluate()["eval_behind"])


def test_one_prompt_has_no_mismatched_pairs(tmp_path, rows, tokenizer):
    with pytest.raises(ConfigError, match="share one prompt"):
        trainer(tmp_path, make_llama(tokenizer), rows.select(range(4)), tokenizer, KTO())


def test_the_evaluation_has_one_kl_estimate_of_all_its_rows(tmp_path, rows, tokenizer):
    """The same loss whatever the size of its batches, of a policy away from the reference."""
    losses = []
    for size in (3, 16):
        run = trainer(
            tmp_path,
            make_llama(tokenizer),
            rows,
            tokenizer,
            KTO(beta=1.0),
            eval_dataset=rows,
            per_device_eval_batch_size=size,
        )
        moved(run)
        metrics = run.evaluate()
        losses.append((metrics["eval_loss"], metrics["eval_kl_estimate"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


# ---------------------------------------------------------------------------------------------------------- columns


def test_sft_best_trains_on_the_best_of_each_prompt(tmp_path, rows, tokenizer):
    run = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, SFT(on="best"), per_device_train_batch_size=16)
    best = {}
    for row in rows:
        if row["prompt_id"] not in best or row["reward"] > best[row["prompt_id"]]["reward"]:
            best[row["prompt_id"]] = row
    assert run.train_dataset.table["response"][:] == [row["response"] for row in best.values()]
    assert run.train_dataset.group_size.tolist() == [1] * 5


def test_weighted_sft_is_the_weighted_mean_over_tokens(tmp_path, rows, tokenizer):
    run = trainer(
        tmp_path,
        make_llama(tokenizer),
        rows,
        tokenizer,
        SFT(on="weighted", tau=0.5),
        per_device_train_batch_size=16,
        max_steps=1,
    )
    rewards, prompts = run.train_dataset.rewards, run.train_dataset.prompt_of
    weight = [
        math.exp(r / 0.5) / np.mean(np.exp(rewards[prompts == p] / 0.5)) for r, p in zip(rewards, prompts, strict=True)
    ]
    with torch.no_grad():
        found = response_logps(run.model, run._collator.batch(run.train_dataset.table, range(16)))
    run.train()
    expected = -float((torch.tensor(weight) * found.total.double()).sum() / found.tokens.sum())
    assert run.state.log_history[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_pairs_of_the_user_are_those_that_are_trained_on(tmp_path, rows, tokenizer):
    """Rows 0 and 1 are a pair, 4 and 6 another, named by text; at step zero every pair's loss is log 2."""
    names = [["p", "p", "a", "b", "q", "c", "q"][k] if k < 7 else f"x{k}" for k in range(len(rows))]
    own = rows.add_column("pair_id", names)
    run = trainer(tmp_path, make_llama(tokenizer), own, tokenizer, DPO(), per_device_train_batch_size=2, max_steps=1)
    assert run.train_dataset.table["response"][:] == [rows[k]["response"] for k in (0, 1, 4, 6)]
    assert run.train_dataset.prompt_of.tolist() == [0, 0, 1, 1]
    run.train()
    assert run.state.log_history[0]["loss"] == pytest.approx(math.log(2), rel=1e-5)


def test_a_column_with_a_hole_is_an_error(tmp_path, rows, tokenizer):
    own = rows.add_column("desirable", [True] * 15 + [None])
    with pytest.raises(DataError, match=r"column 'desirable' has no value in 1 of 16 rows \(first: \[15\]\)"):
        trainer(tmp_path, make_llama(tokenizer), own, tokenizer, KTO())


def test_a_step_without_a_pair_has_loss_zero(tmp_path, rows, tokenizer):
    run = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, DPO(), per_device_train_batch_size=2)
    inputs = next(iter(run.get_train_dataloader()))
    inputs.rewards.zero_()  # equal rewards give no pair
    loss = run.compute_loss(run.model, inputs, num_items_in_batch=torch.tensor(0.0))
    loss.backward()
    assert loss.item() == 0.0
    assert all((weight.grad == 0).all() for weight in run.model.parameters() if weight.grad is not None)


# ------------------------------------------------------------------------------------------------ partition's inputs


def samples_of(rows, *, drop: int = 0) -> datasets.Dataset:
    prompts = list(dict.fromkeys(rows["prompt"]))[drop:]
    records = [
        {"prompt": prompt, "response": f"sample {k}", "reward": 0.3 * k + number}
        for number, prompt in enumerate([*prompts, "a prompt of nobody"])
        for k in range(3)
    ]
    return datasets.Dataset.from_list(records)


def test_reference_samples_are_matched_by_prompt_and_standardised_alike(tmp_path, rows, tokenizer, caplog):
    """monte_carlo over samples 0, .3, .6 + p: V̂ = τ log mean e^{r/τ} of the standardised ones."""
    caplog.set_level("INFO")
    run = PolicyTrainer(
        make_llama(tokenizer),
        RPO(tau=1.0, estimator="monte_carlo"),
        arguments(tmp_path),
        rows,
        processing_class=tokenizer,
        reference_samples=samples_of(rows),
    )
    scaled = run.reward_scaler.transform([0.0, 0.3, 0.6]) + np.arange(5)[:, None] / run.reward_scaler.scale
    expected = np.log(np.exp(scaled).mean(1))
    np.testing.assert_allclose(run.train_dataset.values, expected[run.train_dataset.prompt_of])
    assert "3 of 18 reference samples belong to other prompts" in caplog.text


def test_reference_samples_in_another_unit_are_warned_about(rows, caplog):
    samples = samples_of(rows).map(lambda row: {"reward": 100 * row["reward"] + 50})
    for given, warned in ((samples_of(rows), False), (samples, True)):
        training_rows(rows, RPO(), RewardScaler.fit(rows["reward"]), given)
        assert ("only if both were given by the same reward function" in caplog.text) == warned


@pytest.mark.parametrize(
    ("objective", "drop", "error", "message"),
    [
        (SFT(), 0, ConfigError, "reference_samples are read by a partition, and SFT has none"),
        (RPO(estimator="mean"), 0, ConfigError, "not read by estimator='mean'"),
        (RPO(estimator="monte_carlo"), 2, DataError, "2 of 5 prompts have no reference sample"),
    ],
)
def test_reference_samples_that_cannot_be_used(tmp_path, rows, tokenizer, objective, drop, error, message):
    with pytest.raises(error, match=message):
        PolicyTrainer(
            make_llama(tokenizer),
            objective,
            arguments(tmp_path),
            rows,
            processing_class=tokenizer,
            reference_samples=samples_of(rows, drop=drop),
        )


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_features_are_the_means_of_the_states_of_the_reference(tmp_path, rows, tokenizer, kind):
    """Batched and padded they are those of each prompt by itself, with the adapter off."""
    model = MAKERS[kind](tokenizer)
    texts = list(dict.fromkeys(rows["prompt"]))
    prompts = [tokenizer(text)["input_ids"] for text in texts]
    alone = [prompt_means(backbone_of(model), prompt_batch([ids], 0))[0].detach().double().numpy() for ids in prompts]
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    found = prompt_features(adapted, prompts, pad_token_id=0, batch_tokens=40)
    np.testing.assert_allclose(found, np.stack(alone), atol=1e-5)


# ------------------------------------------------------------------------------------------- what a thumbs-down does


@pytest.mark.parametrize(("objective", "falls"), [(RPO(), True), (RPO.preset("paper"), False)], ids=["default", "eq19"])
def test_a_thumbs_down_on_a_lone_response_lowers_it_under_the_default_and_not_under_eq_19(
    tmp_path, rows, tokenizer, objective, falls
):
    """One response per prompt: eq. 19 makes V̂ = τℓ + r, so that r cancels and the target is −ℓ > 0 nats for all."""
    lone = rows.select([0, 4, 7, 8, 10])
    texts = [f"{text} {k}" for k, text in enumerate(lone["prompt"])]
    lone = lone.remove_columns(["prompt", "prompt_id", "reward"])
    lone = lone.add_column("prompt", texts).add_column("prompt_id", list(range(5)))
    lone = lone.add_column("reward", [1.0, 0.0, 1.0, 0.0, 1.0])
    settings = {"optim": "adamw_torch", "max_steps": 40, "per_device_train_batch_size": 5, "learning_rate": 3e-3}
    run = trainer(tmp_path, make_llama(tokenizer), lone, tokenizer, objective, **settings)
    run.train()
    with torch.no_grad():
        after = response_logps(run.model, run._collator.batch(run.train_dataset.table, range(5))).total.double().numpy()
    change = after - run.train_dataset.reference.logps
    assert (change[[0, 2, 4]] > 0).all()
    assert (change[[1, 3]] < 0).all() == falls
    if not falls:
        assert (change > 1).all()
