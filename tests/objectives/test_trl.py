"""Loss and gradient of DPO, IPO, SLiC and KTO equal those of TRL's trainers on one batch.

Policy and reference have different weights, so that no log-ratio is zero. Our side takes the token ids that TRL made.
"""

import copy

import datasets
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from conftest import make_llama
from valuefree.batches.collate import Collator
from valuefree.models.logprobs import response_logps
from valuefree.objectives import DPO, IPO, KTO, Objective, ObjectiveInputs, SLiC
from valuefree.training.mismatched_pairs import MismatchedPairs
from valuefree.training.scored_dataset import RowCollator, ScoredDataset

trl = pytest.importorskip("trl")

ROWS = [
    ("Name three fruits. ", "Apples, pears and plums", "bread"),
    ("Why do cats purr? ", "they are content", "Because the dough is hungry, or both, and blue"),
    ("Give a tip about bread. ", "Knead the dough well; let it rest for an hour!", "The sea"),
]
BETA = 0.3


@pytest.fixture
def models(tokenizer):
    return make_llama(tokenizer, seed=1), make_llama(tokenizer, seed=2)


@pytest.fixture
def own_tokenizer(tokenizer):
    """TRL changes the tokenizer that it is given."""
    return PreTrainedTokenizerFast(
        tokenizer_object=copy.deepcopy(tokenizer._tokenizer), pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def settings(folder) -> dict:
    plain = {"report_to": [], "use_cpu": True, "bf16": False, "disable_dropout": True, "max_length": None}
    return {"output_dir": str(folder), "per_device_train_batch_size": 6, **plain, "gradient_checkpointing": False}


def trl_gradients(trainer, model) -> tuple[float, dict[str, torch.Tensor], list[dict]]:
    examples = list(trainer.train_dataset)
    loss = trainer.compute_loss(model, trainer.data_collator(examples))
    loss.backward()
    return loss.item(), {name: weight.grad.clone() for name, weight in model.named_parameters()}, examples


def our_inputs(policy, reference, columns: dict[str, list], rewards: list[float], *, kl_estimate=None, made=None):
    batch = Collator(0, encoder_decoder=False).tensors(columns)
    found = response_logps(policy, batch)
    with torch.no_grad():
        scores = response_logps(reference, batch).total.double()
    prompt_of = torch.tensor(columns["prompt_id"])
    data = (found.total.double(), found.tokens, torch.tensor(rewards, dtype=torch.float64), prompt_of)
    step = {} if kl_estimate is None else {"kl_estimate": kl_estimate}
    return ObjectiveInputs(*data, torch.bincount(prompt_of)[prompt_of], scores, step_inputs=step, columns=made or {})


def assert_same(objective: Objective, given: ObjectiveInputs, policy, count: float, theirs) -> None:
    loss = objective(given).losses.sum() / count
    loss.backward()
    assert loss.item() == pytest.approx(theirs[0], rel=1e-5)
    scale = max(float(gradient.abs().max()) for gradient in theirs[1].values())
    for name, weight in policy.named_parameters():
        worst = float((weight.grad - theirs[1][name]).abs().max())
        assert worst <= 1e-5 * max(float(theirs[1][name].abs().max()), 1e-2 * scale), name


@pytest.mark.parametrize(
    ("loss_type", "objective"),
    [("sigmoid", DPO(beta=BETA)), ("ipo", IPO(beta=BETA)), ("hinge", SLiC(beta=BETA))],
    ids=["dpo", "ipo", "slic"],
)
def test_pairwise_losses_and_gradients_are_those_of_trl(tmp_path, models, own_tokenizer, loss_type, objective):
    """TRL's IPO takes token means, as ours does by default; both average over pairs."""
    policy, reference = models
    ours = copy.deepcopy(policy)
    names = ("prompt", "chosen", "rejected")
    trainer = trl.DPOTrainer(
        policy,
        copy.deepcopy(reference),
        trl.DPOConfig(**settings(tmp_path), loss_type=[loss_type], beta=BETA),
        train_dataset=datasets.Dataset.from_list([dict(zip(names, row, strict=True)) for row in ROWS]),
        processing_class=own_tokenizer,
    )
    *theirs, examples = trl_gradients(trainer, policy)
    columns = {
        "prompt_ids": [example["prompt_ids"] for example in examples for _ in range(2)],
        "response_ids": [example[name] for example in examples for name in ("chosen_ids", "rejected_ids")],
        "prompt_id": [0, 0, 1, 1, 2, 2],
    }
    given = our_inputs(ours, reference, columns, [1.0, 0.0] * 3)
    assert given.logratios().detach().abs().min() > 1e-2
    assert_same(objective, given, ours, len(examples), theirs)


@pytest.mark.parametrize("swapped", [False, True], ids=["as-given", "swapped"])
def test_kto_and_its_gradient_are_those_of_trl(tmp_path, models, own_tokenizer, swapped):
    """TRL mismatches by rotating the responses of a batch by one, which may meet the same prompt again; ours draws them
    from other prompts of the whole data set. So ours gets TRL's pairs here, through the same function as in training.

    With policy and reference swapped, the mean log-ratio of the pairs changes its sign: clamped once, and once not.
    """
    policy, reference = reversed(models) if swapped else models
    ours = copy.deepcopy(policy)
    rows = [
        {"prompt": prompt, "completion": text, "label": liked}
        for prompt, *texts in ROWS
        for text, liked in zip(texts, (True, False), strict=True)
    ]
    weights = {"desirable_weight": 1.5, "undesirable_weight": 0.5}
    trainer = trl.KTOTrainer(
        policy,
        copy.deepcopy(reference),
        trl.KTOConfig(**settings(tmp_path), beta=BETA, **weights),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=own_tokenizer,
    )
    *theirs, examples = trl_gradients(trainer, policy)
    names = {"prompt_ids": "prompt_ids", "response_ids": "completion_ids"}
    columns = {own: [example[name] for example in examples] for own, name in names.items()}
    columns["prompt_id"] = list(range(6))  # TRL ends a prompt where its tokens merge with the response
    partners = torch.arange(6).roll(1).numpy()
    assert [example["KL_completion_ids"] for example in examples] == [columns["response_ids"][k] for k in partners]
    pairs = columns | {"response_ids": [columns["response_ids"][k] for k in partners]}
    collator = Collator(0, encoder_decoder=False)
    with torch.no_grad():
        scores = response_logps(reference, collator.tensors(pairs)).total.double().numpy()
    collator = Collator(0, encoder_decoder=False)
    drawn = MismatchedPairs(collator, None, [partners], [scores])
    table = datasets.Dataset.from_dict(columns)
    prepared = ScoredDataset(table, None, *3 * [torch.tensor(columns["prompt_id"]).numpy()])

    def logps(batch):
        with torch.no_grad():
            return response_logps(ours, batch).total

    batches = [RowCollator(prepared, collator)(rows) for rows in ([0, 1, 2, 3], [4, 5])]
    kl_estimate = drawn.compute(prepared, batches, logps, 0, torch.device("cpu"))
    assert max(float(kl_estimate), 0.0) == pytest.approx(
        trainer._metrics["eval"]["kl"][0], abs=1e-5
    )  # sums of −60 nats in float32
    assert (float(kl_estimate) > 0) == swapped
    desirable = torch.tensor([example["label"] for example in examples])
    given = our_inputs(ours, reference, columns, [0.0] * 6, kl_estimate=kl_estimate, made={"desirable": desirable})
    assert_same(KTO(beta=BETA, **weights), given, ours, len(examples), theirs)
