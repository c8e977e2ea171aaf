"""What test_distributed.py starts under torchrun: three SGD steps of RPO on weights sharded by fully_shard."""

import os
import sys
from pathlib import Path

import torch
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoTokenizer

sys.path.insert(0, str(Path(__file__).parents[1]))
from two_processes import end, full

from conftest import MAKERS
from valuefree.batches.rendering import Limits, tokenize
from valuefree.data import read_triplets
from valuefree.models.logprobs import patch_forward, response_logps
from valuefree.models.modules import is_encoder_decoder
from valuefree.objectives import rpo_loss
from valuefree.training.scored_dataset import collator_for

HALVES = [[0, 1, 2, 3, 7, 8, 9], [4, 5, 6, 10, 11, 12, 13, 14, 15]]  # whole prompts, unequal numbers


def sharded(model: torch.nn.Module) -> torch.nn.Module:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    layers = {"T5Block", "LlamaDecoderLayer"}
    for module in [module for module in model.modules() if type(module).__name__ in layers]:
        fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    for name, parameter in model.named_parameters():
        assert isinstance(parameter, DTensor), name
        assert parameter.to_local().numel() <= -(-parameter.shape[0] // 2) * (parameter.numel() // parameter.shape[0])
    return model


def main(folder: Path, kind: str) -> None:
    torch.set_num_threads(1)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group("gloo")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    model = MAKERS[kind](tokenizer)
    patch_forward(model)
    if world > 1:
        model = sharded(model)
    table, _ = tokenize(
        read_triplets(folder / "rows.jsonl"), tokenizer, limits=Limits(), encoder_decoder=is_encoder_decoder(model)
    )
    # Before any forward: after it, the root's parameters stand gathered, and are not those to be trained.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    own = HALVES[dist.get_rank()] if world > 1 else [row for half in HALVES for row in half]
    batch = collator_for(model, tokenizer).batch(table, own)
    rewards, prompts = (torch.tensor(table[own][name]) for name in ("reward", "prompt_id"))
    with torch.no_grad():
        reference = response_logps(model, batch).total
    losses, gradients = [], {}
    for _ in range(3):
        logps = response_logps(model, batch, max_logit_bytes=0).total
        loss = rpo_loss(
            logps, reference, rewards, torch.zeros_like(rewards), tau=1.0, prompt_of=prompts, level=1.0
        ).sum() / len(table)
        (loss * world).backward()
        if world > 1:
            dist.all_reduce(loss.detach())
        gradients = gradients or {name: full(p.grad) for name, p in model.named_parameters()}
        losses.append(float(loss))
        optimizer.step()
        optimizer.zero_grad()
    weights = {name: full(tensor) for name, tensor in model.state_dict().items()}
    if world == 1 or dist.get_rank() == 0:
        torch.save({"weights": weights, "gradients": gradients, "losses": losses}, folder / f"{world}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
    end()
