"""What test_distributed.py starts under torchrun: trains or scores, and leaves what came out in a folder."""

import gc
import json
import os
import sys
from pathlib import Path

import torch
from torch import distributed as dist
from torch.distributed.tensor import DTensor
from transformers import AutoTokenizer, TrainerCallback

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import MAKERS
from valuefree.data import read_triplets
from valuefree.objectives import DPO, DRO, KTO, RPO, SFT
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments

OBJECTIVES = {"rpo": RPO(target_std=2.0), "sft": SFT(), "kto": KTO(beta=1.0), "dro": DRO(), "dpo": DPO(pairs="all")}


def full(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


class Gradients(TrainerCallback):
    """Keeps the gradients of the first step."""

    def __init__(self) -> None:
        self.first: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if not self.first:
            named = model.module if hasattr(model, "module") else model
            self.first = {name: full(p.grad) for name, p in named.named_parameters() if p.grad is not None}


def main(folder: Path, kind: str, objective: str, batch_size: int, accumulation: int, steps: int) -> None:
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    rows = read_triplets(folder / "rows.jsonl")
    args = PolicyTrainingArguments(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        per_device_eval_batch_size=5,
        max_steps=steps,
        learning_rate=0.05,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0.0,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        logging_steps=1,
        use_cpu=True,
        ddp_backend="gloo" if "RANK" in os.environ else None,
        seed=3,
        score_cache_dir=str(folder / "scores"),
    )
    gradients = Gradients()
    trainer = PolicyTrainer(
        MAKERS[kind](tokenizer),
        OBJECTIVES[objective],
        args,
        rows,
        eval_dataset=rows,
        processing_class=tokenizer,
        callbacks=[gradients],
    )
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    evaluation = trainer.evaluate()
    if args.process_index == 0:
        model = trainer.accelerator.unwrap_model(trainer.model)
        weights = {name: full(tensor) for name, tensor in [*model.state_dict().items(), *model.named_parameters()]}
        reference = trainer.train_dataset.reference
        found = {"weights": weights, "gradients": gradients.first, "logs": logs, "evaluation": evaluation}
        found["scored"] = reference.scored if reference else 0
        torch.save(found, folder / f"{args.world_size}.pt")
        (folder / f"{args.world_size}.json").write_text(json.dumps({"wrapped": type(trainer.model_wrapped).__name__}))


def end() -> None:
    """Leave the group, with whatever was trained let go of first.

    A reducer of DDP that outlives the group ends it: it then joins gloo's threads while it holds the interpreter's
    lock, which one of them may be waiting for.
    """
    gc.collect()
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], *map(int, sys.argv[4:7]))
    end()
