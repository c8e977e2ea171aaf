"""Generate responses: batched by length, seeded without changing the global random state."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import GenerationConfig, PreTrainedTokenizerBase

from valuefree.batches.collate import collate
from valuefree.batches.rendering import Prompt, cut_prompt, pad_id, prompt_ids
from valuefree.batches.turns import stop_ids
from valuefree.errors import ConfigError
from valuefree.models.modules import evaluating, is_encoder_decoder, unwrap_model
from valuefree.models.prompt_states import prompt_states


@dataclass(frozen=True)
class Decoding:
    """How to sample: lengths in tokens; temperature 0 is greedy; top_k 0 and top_p 1 are off."""

    max_new_tokens: int = 256
    temperature: float = 0.7
    top_k: int = 50
    top_p: float = 0.95
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    max_prompt_length: int = 1024
    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_prompt_length", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 1.")
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0:
            raise ConfigError(
                f"temperature={self.temperature}, top_p={self.top_p}, top_k={self.top_k}: expected temperature ≥ 0, "
                "0 < top_p ≤ 1 and top_k ≥ 0."
            )

    def options(self) -> dict[str, Any]:
        """Fields of transformers' `GenerationConfig`."""
        shared = {
            "max_new_tokens": self.max_new_tokens,
            "repetition_penalty": self.repetition_penalty,
            "no_repeat_ngram_size": self.no_repeat_ngram_size,
        }
        if self.temperature == 0:
            return {**shared, "do_sample": False}
        sampling = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        return {**shared, "do_sample": True, **sampling}

    def to_dict(self) -> dict[str, Any]:
        """All fields, for the manifest."""
        return asdict(self)

    def exact(self, *, seed: int) -> "Decoding":
        """Samples of the policy itself: temperature 1, nothing cut off."""
        return replace(
            self, temperature=1.0, top_k=0, top_p=1.0, repetition_penalty=1.0, no_repeat_ngram_size=0, seed=seed
        )


def generate_ids(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    decoding: Decoding,
    *,
    samples: int = 1,
    progress: bool = False,
) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of the prompts and of their responses, `samples` per prompt, in the order of the prompts.

    A response that ended carries the token that ended it, one of `valuefree.batches.turns.stop_ids`; one cut at
    max_new_tokens does not. Batches are sorted by length, so the samples depend on `batch_size` as well as on `seed`.
    Settings in the model's generation_config are not applied; see `own_generation_config`.
    """
    encoder_decoder = is_encoder_decoder(model)
    once = [
        cut_prompt(
            prompt_ids(tokenizer, prompt, encoder_decoder=encoder_decoder),
            decoding.max_prompt_length,
            encoder_decoder=encoder_decoder,
        )
        for prompt in prompts
    ]
    asked = [list(ids) for ids in once for _ in range(samples)]
    answers: list[list[int]] = [[] for _ in asked]
    order = sorted(range(len(asked)), key=lambda index: -len(asked[index]))
    device = next(model.parameters()).device
    devices = [device] if device.type == "cuda" else []
    own = own_generation_config(model, tokenizer, **decoding.options())
    with torch.random.fork_rng(devices=devices), evaluating(model), own as config:
        torch.manual_seed(decoding.seed)
        starts = range(0, len(order), decoding.batch_size)
        for start in tqdm(starts, desc="generate", disable=not progress, leave=False):
            rows = order[start : start + decoding.batch_size]
            arguments = _arguments(model, [asked[row] for row in rows], tokenizer, device)
            output = model.generate(**arguments, generation_config=config)  # type: ignore[operator]  # typed as nn.Module
            new = output[:, 1:] if encoder_decoder else output[:, arguments["input_ids"].shape[1] :]
            for row, ids in zip(rows, new.tolist(), strict=True):
                answers[row] = until_end(ids, config.eos_token_id)
    return asked, answers


def _arguments(
    model: nn.Module, asked: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase, device: torch.device
) -> dict[str, Any]:
    """Of ``generate``, for one response to each prompt of token ids; a prompt that occurs again is computed once."""
    encoder_decoder = is_encoder_decoder(model)
    places: dict[tuple[int, ...], int] = {}
    rows = [places.setdefault(tuple(ids), len(places)) for ids in asked]
    batch = collate(
        [list(ids) for ids in places],
        [[] for _ in places],
        pad_token_id=pad_id(tokenizer),
        encoder_decoder=encoder_decoder,
        padding_side="right" if encoder_decoder else "left",
    )
    prompts = {name: batch[name].to(device) for name in ("input_ids", "attention_mask")}
    states = prompt_states(model, prompts, rows) if len(places) < len(rows) else None
    return {name: tensor[rows] for name, tensor in prompts.items()} | (states or {})


def until_end(ids: list[int], stops: list[int]) -> list[int]:
    """Generated token ids up to the first that ends a response, which is kept."""
    end = next((place for place, token in enumerate(ids) if token in stops), len(ids))
    return ids[: end + 1]


def stops_of(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Token ids at which responses of `model` end."""
    return stop_ids(tokenizer, unwrap_model(model).generation_config)


@contextmanager
def own_generation_config(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, **settings: Any
) -> Iterator[GenerationConfig]:
    """A generation configuration with `settings` and the end tokens, and nothing else of the model's own configuration.

    All other fields are neutral: a model's own cut-offs, penalties, beams, lengths and forced or suppressed tokens
    (such as BART's ``forced_bos_token_id``) are not part of the policy that `response_logps` scores. An encoder-decoder
    starts from the same token as in `response_logps`. Within the context the model's generation_config is the yielded
    one, because `generate` fills unset fields of its argument from the model's configuration.
    """
    core = unwrap_model(model)
    own: Any = core.generation_config
    start = getattr(core.config, "decoder_start_token_id", None)
    config = GenerationConfig(
        **settings,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=own.bos_token_id,
        eos_token_id=stops_of(model, tokenizer),
        decoder_start_token_id=own.decoder_start_token_id if start is None else start,
    )
    before = {module: module.generation_config for module in _configured(model)}
    for module in before:
        module.generation_config = config  # type: ignore[assignment]  # typed as a submodule or tensor
    try:
        yield config
    finally:
        for module in _configured(model):
            if module in before:
                module.generation_config = before[module]
            else:  # a wrapper of peft that stored a reference to `config` meanwhile
                del module.generation_config


def _configured(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if vars(module).get("generation_config") is not None]


def response_texts(model: nn.Module, tokenizer: PreTrainedTokenizerBase, answers: Sequence[Sequence[int]]) -> list[str]:
    """Texts of generated token ids, without special tokens and without the token that ended each."""
    stops = stops_of(model, tokenizer)
    texts = [ids[:-1] if len(ids) and ids[-1] in stops else ids for ids in answers]
    return tokenizer.batch_decode(texts, skip_special_tokens=True)  # type: ignore[arg-type]  # typed as list[list[int]]


def generate(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], **decoding: Any
) -> list[str]:
    """One response per prompt, in order; `decoding` are the fields of `Decoding`.

    The same seed, prompts and batch size give the same responses; the global random state is left as it was.
    """
    _, answers = generate_ids(model, tokenizer, prompts, Decoding(**decoding))
    return response_texts(model, tokenizer, answers)
