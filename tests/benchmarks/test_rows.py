"""Rows have the lengths that were drawn, through every library's way of tokenising them."""

import random
from statistics import median

from benchmarks.lengths import LIKE_ULTRAFEEDBACK, draw
from benchmarks.rows import make_rows, make_tokenizer, response_tokens
from valuefree.batches.rendering import Limits, tokenize


def test_lengths_follow_the_distribution() -> None:
    lengths = draw(230, 0.6, 512, 2000, random.Random(0))
    assert abs(median(lengths) - 230) < 3
    assert min(lengths) >= 2
    assert max(lengths) == 512
    assert abs(sum(length == 512 for length in lengths) / 2000 - 0.0912) < 0.005  # P(Z > ln(512/230)/0.6)


def test_the_same_seed_gives_the_same_rows() -> None:
    first, second = (make_rows(8, 4, 64, lengths=LIKE_ULTRAFEEDBACK, seed=3) for _ in range(2))
    assert first.to_list() == second.to_list()


def test_tokens_are_what_was_drawn() -> None:
    tokenizer = make_tokenizer(64)
    rows = make_rows(12, 4, 64, lengths=LIKE_ULTRAFEEDBACK, seed=1)
    for encoder_decoder in (True, False):
        table, cut = tokenize(rows, tokenizer, limits=Limits(1024), encoder_decoder=encoder_decoder)
        assert (cut.prompts, cut.responses) == (0, 0)
        assert sum(map(len, table["response_ids"])) == response_tokens(rows)
        assert all(2 not in ids for ids in [*table["prompt_ids"], *table["response_ids"]])
    joined = tokenizer(rows[0]["prompt"] + rows[0]["response"] + tokenizer.eos_token)["input_ids"]
    assert joined == [*table["prompt_ids"][0], *table["response_ids"][0]]
    assert len(set(rows["prompt"])) == 3
