"""Inputs of a reward model: prompt and response as one row of tokens, the same in training and in scoring."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from valuefree.batches.chat import render
from valuefree.batches.rendering import pad_id
from valuefree.batches.special_tokens import SpecialTokens
from valuefree.batches.turns import eos_id, separated
from valuefree.data.prompts import Prompt, as_text, conversation_of
from valuefree.errors import ConfigError


@dataclass(frozen=True)
class RewardInputs:
    """Renders and pads rows for a sequence classifier.

    With a chat template a row is the whole chat. Without one the tokenizer joins prompt and response as a pair of
    texts; a newline separates them if the tokenizer does not. If a row has more than `max_length` tokens, the
    beginning of its prompt is removed, then the beginning of the response, never its end. Padding is on the right.

    encoder_decoder: T5 and BART read the state at the last end-of-sequence token, and all rows of a batch must have
    equally many of these tokens. Those inside the texts are removed, and a missing one at the end is added.
    segments: the model takes token_type_ids.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    encoder_decoder: bool = False
    segments: bool = False

    def __post_init__(self) -> None:
        if self.max_length < 1:
            raise ConfigError(f"max_length is {self.max_length}; expected at least 1 token.")
        if self.tokenizer.pad_token_id is None:
            raise ConfigError("the tokenizer has no padding token; set one, and the same in the model's config.")

    def batch(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> tuple[dict[str, Tensor], int]:
        """Arguments of the model, one row per response, and the number of truncated rows."""
        encoding = self._encoded(prompts, responses)
        kept = [self._kept(encoding, row) for row in range(len(responses))]
        rows = [
            [encoding["input_ids"][row][at] for at in places] + ([eos_id(self.tokenizer)] if add_end else [])
            for row, (places, add_end, _) in enumerate(kept)
        ]
        batch = {
            "input_ids": _padded(rows, pad_id(self.tokenizer)),
            "attention_mask": _padded([[1] * len(ids) for ids in rows], 0),
        }
        if self.segments and "token_type_ids" in encoding:
            types = [[encoding["token_type_ids"][row][at] for at in places] for row, (places, _, _) in enumerate(kept)]
            batch["token_type_ids"] = _padded(types, self.tokenizer.pad_token_type_id)
        return batch, sum(truncated for _, _, truncated in kept)

    def _encoded(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> Any:
        quiet: dict[str, Any] = {"truncation": False, "verbose": False}  # no warning: `_kept` truncates long rows
        if not self.tokenizer.chat_template:
            texts = [as_text(prompt) for prompt in prompts]
            alone, both = (self.tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
            if alone == both:  # no special token separates the two texts
                texts = separated(self.tokenizer, texts)
            return self.tokenizer(texts, list(responses), split_special_tokens=True, **quiet)
        texts, special = [], SpecialTokens.of(self.tokenizer)
        for prompt, response in zip(prompts, responses, strict=True):
            asked = conversation_of(prompt)
            whole = replace(asked, messages=[*asked.messages, {"role": "assistant", "content": response}])
            texts.append(render(self.tokenizer, special.hidden_in(whole), generation_prompt=False))
        return {"input_ids": special.template_ids(texts)}

    def _kept(self, encoding: Any, row: int) -> tuple[list[int], bool, bool]:
        """Indices of the kept tokens, whether to add an end-of-sequence token, and whether the row was truncated."""
        ids = encoding["input_ids"][row]
        places = list(range(len(ids)))
        if self.encoder_decoder:
            end = eos_id(self.tokenizer)
            owners = self._owners(encoding, row)
            places = [at for at in places if not (ids[at] == end and owners[at] is not None)]
            add_end = not places or ids[places[-1]] != end
        else:
            # The model reads its score at the last token that is not padding.
            while len(places) > 1 and ids[places[-1]] == self.tokenizer.pad_token_id:
                places.pop()
            add_end = False
        excess = len(places) + add_end - self.max_length
        if excess <= 0:
            return places, add_end, False
        owners = self._owners(encoding, row)
        removable = [at for owner in (0, 1) for at in places if owners[at] == owner]
        removed = set(removable[:excess])
        return [at for at in places if at not in removed], add_end, True

    def _owners(self, encoding: Any, row: int) -> Sequence[int | None]:
        """For each token: 0 if it belongs to the prompt, 1 if to the response, None if the tokenizer added it.

        With a chat template, the whole chat is one text, 0.
        """
        if self.tokenizer.chat_template:
            return [0] * len(encoding["input_ids"][row])
        if not self.tokenizer.is_fast:
            raise ConfigError(
                f"{type(self.tokenizer).__name__} is not a fast tokenizer and cannot tell prompt from response, so a "
                f"row longer than max_length={self.max_length} cannot be truncated. Raise max_length, or use another "
                "model."
            )
        return encoding.sequence_ids(row)


def _padded(rows: list[list[int]], value: int) -> Tensor:
    return pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], batch_first=True, padding_value=value)
