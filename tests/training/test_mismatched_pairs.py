"""MismatchedPairs pairs: never of one prompt, drawn anew in every epoch, uniform over the rest."""

import datasets
import numpy as np
import pytest

from valuefree.errors import ConfigError
from valuefree.training.mismatched_pairs import draw_partners, paired, prompt_classes

PROMPT_OF = np.array([0, 1, 0, 2, 1, 0, 3])


def test_a_partner_answers_another_prompt_and_is_drawn_anew_in_every_epoch():
    draws = [draw_partners(PROMPT_OF, seed=5, epoch=epoch) for epoch in range(200)]
    for partners in draws:
        assert (PROMPT_OF[partners] != PROMPT_OF).all()
    assert len({tuple(partners) for partners in draws}) > 150
    assert (draw_partners(PROMPT_OF, seed=5, epoch=7) == draws[7]).all()
    assert (draw_partners(PROMPT_OF, seed=6, epoch=7) != draws[7]).any()
    # Row 0 has four others, each met in about 50 of 200 draws (standard deviation 6).
    met = np.bincount([partners[0] for partners in draws], minlength=7)
    assert met[[0, 2, 5]].sum() == 0
    assert (abs(met[[1, 3, 4, 6]] - 50) < 25).all()


def test_prompts_of_the_same_text_are_one():
    classes = prompt_classes(PROMPT_OF, [[4, 5], [4, 5], [6], [4]])
    assert classes.tolist() == [0, 0, 0, 1, 0, 0, 2]
    assert (classes[draw_partners(classes, seed=0, epoch=0)] != classes).all()


def test_one_prompt_is_an_error():
    with pytest.raises(ConfigError, match="3 rows share one prompt"):
        draw_partners(np.zeros(3, dtype=np.int64), seed=0, epoch=0)


def test_a_response_is_cut_to_what_the_other_prompt_leaves():
    columns = {"prompt_ids": [[1, 1, 1], [2]], "response_ids": [[3], [4, 4, 4, 4]], "prompt_id": [0, 1]}
    table = datasets.Dataset.from_dict(columns)
    assert paired(table, [0, 1], [1, 0], 5)["response_ids"] == [[4, 4], [3]]
    assert paired(table, [0], [1], None)["response_ids"] == [[4, 4, 4, 4]]
