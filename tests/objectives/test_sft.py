"""Supervised fine-tuning."""

import pytest
import torch

from shape_checks import unchecked
from valuefree.objectives import sft_loss


def test_is_the_negative_log_likelihood_per_response():
    assert sft_loss(torch.tensor([-3.0, -1.5])).tolist() == [3.0, 1.5]


def test_a_matrix_is_an_error():
    with unchecked(), pytest.raises(ValueError, match="one value per response"):
        sft_loss(torch.zeros(2, 2))
