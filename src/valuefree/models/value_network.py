"""A value V_φ(x) beside the policy, for objectives that learn one; it is not saved or loaded with the policy."""

import copy
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from valuefree.errors import ConfigError
from valuefree.models.load import backbone_of, has_adapter, unwrap_model

NAME = "value_network"  # of the submodule of the policy, which `valuefree.models.logprobs` calls
FILE_NAME = "value_network.safetensors"


def prompt_means(backbone: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Mean over each prompt's tokens of the last hidden states, float32 at least, shape (P, d).

    batch: input_ids and attention_mask, (P, L), padded at the end.
    """
    accepted = inspect.signature(backbone.forward).parameters
    options = {"use_cache": False} if "use_cache" in accepted else {}
    mask = batch["attention_mask"]
    states = backbone(input_ids=batch["input_ids"], attention_mask=mask, **options).last_hidden_state
    states = states.to(torch.promote_types(states.dtype, torch.float32))
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


class ValueNetwork(nn.Module):
    """One value per prompt: that of each token of the prompt, averaged under the mask.

    Its gradients have to be averaged over processes with the policy's, so it lives inside the policy as a submodule,
    and the same forward pass runs both. `state_dict` of the policy leaves it out; its own has all that is trained.

    Args:
        model: the policy before its adapter is added; its prompt side is copied. A policy that has an adapter already
            is copied without it.
        shared_encoder: no copy, but two layers on the mean of the policy's own states, with gradient into the policy.
        peft_config: adapter of the copy, whose other weights are then frozen.
    """

    def __init__(self, model: nn.Module, *, shared_encoder: bool = False, peft_config: Any = None):
        super().__init__()
        if has_adapter(model):
            peft_config = peft_config or model.active_peft_config
            model = model if shared_encoder else copy.deepcopy(model).unload()  # type: ignore[operator]
        core = unwrap_model(model)
        weight = next(core.parameters())
        width = int(core.config.get_text_config().hidden_size)  # type: ignore[union-attr, operator]
        place: dict[str, Any] = {"dtype": weight.dtype, "device": weight.device}
        # The policy's adapter shall start the same whether or not there is a value network.
        with torch.random.fork_rng(devices=[]):
            last = nn.Linear(width, 1, **place)
            self.head = nn.Sequential(nn.Linear(width, width, **place), nn.ReLU(), last) if shared_encoder else last
            self.backbone = None if shared_encoder else _copied(core, peft_config)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, core: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Values of the prompts of `batch` (see `prompt_means`), float32 at least, shape (P,)."""
        means = prompt_means(backbone_of(core) if self.backbone is None else self.backbone, batch)
        weight = next(self.head.parameters())
        values = self.head(means.to(weight.dtype)).squeeze(-1)
        return values.to(torch.promote_types(values.dtype, torch.float32))

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Its own weights; nothing where a module around it collects its parts."""
        if kwargs.get("destination") is not None:
            return kwargs["destination"]
        return super().state_dict(*args, **kwargs)

    def trained(self) -> dict[str, nn.Parameter]:
        """Parameters that training changes."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    def whole(self) -> dict[str, Tensor]:
        """What `load` reads, gathered from all processes where it is sharded; each has to call it."""
        return {
            name: (weight.full_tensor() if isinstance(weight, DTensor) else weight).detach().cpu().contiguous()
            for name, weight in self.trained().items()
        }

    def load(self, folder: str | Path) -> None:
        """Take the weights that `save` wrote.

        Raises:
            ConfigError: no such file, or one of another network.
        """
        file = Path(folder) / FILE_NAME
        if not file.exists():
            raise ConfigError(f"{file} is not there, so the value network cannot go on from {folder}. Start anew.")
        stored, own = load_file(file), self.trained()
        if stored.keys() != own.keys():
            strange = sorted(stored.keys() ^ own.keys())[:5]
            raise ConfigError(f"{file} belongs to another value network: {strange} stand in only one of the two.")
        with torch.no_grad():
            for name, weight in own.items():
                value = stored[name].to(weight.device)
                if isinstance(weight, DTensor):
                    value = distribute_tensor(value, weight.device_mesh, weight.placements)
                weight.copy_(value)


def save(weights: Mapping[str, Tensor], folder: str | Path) -> None:
    """Write ``value_network.safetensors``, given `ValueNetwork.whole`."""
    save_file(dict(weights), Path(folder) / FILE_NAME)


def attach(policy: nn.Module, network: ValueNetwork | None) -> None:
    """Make `network` a part of the policy; None takes away what an earlier run left."""
    core = unwrap_model(policy)
    if hasattr(core, NAME):
        delattr(core, NAME)
    if network is None:
        return
    core.add_module(NAME, network)
    core.register_load_state_dict_post_hook(_do_not_miss)


def _do_not_miss(core: nn.Module, incompatible: Any) -> None:
    """A state that has no value network is whole."""
    kept = [name for name in incompatible.missing_keys if NAME not in name.split(".")]
    incompatible.missing_keys[:] = kept


def check_sharding(state: Any) -> None:
    """Raise ConfigError where the weights of a value network could not be saved whole.

    state: of the accelerator.
    """
    deepspeed, fsdp = getattr(state, "deepspeed_plugin", None), getattr(state, "fsdp_plugin", None)
    if deepspeed is not None and deepspeed.zero_stage == 3:
        raise ConfigError("a value network under DeepSpeed ZeRO-3 would be saved empty. Use ZeRO-2, DDP or FSDP2.")
    if fsdp is not None and fsdp.fsdp_version == 1:
        raise ConfigError("a value network under FSDP1 cannot be saved apart from the policy. Set fsdp_version: 2.")


def network_of(policy: nn.Module) -> ValueNetwork | None:
    """The value network of a policy, if it has one."""
    return getattr(unwrap_model(policy), NAME, None)


def _copied(core: nn.Module, peft_config: Any) -> nn.Module:
    """A copy of the prompt side, with an adapter of its own on the modules that the policy's is on."""
    if peft_config is None:
        return copy.deepcopy(backbone_of(core))
    from peft import inject_adapter_in_model  # noqa: PLC0415  peft takes a second to import

    config = copy.deepcopy(peft_config)
    config.task_type = config.modules_to_save = None  # the copy has no head to keep
    # On a copy of the whole, since the adapter may name modules by their full path.
    return backbone_of(inject_adapter_in_model(config, copy.deepcopy(core)))


def split_groups(optimizer: torch.optim.Optimizer, network: ValueNetwork | None, rates: Mapping[str, float]) -> None:
    """Give the parameters of the policy and of the value network their own groups and learning rates.

    Each new group keeps the weight decay that its parameters had.
    """
    own = {id(weight) for weight in network.parameters()} if network is not None else set()
    for group in list(optimizer.param_groups):
        value = [weight for weight in group["params"] if id(weight) in own]
        group["params"] = [weight for weight in group["params"] if id(weight) not in own]
        group["lr"] = rates["policy"]
        if value:
            rest = {name: setting for name, setting in group.items() if name != "params"}
            optimizer.add_param_group({**rest, "params": value, "lr": rates["value"]})
