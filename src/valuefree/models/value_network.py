"""A value network V_φ(x) for objectives that learn one, saved and loaded apart from the policy."""

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
from valuefree.models.adapters import has_adapter
from valuefree.models.modules import backbone_of, unwrap_model

NAME = "value_network"  # name of the policy's submodule, which `valuefree.models.logprobs` calls
FILE_NAME = "value_network.safetensors"


def prompt_means(backbone: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Mean of the last hidden states over each prompt's tokens, at least float32, shape (P, d).

    batch: input_ids and attention_mask, (P, L), padded on the right.
    """
    accepted = inspect.signature(backbone.forward).parameters
    options = {"use_cache": False} if "use_cache" in accepted else {}
    mask = batch["attention_mask"]
    states = backbone(input_ids=batch["input_ids"], attention_mask=mask, **options).last_hidden_state
    states = states.to(torch.promote_types(states.dtype, torch.float32))
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


class ValueNetwork(nn.Module):
    """One value per prompt: a head on the mean hidden state of the prompt's tokens.

    Its gradients have to be averaged over processes together with the policy's. It is therefore a submodule of the
    policy, and one forward pass runs both. The policy's `state_dict` leaves it out; its own holds all trained weights.

    Args:
        model: the policy before its adapter is added. The part that reads prompts is copied; if the policy has an
            adapter already, without the adapter.
        shared_encoder: no copy, but two layers on the policy's own hidden states, with gradient into the policy.
        peft_config: adapter of the copy, whose other weights are then frozen.
    """

    def __init__(self, model: Any, *, shared_encoder: bool = False, peft_config: Any = None):
        super().__init__()
        if has_adapter(model):
            peft_config = peft_config or model.active_peft_config
            model = model if shared_encoder else copy.deepcopy(model).unload()
        core = unwrap_model(model)
        weight = next(core.parameters())
        width = int(core.config.get_text_config().hidden_size)
        like_policy: dict[str, Any] = {"dtype": weight.dtype, "device": weight.device}
        # The random state is restored, so that the policy's adapter starts the same with and without a value network.
        with torch.random.fork_rng(devices=[]):
            last = nn.Linear(width, 1, **like_policy)
            hidden_layers = [nn.Linear(width, width, **like_policy), nn.ReLU()] if shared_encoder else []
            self.head = nn.Sequential(*hidden_layers, last) if shared_encoder else last
            self.backbone = None if shared_encoder else _copied(core, peft_config)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, core: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Values of the prompts of `batch` (see `prompt_means`), at least float32, shape (P,)."""
        means = prompt_means(backbone_of(core) if self.backbone is None else self.backbone, batch)
        weight = next(self.head.parameters())
        values = self.head(means.to(weight.dtype)).squeeze(-1)
        return values.to(torch.promote_types(values.dtype, torch.float32))

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The weights of this module; nothing if a parent module collects the weights of its submodules."""
        if kwargs.get("destination") is not None:
            return kwargs["destination"]
        return super().state_dict(*args, **kwargs)

    def trained(self) -> dict[str, nn.Parameter]:
        """Parameters that training changes."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    def whole(self) -> dict[str, Tensor]:
        """The trained weights on the CPU, as `load` reads them; sharded weights are gathered.

        All processes have to call this method.
        """
        return {
            name: (weight.full_tensor() if isinstance(weight, DTensor) else weight).detach().cpu().contiguous()
            for name, weight in self.trained().items()
        }

    def load(self, folder: str | Path) -> None:
        """Load the weights that `save` wrote.

        Raises:
            ConfigError: no such file, or the file of another network.
        """
        file = Path(folder) / FILE_NAME
        if not file.exists():
            raise ConfigError(f"{file} does not exist, so the value network cannot resume from {folder}. Start anew.")
        stored, trained = load_file(file), self.trained()
        if stored.keys() != trained.keys():
            different = sorted(stored.keys() ^ trained.keys())[:5]
            raise ConfigError(f"{file} belongs to another value network: only one of the two has {different}.")
        with torch.no_grad():
            for name, weight in trained.items():
                value = stored[name].to(weight.device)
                if isinstance(weight, DTensor):
                    value = distribute_tensor(value, weight.device_mesh, weight.placements)
                weight.copy_(value)


def save(weights: Mapping[str, Tensor], folder: str | Path) -> None:
    """Write the weights of `ValueNetwork.whole` to ``value_network.safetensors`` in `folder`."""
    save_file(dict(weights), Path(folder) / FILE_NAME)


def attach(policy: nn.Module, network: ValueNetwork | None) -> None:
    """Make `network` a submodule of the policy; None removes the network of an earlier run."""
    core = unwrap_model(policy)
    if hasattr(core, NAME):
        delattr(core, NAME)
    if network is None:
        return
    core.add_module(NAME, network)
    core.register_load_state_dict_post_hook(_ignore_missing)


def _ignore_missing(core: nn.Module, incompatible: Any) -> None:
    """Accept a policy's state without the weights of a value network."""
    missing = [name for name in incompatible.missing_keys if NAME not in name.split(".")]
    incompatible.missing_keys[:] = missing


def check_sharding(state: Any) -> None:
    """Raise ConfigError if the weights of a value network cannot be saved under this kind of sharding.

    state: state of the accelerator.
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
    """A copy of the part that reads prompts, with a separate adapter on the same modules as the policy's adapter."""
    if peft_config is None:
        return copy.deepcopy(backbone_of(core))
    from peft import inject_adapter_in_model  # noqa: PLC0415  peft takes a second to import

    config = copy.deepcopy(peft_config)
    config.task_type = config.modules_to_save = None  # the copy has no head
    # The adapter may name modules by their full path, so it is added to a copy of the whole model.
    return backbone_of(inject_adapter_in_model(config, copy.deepcopy(core)))


def split_groups(optimizer: torch.optim.Optimizer, network: ValueNetwork | None, rates: Mapping[str, float]) -> None:
    """Give the policy and the value network separate parameter groups and learning rates.

    Each new group keeps the weight decay of its parameters.
    """
    value_ids = {id(weight) for weight in network.parameters()} if network is not None else set()
    for group in list(optimizer.param_groups):
        value = [weight for weight in group["params"] if id(weight) in value_ids]
        group["params"] = [weight for weight in group["params"] if id(weight) not in value_ids]
        group["lr"] = rates["policy"]
        if value:
            rest = {name: setting for name, setting in group.items() if name != "params"}
            optimizer.add_param_group({**rest, "params": value, "lr": rates["value"]})
