"""The trainer: step zero, accumulation, grouping, resume, what is logged and saved."""

import copy
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import EarlyStoppingCallback, TrainerCallback

from conftest import make_llama, make_t5
from valuefree.data import RewardScaler
from valuefree.errors import ConfigError, DataError
from valuefree.models.adapters import add_adapter
from valuefree.objectives import DPO, DRO, IPO, KTO, NCA, RPO, SFT
from valuefree.training.callbacks import MetricsFile
from valuefree.training.step_zero import step_zero_noise
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments


def arguments(folder: Path, **changes) -> PolicyTrainingArguments:
    settings = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "max_steps": 3,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 1,
        "use_cpu": True,
        "seed": 3,
    }
    return PolicyTrainingArguments(**(settings | changes))


def trainer(folder, model, rows, tokenizer, objective=None, **changes) -> PolicyTrainer:
    extra = {
        name: changes.pop(name)
        for name in ("peft_config", "eval_dataset", "callbacks", "reference_model")
        if name in changes
    }
    return PolicyTrainer(
        model, objective or RPO(), arguments(folder, **changes), rows, processing_class=tokenizer, **extra
    )


def weights(model) -> dict[str, torch.Tensor]:
    """Of the policy, and of a value network beside it."""
    return {name: tensor.detach().clone() for name, tensor in [*model.state_dict().items(), *model.named_parameters()]}


@pytest.mark.parametrize("share", [True, False])
def test_untouched_policy_has_log_ratio_zero(tmp_path, model, rows, tokenizer, share):
    """Scoring batches and training batches differ in shape: |ρ| ≤ 1e-6·Σ|token log-prob| + 1e-4 in float32."""
    run = trainer(tmp_path, model, rows, tokenizer, share_prompts=share, score_batch_tokens=70)
    noise = step_zero_noise(run, batches=4)
    assert noise["rho_max"] <= 1e-6 * noise["logp_max"] + 1e-4


def test_log_ratio_is_exactly_zero_for_the_same_padded_batch(tmp_path, model, rows, tokenizer):
    run = trainer(tmp_path, model, rows, tokenizer, per_device_train_batch_size=16, score_batch_tokens=10**6)
    batch = run._collator.batch(run.train_dataset.table, range(16))
    with torch.no_grad():
        policy = run._logps(run.model, batch).total
        reference = run._logps(run.model.eval(), batch).total
    assert torch.equal(policy, reference)


def test_dropout_is_off_unless_asked_for(tmp_path, rows, tokenizer):
    for off in (True, False):
        model = make_t5(tokenizer)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.5
        run = trainer(tmp_path, model, rows, tokenizer, disable_dropout=off)
        run.model.train()
        _, inputs = next(iter(enumerate(run.get_train_dataloader())))
        with torch.no_grad():
            given, _ = run._apply(run.model, inputs)
        rho = (given.policy_logps - given.reference_logps).abs().max().item()
        assert (rho < 1e-3) == off


def step_weights(tmp_path, make, rows, tokenizer, objective, batch, accumulation, **changes):
    run = trainer(
        tmp_path,
        make(tokenizer),
        rows,
        tokenizer,
        objective,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        **changes,
    )
    run.train()
    return weights(run.model), [entry["loss"] for entry in run.state.log_history if "loss" in entry]


@pytest.mark.parametrize("make", [make_t5, make_llama])
@pytest.mark.parametrize(
    "objective",
    [
        RPO(),
        RPO(level=math.inf, estimator="mean"),
        RPO(estimator="learned"),
        DRO(),
        DRO(shared_encoder=True),
        KTO(),
        NCA(),
        DPO(pairs="all"),
        DPO(pairs="adjacent"),
        IPO(),
        SFT(),
        SFT(on="best"),
        SFT(on="weighted"),
    ],
    ids=repr,
)
@pytest.mark.parametrize(("batch", "accumulation"), [(1, 8), (3, 2)])
def test_accumulation_equals_one_large_batch(tmp_path, make, rows, tokenizer, objective, batch, accumulation):
    """Groups of 4, 3, 1, 2 and 6 are cut anywhere; three SGD steps end at the same weights."""
    large, losses = step_weights(tmp_path, make, rows, tokenizer, objective, batch * accumulation, 1)
    small, same = step_weights(tmp_path, make, rows, tokenizer, objective, batch, accumulation)
    assert same == pytest.approx(losses, rel=1e-4)
    for name, tensor in large.items():
        torch.testing.assert_close(small[name], tensor, atol=2e-6, rtol=1e-4)


def test_sharing_prompts_changes_nothing(tmp_path, rows, tokenizer):
    for make in (make_t5, make_llama):
        shared, _ = step_weights(tmp_path, make, rows, tokenizer, RPO(), 8, 1)
        plain, _ = step_weights(tmp_path, make, rows, tokenizer, RPO(), 8, 1, share_prompts=False)
        for name, tensor in plain.items():
            torch.testing.assert_close(shared[name], tensor, atol=2e-6, rtol=1e-4)


def test_gradient_checkpointing_changes_nothing(tmp_path, rows, tokenizer):
    for make in (make_t5, make_llama):
        plain, _ = step_weights(tmp_path, make, rows, tokenizer, RPO(), 8, 1)
        again, _ = step_weights(tmp_path, make, rows, tokenizer, RPO(), 8, 1, gradient_checkpointing=True)
        for name, tensor in plain.items():
            torch.testing.assert_close(again[name], tensor, atol=2e-6, rtol=1e-4)


def test_sft_loss_is_the_mean_over_the_tokens_of_the_batch(tmp_path, rows, tokenizer):
    run = trainer(tmp_path, make_t5(tokenizer), rows, tokenizer, SFT(), per_device_train_batch_size=16, max_steps=1)
    batch = run._collator.batch(run.train_dataset.table, range(16))
    with torch.no_grad():
        result = run._logps(run.model, batch)
    run.train()
    expected = -(result.total.sum() / result.tokens.sum()).item()
    assert run.state.log_history[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_rpo_moves_log_ratios_toward_their_targets(tmp_path, model, rows, tokenizer):
    run = trainer(tmp_path, model, rows, tokenizer, RPO(tau=1.0), optim="adamw_torch", max_steps=60)
    run.train()
    logs = [entry for entry in run.state.log_history if "loss" in entry]
    assert logs[-1]["loss"] < 0.2 * logs[0]["loss"]
    assert logs[-1]["logratio_reward_correlation"] > 0.8


def test_logs_carry_the_parts_and_the_speed(tmp_path, rows, tokenizer):
    run = trainer(tmp_path, make_t5(tokenizer), rows, tokenizer, callbacks=[MetricsFile(tmp_path)])
    run.train()
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    for name in ("loss", "loss_within", "loss_level", "logratio", "logratio_reward_correlation"):
        assert math.isfinite(first[name])
    assert first["loss_within"] + first["loss_level"] == pytest.approx(first["loss"], rel=1e-4)
    assert first["responses_per_second"] > 0
    assert first["peak_memory_gb"] > 0


def test_adapter_off_is_the_reference(tmp_path, rows, tokenizer):
    base = make_llama(tokenizer)
    before = weights(base)
    lora = LoraConfig(r=2, target_modules="all-linear")
    run = trainer(tmp_path, base, rows, tokenizer, peft_config=lora, optim="adamw_torch", max_steps=5)
    run.train()
    after = {
        name.replace("base_model.model.", "").replace(".base_layer", ""): t for name, t in weights(run.model).items()
    }
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor)
    with torch.no_grad(), run.model.disable_adapter():
        batch = run._collator.batch(run.train_dataset.table, range(16))
        scores = run._logps(run.model, batch).total.double().numpy()
    np.testing.assert_allclose(scores, run.train_dataset.reference.logps, atol=1e-4)


STARTS = ["pissa", "pissa_niter_2", "olora", False]


@pytest.mark.parametrize("start", STARTS)
def test_an_adapter_that_does_not_start_at_the_reference_is_an_error(tmp_path, model, rows, tokenizer, start):
    """Some initialisations change the weights of the model itself, and some the output."""
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=start)
    words = "changed the weights of the model itself" if start else "would not start at the reference"
    with pytest.raises(ConfigError, match=words):
        trainer(tmp_path, model, rows, tokenizer, peft_config=lora)


@pytest.mark.parametrize("start", [True, "gaussian", "orthogonal", "mica"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_adapter_that_starts_at_zero_is_taken(tmp_path, model, rows, tokenizer, start, dtype):
    lora = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=start)
    run = trainer(tmp_path, model.to(dtype), rows, tokenizer, peft_config=lora)
    noise = step_zero_noise(run)
    assert noise["rho_max"] <= (1e-6 if dtype == torch.float32 else 1e-2) * noise["logp_max"] + 1e-4


def test_an_adapter_that_was_put_on_before_is_checked_by_its_initialisation(tmp_path, rows, tokenizer):
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights="pissa")
    with pytest.raises(ConfigError, match="init_lora_weights='pissa'"):
        trainer(tmp_path, add_adapter(make_llama(tokenizer), lora), rows, tokenizer)


def test_such_an_adapter_trains_beside_the_untouched_model_or_without_a_reference(tmp_path, rows, tokenizer):
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights="pissa")
    untouched = {"reference_model": make_llama(tokenizer)}
    run = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, peft_config=lora, **untouched)
    noise = step_zero_noise(run)
    assert noise["rho_max"] <= 1e-5 * noise["logp_max"] + 1e-4
    trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, SFT(), peft_config=lora).train()


def test_a_reference_of_another_dtype_is_an_error(tmp_path, model, rows, tokenizer):
    reference = copy.deepcopy(model).to(torch.bfloat16)
    with pytest.raises(ConfigError, match="Load both in the same dtype"):
        trainer(tmp_path, model, rows, tokenizer, reference_model=reference)


def test_reward_scaler_is_fitted_on_train_alone_and_saved(tmp_path, rows, tokenizer):
    train, held_out = rows.select(range(8)), rows.select(range(8, 16))
    held_out = held_out.remove_columns("prompt_id").add_column("prompt_id", [0, 0] + [1] * 6)
    run = trainer(tmp_path, make_t5(tokenizer), train, tokenizer, eval_dataset=held_out)
    assert run.reward_scaler == RewardScaler.fit(train["reward"])
    np.testing.assert_allclose(run.eval_dataset.rewards, run.reward_scaler.transform(held_out["reward"]))
    run.save_model(str(tmp_path / "saved"))
    assert RewardScaler.load(tmp_path / "saved") == run.reward_scaler
    assert math.isfinite(run.evaluate()["eval_loss"])


def test_early_stopping_on_the_held_out_loss(tmp_path, rows, tokenizer):
    run = trainer(
        tmp_path,
        make_t5(tokenizer),
        rows,
        tokenizer,
        eval_dataset=rows,
        callbacks=[EarlyStoppingCallback(2)],
        learning_rate=0.0,
        max_steps=50,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
    )
    run.train()
    assert run.state.global_step == 3


# ----------------------------------------------------------------------------------------------------------- resume


class StopAt(TrainerCallback):
    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True


@pytest.mark.parametrize(
    ("stop", "order"),
    [(2, {}), (4, {}), (5, {}), (5, {"train_sampling_strategy": "group_by_length"}), (5, {"batch_tokens": 60})],
    ids=str,
)
def test_resume_equals_uninterrupted(tmp_path, rows, tokenizer, stop, order):
    """Stopped within the first and within a later epoch (4 steps each)."""
    settings = {"optim": "adamw_torch", "max_steps": 9, "per_device_train_batch_size": 2, "lr_scheduler_type": "linear"}
    settings |= {"gradient_accumulation_steps": 2, **order}
    whole = trainer(tmp_path / "a", make_llama(tokenizer), rows, tokenizer, **settings)
    whole.train()
    first = trainer(tmp_path / "b", make_llama(tokenizer), rows, tokenizer, callbacks=[StopAt(stop)], **settings)
    first.train()
    assert first.state.global_step == stop
    second = trainer(tmp_path / "b", make_llama(tokenizer), rows, tokenizer, **settings)
    second.train(resume_from_checkpoint=True)
    for name, tensor in weights(whole.model).items():
        assert torch.equal(weights(second.model)[name], tensor)


SCRIPT = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import torch
from conftest import make_llama
from transformers import AutoTokenizer, TrainerCallback
from valuefree.training.callbacks import StopOnSignal
from valuefree.data import read_triplets
from valuefree.objectives import RPO
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments

class Kill(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGTERM)

folder, resume = sys.argv[2], sys.argv[3] == "resume"
tokenizer = AutoTokenizer.from_pretrained(sys.argv[6])  # trained anew it would differ between processes
torch.set_num_threads(1)
args = PolicyTrainingArguments(output_dir=folder, per_device_train_batch_size=4, max_steps=8, save_strategy="no",
    report_to=[], disable_tqdm=True, use_cpu=True, seed=1, learning_rate=0.01)
trainer = PolicyTrainer(make_llama(tokenizer), RPO(), args, read_triplets(sys.argv[5]), processing_class=tokenizer,
    callbacks=[StopOnSignal(), Kill()])
trainer.train(resume_from_checkpoint=resume or None)
torch.save(trainer.model.state_dict(), folder + "/weights.pt")
print("step", trainer.state.global_step)
"""


def test_a_signal_saves_a_checkpoint_from_which_training_goes_on(tmp_path, rows, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    file = tmp_path / "rows.jsonl"
    columns = ("prompt", "response", "reward")
    file.write_text("\n".join(json.dumps({name: row[name] for name in columns}) for row in rows))

    def run(folder: str, mode: str, kill_at: int) -> str:
        command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1]), folder, mode, str(kill_at), str(file)]
        command.append(str(tmp_path / "tokenizer"))
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ), timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "step 8" in run(str(tmp_path / "whole"), "start", -1)
    assert "step 4" in run(str(tmp_path / "cut"), "start", 3)
    assert "step 8" in run(str(tmp_path / "cut"), "resume", -1)
    one, two = (torch.load(tmp_path / name / "weights.pt") for name in ("whole", "cut"))
    for name, tensor in one.items():
        assert torch.equal(two[name], tensor)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# ----------------------------------------------------------------------------------------------------------- errors


def test_missing_columns_are_named(tmp_path, rows, tokenizer):
    with pytest.raises(DataError, match=r"lacks \['reward'\]"):
        trainer(tmp_path, make_t5(tokenizer), rows.remove_columns("reward"), tokenizer)


def test_a_response_without_room_is_an_error_that_names_the_row(tmp_path, rows, tokenizer):
    long = datasets.concatenate_datasets([rows, rows.select([0]).map(lambda row: {"prompt": "the sea " * 80})])
    with pytest.raises(DataError, match=r"row 16 \(prompt .*\): the prompt alone has"):
        trainer(tmp_path, make_llama(tokenizer), long, tokenizer, max_length=64)
    run = trainer(tmp_path, make_llama(tokenizer), long, tokenizer, max_length=64, max_prompt_length=40)
    assert run.train_dataset.truncation.prompts >= 1


def test_several_gpus_in_one_process_are_refused(tmp_path, rows, tokenizer, monkeypatch):
    monkeypatch.setattr(PolicyTrainingArguments, "n_gpu", 2)
    with pytest.raises(ConfigError, match="one process sees 2 GPUs"):
        trainer(tmp_path, make_t5(tokenizer), rows, tokenizer)


def test_an_unknown_estimator_is_an_error_before_anything_is_scored(tmp_path, rows, tokenizer):
    with pytest.raises(ConfigError, match="unknown estimator 'meen'; choose from"):
        trainer(
            tmp_path, make_t5(tokenizer), rows, tokenizer, RPO(estimator="meen"), score_cache_dir=str(tmp_path / "c")
        )
    assert not (tmp_path / "c").exists()


def test_no_tokenizer_and_two_adapters_are_errors(tmp_path, rows, tokenizer):
    with pytest.raises(ConfigError, match="processing_class"):
        trainer(tmp_path, make_t5(tokenizer), rows, None)
    adapted = get_peft_model(make_llama(tokenizer), LoraConfig(r=2, target_modules="all-linear"))
    with pytest.raises(ConfigError, match="already has an adapter"):
        trainer(tmp_path, adapted, rows, tokenizer, peft_config=LoraConfig(r=2))


def test_a_reference_with_another_attention_is_scored_padded(tmp_path, rows, tokenizer):
    reference = make_llama(tokenizer)
    reference.set_attn_implementation("eager")
    run = PolicyTrainer(
        make_llama(tokenizer), RPO(), arguments(tmp_path), rows, processing_class=tokenizer, reference_model=reference
    )
    assert not run._collator.padding_free
    noise = step_zero_noise(run, batches=4)
    assert noise["rho_max"] <= 1e-6 * noise["logp_max"] + 1e-4


def test_processes_that_do_not_see_each_other_are_an_error(tmp_path, rows, tokenizer, monkeypatch):
    args = arguments(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="2 processes were started, but the training arguments see 1"):
        PolicyTrainer(make_t5(tokenizer), RPO(), args, rows, processing_class=tokenizer)


@pytest.mark.parametrize("make", [make_t5, make_llama])
def test_a_token_budget_changes_how_rows_are_cut_and_not_what_is_learned_of_them(tmp_path, make, rows, tokenizer):
    """All 16 rows in one step, whole, and in micro-batches of at most 90 positions: the same weights."""
    whole, losses = step_weights(tmp_path, make, rows, tokenizer, RPO(), 16, 1)
    run = trainer(tmp_path, make(tokenizer), rows, tokenizer, RPO(), batch_tokens=90, max_steps=1)
    micro_batches = len(run.get_train_dataloader())
    assert micro_batches > 2
    parts, same = step_weights(tmp_path, make, rows, tokenizer, RPO(), 16, micro_batches, batch_tokens=90)
    assert same == pytest.approx(losses, rel=1e-4)
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, atol=2e-6, rtol=1e-4)


def test_the_padding_share_is_logged_and_lengths_are_grouped_only_where_there_is_padding(tmp_path, rows, tokenizer):
    shares, strategies = {}, {}
    for packed in (True, False):
        run = trainer(tmp_path, make_t5(tokenizer), rows, tokenizer, padding_free=packed)
        strategies[packed] = run.get_train_dataloader().batch_sampler.strategy
        run.train()
        shares[packed] = run.state.log_history[0]["padding_share"]
    assert shares[True] == 0.0
    assert 0.0 < shares[False] < 1.0
    assert strategies == {True: "random", False: "group_by_length"}
    with pytest.raises(ConfigError, match="train_sampling_strategy is 'longest'"):
        arguments(tmp_path, train_sampling_strategy="longest")
