"""What a reward model reads: prompt and response as one row of tokens, the same in training and in scoring."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from valuefree.batches.rendering import Prompt, as_messages, as_text
from valuefree.batches.turns import separated
from valuefree.errors import ConfigError


@dataclass(frozen=True)
class RewardInputs:
    """Renders and pads rows for a sequence classifier.

    With a chat template a row is the whole chat. Without one it is prompt and response as the tokenizer joins two
    texts, with a newline between them where the tokenizer puts nothing there. A row wider than `max_length` loses the
    beginning of its prompt, then that of the response, never the response's end. Padding is on the right.

    encoder_decoder: T5 and BART read the state at the last end of sequence, of which all rows must have the same
    number: those within the texts are left out, and a missing one at the end is added.
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
        """Arguments of the model, one row per response, and how many rows were cut."""
        encoding = self._encoded(prompts, responses)
        kept = [self._kept(encoding, row) for row in range(len(responses))]
        rows = [
            [encoding["input_ids"][row][at] for at in places] + ([self.tokenizer.eos_token_id] if ended else [])
            for row, (places, ended, _) in enumerate(kept)
        ]
        batch = {
            "input_ids": _padded(rows, self.tokenizer.pad_token_id),  # type: ignore[arg-type]
            "attention_mask": _padded([[1] * len(ids) for ids in rows], 0),
        }
        if self.segments and "token_type_ids" in encoding:
            types = [[encoding["token_type_ids"][row][at] for at in places] for row, (places, _, _) in enumerate(kept)]
            batch["token_type_ids"] = _padded(types, self.tokenizer.pad_token_type_id)
        return batch, sum(cut for _, _, cut in kept)

    def _encoded(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> Any:
        quiet: dict[str, Any] = {"truncation": False, "verbose": False}  # too long is no surprise here
        if not self.tokenizer.chat_template:
            texts = [as_text(prompt) for prompt in prompts]
            alone, both = (self.tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
            if alone == both:  # no special token stands between the two
                texts = separated(self.tokenizer, texts)
            return self.tokenizer(texts, list(responses), **quiet)
        chats = [
            [*as_messages(prompt), {"role": "assistant", "content": response}]
            for prompt, response in zip(prompts, responses, strict=True)
        ]
        texts = [str(self.tokenizer.apply_chat_template(chat, tokenize=False)) for chat in chats]
        return self.tokenizer(texts, add_special_tokens=False, **quiet)

    def _kept(self, encoding: Any, row: int) -> tuple[list[int], bool, bool]:
        """Places of the tokens that stay, whether an end of sequence is to follow, and whether any was too many."""
        ids = encoding["input_ids"][row]
        places = list(range(len(ids)))
        if self.encoder_decoder:
            end = self.tokenizer.eos_token_id
            owners = self._owners(encoding, row)
            places = [at for at in places if not (ids[at] == end and owners[at] is not None)]
            ended = not places or ids[places[-1]] != end
        else:
            # The model takes the last token that is not padding for the end of the row.
            while len(places) > 1 and ids[places[-1]] == self.tokenizer.pad_token_id:
                places.pop()
            ended = False
        excess = len(places) + ended - self.max_length
        if excess <= 0:
            return places, ended, False
        owners = self._owners(encoding, row)
        texts = [at for owner in (0, 1) for at in places if owners[at] == owner]
        gone = set(texts[:excess])
        return [at for at in places if at not in gone], ended, True

    def _owners(self, encoding: Any, row: int) -> Sequence[int | None]:
        """For each token which of the two texts it is of: 0, 1, or None for what the tokenizer adds."""
        if self.tokenizer.chat_template:
            return [0] * len(encoding["input_ids"][row])
        if not self.tokenizer.is_fast:
            raise ConfigError(
                f"{type(self.tokenizer).__name__} does not tell prompt from response (it is no fast tokenizer), so a "
                f"row wider than max_length={self.max_length} cannot be cut. Raise max_length, or take another model."
            )
        return encoding.sequence_ids(row)


def _padded(rows: list[list[int]], value: int) -> Tensor:
    return pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], batch_first=True, padding_value=value)
