"""The value network: what it computes, what trains it, and that the policy is saved without it."""

import json

import numpy as np
import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from conftest import MAKERS, make_llama, make_t5
from training.test_trainer import StopAt, trainer, weights
from valuefree.batches.collate import prompt_batch
from valuefree.errors import ConfigError
from valuefree.models.fingerprints import model_fingerprint
from valuefree.models.logprobs import response_logps
from valuefree.models.modules import backbone_of
from valuefree.models.value_network import ValueNetwork, attach, check_sharding, network_of
from valuefree.objectives import DRO, RPO

PROMPTS = [[5, 6, 7, 8], [9, 3]]


@pytest.mark.parametrize("make", [make_t5, make_llama])
@pytest.mark.parametrize("shared", [False, True])
def test_it_starts_at_zero_and_is_the_mean_of_the_tokens_values(tokenizer, make, shared):
    model = make(tokenizer)
    network = ValueNetwork(model, shared_encoder=shared)
    batch = prompt_batch(PROMPTS, 0)
    assert network(model, batch).tolist() == [0.0, 0.0]
    torch.nn.init.normal_(network.head.weight if not shared else network.head[-1].weight)
    values = network(model, batch)
    for ids, value in zip(PROMPTS, values, strict=True):
        states = backbone_of(model)(input_ids=torch.tensor([ids])).last_hidden_state[0]
        expected = network.head(states).mean() if not shared else network.head(states.mean(0))
        assert value.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)


def test_a_separate_one_takes_no_gradient_into_the_policy_and_a_shared_one_does(tokenizer):
    for shared in (False, True):
        model = make_llama(tokenizer)
        network = ValueNetwork(model, shared_encoder=shared)
        torch.nn.init.normal_(network.head[-1].weight if shared else network.head.weight)
        network(model, prompt_batch(PROMPTS, 0)).sum().backward()
        assert any(weight.grad is not None for weight in model.parameters()) == shared


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_the_reference_does_not_see_it(tokenizer, kind):
    model = MAKERS[kind](tokenizer)
    before = model_fingerprint(model, adapter=False)
    names = set(model.state_dict())
    attach(model, ValueNetwork(model))
    assert model_fingerprint(model, adapter=False) == before
    assert set(model.state_dict()) == names
    assert any("value_network" in name for name, _ in model.named_parameters())
    assert not model.load_state_dict(model.state_dict(), strict=True).missing_keys
    attach(model, None)
    assert network_of(model) is None


def test_the_adapter_of_the_policy_starts_the_same_beside_it(tmp_path, rows, tokenizer):
    lora = LoraConfig(r=2, target_modules="all-linear")
    states = []
    for objective in (RPO(), DRO()):
        torch.manual_seed(1)
        run = trainer(tmp_path, make_llama(tokenizer, seed=5), rows, tokenizer, objective, peft_config=lora)
        states.append(run.model.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    trained = network_of(run.model).trained()
    assert any("lora_A" in name for name in trained)
    assert all("lora" in name or name.startswith("head") for name in trained)


@pytest.mark.parametrize(
    ("kind", "adapter", "objective"),
    [
        ("llama", False, DRO()),
        ("llama", True, DRO()),
        ("t5", False, DRO(shared_encoder=True)),
        ("llama", True, RPO(estimator="learned")),
    ],
    ids=["full", "lora", "t5-shared", "lora-rpo"],
)
def test_resume_equals_uninterrupted_and_the_policy_is_saved_alone(tmp_path, rows, tokenizer, kind, adapter, objective):
    lora = {"peft_config": LoraConfig(r=2, target_modules="all-linear")} if adapter else {}
    settings = {"optim": "adamw_torch", "max_steps": 5, "per_device_train_batch_size": 4, "lr_scheduler_type": "linear"}

    def run_in(folder: str, **more):
        torch.manual_seed(0)
        return trainer(
            tmp_path / folder, MAKERS[kind](tokenizer), rows, tokenizer, objective, **settings, **lora, **more
        )

    whole = run_in("a")
    whole.train()
    run_in("b", callbacks=[StopAt(3)]).train()
    checkpoint = tmp_path / "b" / "checkpoint-3"
    stored = load_file(checkpoint / "value_network.safetensors")
    second = run_in("b")
    second.train(resume_from_checkpoint=True)
    one, two = weights(whole.model), weights(second.model)
    assert any("value_network" in name for name in one)
    assert all(torch.equal(two[name], tensor) for name, tensor in one.items())
    after = network_of(second.model).trained()
    assert stored.keys() == after.keys()
    assert any(not torch.equal(stored[name], weight) for name, weight in after.items())

    second.save_model(str(tmp_path / "model"))
    assert not (tmp_path / "model" / "value_network.safetensors").exists()
    for folder in (tmp_path / "model", checkpoint):
        file = folder / ("adapter_model.safetensors" if adapter else "model.safetensors")
        assert not [name for name in load_file(file) if "value_network" in name]
    if not adapter:
        auto = AutoModelForCausalLM if kind == "llama" else AutoModelForSeq2SeqLM
        loaded, info = auto.from_pretrained(tmp_path / "model", output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        for name, tensor in loaded.state_dict().items():
            assert torch.equal(two[name], tensor)


def test_an_adapter_trained_beside_it_loads_on_its_base(tmp_path, rows, tokenizer):
    make_llama(tokenizer).save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    lora = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    run = trainer(tmp_path, base, rows, tokenizer, DRO(), peft_config=lora, optim="adamw_torch")
    run.train()
    run.save_model(str(tmp_path / "model"))
    assert json.loads((tmp_path / "model" / "adapter_config.json").read_text())["task_type"] == "CAUSAL_LM"
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "model")
    batch = run._collator.batch(run.train_dataset.table, range(8))
    with torch.no_grad():
        same = response_logps(loaded, batch).total - response_logps(run.model, batch).total
    assert same.abs().max() < 1e-4


def test_a_checkpoint_without_it_is_an_error(tmp_path, rows, tokenizer):
    first = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, callbacks=[StopAt(1)])
    first.train()
    second = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, DRO())
    with pytest.raises(ConfigError, match="the value network cannot resume"):
        second.train(resume_from_checkpoint=True)


# ------------------------------------------------------------------------------------------------------ learning rates


def one_step(tmp_path, rows, tokenizer, objective, **changes) -> dict[str, torch.Tensor]:
    """What one SGD step of 16 rows adds to each parameter."""
    settings = {"per_device_train_batch_size": 16, "max_steps": 1, "learning_rate": 1e-2, **changes}
    run = trainer(tmp_path, make_llama(tokenizer).double(), rows, tokenizer, objective, **settings)
    before = {name: weight.detach().clone() for name, weight in run.model.named_parameters()}
    run.train()
    return {name: weight.detach() - before[name] for name, weight in run.model.named_parameters()}


def policy_part(moves: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([move.flatten() for name, move in moves.items() if "value_network" not in name])


@pytest.mark.parametrize("tau", [0.25, 2.0])
def test_updates_of_rpo_dro_and_rescaled_dro_are_as_1_tau_squared_tau(tmp_path, rows, tokenizer, tau):
    """In float64 at the first step V is 0 everywhere: RPO with V̂ = 0 has the same target."""
    rpo = policy_part(one_step(tmp_path, rows, tokenizer, RPO(tau=tau, estimator="zero", level=float("inf"))))
    plain = policy_part(one_step(tmp_path, rows, tokenizer, DRO(tau=tau, rescale=False)))
    rescaled = policy_part(one_step(tmp_path, rows, tokenizer, DRO(tau=tau)))
    scale = rpo.abs().max()
    torch.testing.assert_close(plain / scale, tau**2 * rpo / scale, atol=1e-6, rtol=0)
    torch.testing.assert_close(rescaled / scale, tau * rpo / scale, atol=1e-6, rtol=0)
    torch.testing.assert_close(rescaled / scale, plain / tau / scale, atol=1e-6, rtol=0)


def test_the_value_network_learns_at_its_own_rate(tmp_path, rows, tokenizer):
    slow = one_step(tmp_path, rows, tokenizer, DRO(tau=0.5))
    fast = one_step(tmp_path, rows, tokenizer, DRO(tau=0.5, value_lr=3e-2))
    name = "value_network.head.bias"
    assert fast[name].item() == pytest.approx(3 * slow[name].item(), rel=1e-9)
    torch.testing.assert_close(policy_part(fast), policy_part(slow))


def test_weight_decay_is_split_as_transformers_splits_it(tmp_path, rows, tokenizer):
    run = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, DRO(tau=0.5), weight_decay=0.1, max_steps=1)
    run.train()
    name_of = {id(weight): name for name, weight in run.model.named_parameters()}
    found = {}
    for group in run.optimizer.param_groups:
        for weight in group["params"]:
            found[name_of[id(weight)]] = (group["lr"], group["weight_decay"])
    assert found["lm_head.weight"] == (2e-3, 0.1)
    assert found["model.norm.weight"] == (2e-3, 0.0)
    assert found["value_network.backbone.layers.0.mlp.up_proj.weight"] == (1e-3, 0.1)
    assert found["value_network.backbone.norm.weight"] == (1e-3, 0.0)
    assert found["value_network.head.bias"] == (1e-3, 0.0)
    assert len(found) == len(name_of)


def test_dro_learns_values_that_differ_by_prompt(tmp_path, rows, tokenizer):
    """One prompt is rewarded +1, the other −1, each with one response: V tends there when the policy hardly moves."""
    pair = rows.select([0, 4]).remove_columns(["reward", "prompt_id"])
    pair = pair.add_column("reward", [1.0, -1.0]).add_column("prompt_id", [0, 1])
    settings = {"optim": "adamw_torch", "max_steps": 60, "learning_rate": 1e-6, "per_device_train_batch_size": 2}
    run = trainer(tmp_path, make_llama(tokenizer), pair, tokenizer, DRO(value_lr=1e-2), **settings)
    run.train()
    prompts = run.train_dataset.table["prompt_ids"][:]
    with torch.no_grad():
        values = network_of(run.model)(run.model, prompt_batch(prompts, 0)).numpy()
    np.testing.assert_allclose(values, [1.0, -1.0], atol=0.1)


def test_sharding_that_could_not_save_it_is_refused():
    class Plugin:
        zero_stage, fsdp_version = 3, 1

    class State:
        deepspeed_plugin, fsdp_plugin = Plugin(), None

    with pytest.raises(ConfigError, match="ZeRO-3"):
        check_sharding(State())
    State.deepspeed_plugin, State.fsdp_plugin = None, Plugin()
    with pytest.raises(ConfigError, match="fsdp_version: 2"):
        check_sharding(State())
    Plugin.fsdp_version = 2
    check_sharding(State())
