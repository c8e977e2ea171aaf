"""A transformers model in this process as judge."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valuefree.batches.collate import collate
from valuefree.batches.rendering import pad_id, prompt_ids
from valuefree.errors import ConfigError
from valuefree.evaluation.generation import own_generation_config, response_texts, until_end
from valuefree.evaluation.judging.backends import Reply, Settings
from valuefree.models.fingerprints import model_fingerprint
from valuefree.models.modules import evaluating, is_encoder_decoder

TOP_TOKENS = 20


class LocalJudge:
    """A model that gets questions in its chat template; answers include the probabilities of their first token.

    A question that does not fit into the model's context is a failed call; it is never truncated.

    Args:
        model: decoder-only or encoder-decoder, on the device to be used. tokenizer: of the model.
        name: for cache and signature; the revision is a hash of weights and configuration.
        batch_size: questions per batch.
    """

    concurrency = 1
    probabilities = True

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str, batch_size: int = 8):
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; expected at least 1 question at a time.")
        self.model, self.tokenizer, self.name, self.batch_size = model, tokenizer, name, batch_size
        self.revision = model_fingerprint(model, adapter=True)[:12]
        self.longest = getattr(model.config, "max_position_embeddings", None)

    def tokens(self, question: str) -> int:
        """The exact number of tokens, chat template included."""
        return len(self._ids(question))

    def _ids(self, question: str) -> list[int]:
        return prompt_ids(self.tokenizer, question, encoder_decoder=is_encoder_decoder(self.model))

    def ask(self, questions: Sequence[str], settings: Settings) -> list[Reply]:
        """Generate the answers to all questions that fit into the context, in one batch."""
        rows = [self._ids(question) for question in questions]
        limit = self.longest - settings.max_new_tokens if self.longest else None
        fits = [limit is None or len(ids) <= limit for ids in rows]
        fitting = [ids for ids, fit in zip(rows, fits, strict=True) if fit]
        answers = iter(self._answers(fitting, settings) if fitting else [])
        return [
            next(answers) if fit else Reply(None, f"a question of {len(ids)} tokens; the model takes {limit}", sent=0)
            for ids, fit in zip(rows, fits, strict=True)
        ]

    def _answers(self, rows: list[list[int]], settings: Settings) -> list[Reply]:
        encoder_decoder = is_encoder_decoder(self.model)
        nothing: list[list[int]] = [[] for _ in rows]
        batch = collate(
            rows,
            nothing,
            pad_token_id=pad_id(self.tokenizer),
            encoder_decoder=encoder_decoder,
            padding_side="right" if encoder_decoder else "left",
        )
        device = next(self.model.parameters()).device
        sampling: dict[str, Any] = {"do_sample": False}
        if settings.temperature:
            sampling = {"do_sample": True, "temperature": settings.temperature, "top_p": 1.0, "top_k": 0}
        sampling |= {"max_new_tokens": settings.max_new_tokens, "output_logits": True, "return_dict_in_generate": True}
        own = own_generation_config(self.model, self.tokenizer, **sampling)
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), evaluating(self.model), own as config:
            torch.manual_seed(settings.seed)
            output = self.model.generate(  # type: ignore[operator]  # typed as nn.Module
                input_ids=batch["input_ids"].to(device),
                attention_mask=batch["attention_mask"].to(device),
                generation_config=config,
            )
        start = 1 if encoder_decoder else batch["input_ids"].shape[1]
        new = [until_end(ids, config.eos_token_id) for ids in output.sequences[:, start:].tolist()]
        texts = response_texts(self.model, self.tokenizer, new)
        tops = self._tops(output.logits[0]) if settings.probabilities else [None] * len(rows)
        return [
            Reply(text, None, top, input_tokens=len(ids), output_tokens=len(answer))
            for text, top, ids, answer in zip(texts, tops, rows, new, strict=True)
        ]

    def _tops(self, logits: torch.Tensor) -> list[list[tuple[str, float]]]:
        """The most likely first tokens of each row as text; probabilities of tokens with the same text are summed."""
        values, ids = torch.log_softmax(logits.float(), dim=-1).topk(min(TOP_TOKENS, logits.shape[-1]), dim=-1)
        found = []
        for logprobs, row_ids in zip(values.tolist(), ids.tolist(), strict=True):
            merged: dict[str, float] = {}
            for logprob, token in zip(logprobs, row_ids, strict=True):
                text = str(self.tokenizer.decode([token]))
                before = merged.get(text)
                merged[text] = logprob if before is None else float(torch.logaddexp(*torch.tensor([before, logprob])))
            found.append(list(merged.items()))
        return found
