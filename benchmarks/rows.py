"""The rows that both sides of a comparison train on: texts with exactly the drawn lengths."""

import random

import datasets
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from benchmarks.lengths import Lengths, draw

SPECIAL = ("<pad>", "</s>", "<unk>")
PAD, EOS = 0, 1


def make_rows(count: int, per_prompt: int, vocabulary: int, *, lengths: Lengths, seed: int) -> datasets.Dataset:
    """`count` rows of prompt, response, reward and prompt_id, sorted by prompt, `per_prompt` rows per prompt.

    A response of length n has n − 1 words, and every library adds the end-of-sequence token. It starts with a space, so
    that prompt + response has the same words as the two texts separately.
    """
    generator = random.Random(seed)
    prompts = draw(lengths.prompt_median, lengths.prompt_sigma, lengths.longest, -(-count // per_prompt), generator)
    responses = draw(lengths.response_median, lengths.response_sigma, lengths.longest, count, generator)
    texts = [_words(length, vocabulary, generator) for length in prompts]
    return datasets.Dataset.from_list(
        [
            {
                "prompt": texts[row // per_prompt],
                "response": " " + _words(length - 1, vocabulary, generator),
                "reward": generator.gauss(0, 1),
                "prompt_id": row // per_prompt,
            }
            for row, length in enumerate(responses)
        ]
    )


def _words(count: int, vocabulary: int, generator: random.Random) -> str:
    return " ".join(f"w{generator.randrange(len(SPECIAL), vocabulary)}" for _ in range(count))


def make_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per word, without added special tokens and without a chat template."""
    ids = {word: index for index, word in enumerate(SPECIAL)}
    ids |= {f"w{index}": index for index in range(len(SPECIAL), vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", padding_side="right"
    )


def response_tokens(rows: datasets.Dataset) -> int:
    """Number of response tokens of all rows, including end-of-sequence tokens."""
    return sum(len(text.split()) + 1 for text in rows["response"])
