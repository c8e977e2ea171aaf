"""Every objective in the trainer: it trains, both networks where there are two, and what it asks for is what it gets."""

import datasets
import pytest
import torch
from peft import LoraConfig

from conftest import MAKERS, make_llama
from test_trainer import trainer, weights
from valuefree.objectives import DPO, DRO, IPO, KTO, NCA, RPO, SFT, SLiC
from valuefree.value_network import network_of

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
    assert (network is not None) == ("learned" in OBJECTIVES[name].requires)
    if network is not None:
        assert any("value_network.head" in name for name in changed)
        assert any("value_network.backbone" in name for name in changed) == (network.backbone is not None)
    if adapter:
        assert all("lora" in name or "value_network.head" in name for name in changed)
