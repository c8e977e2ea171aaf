"""What a prepared data set is made of."""

import datasets
import numpy as np

from valuefree.batches.collate import Collator
from valuefree.batches.rendering import Truncation
from valuefree.training.scored_dataset import RowCollator, ScoredDataset, response_numbers


def test_responses_are_numbered_by_first_appearance_in_a_list_and_in_a_column():
    texts = ["b", "a", "b", "", "c", "a"]
    dataset = datasets.Dataset.from_dict({"response": texts})
    expected = [0, 1, 0, 2, 3, 1]
    for responses in (texts, tuple(texts), dataset["response"], dataset.with_format("numpy")["response"]):
        assert response_numbers(responses).tolist() == expected
    assert response_numbers(dataset.select([5, 0, 1])["response"]).tolist() == [0, 1, 0]
    assert response_numbers([]).tolist() == []


def test_the_value_network_reads_each_rows_own_prompt_and_batches_count_its_tokens():
    """Two prompts of one number, which differ in white space and so in tokens, are read apart."""
    table = datasets.Dataset.from_dict(
        {"prompt_ids": [[4, 5], [4, 6, 5], [4, 5]], "response_ids": [[7], [8, 9], [7]], "prompt_id": [0, 0, 0]}
    )
    same = np.zeros(3, dtype=np.int64)
    prepared = ScoredDataset(table, Truncation(0, 0, 3), same, np.full(3, 3), np.zeros(3))
    collator = RowCollator(prepared, Collator(0, encoder_decoder=False), prompts=True)
    given = collator([0, 1, 2])
    assert given.prompt_row.tolist() == [0, 1, 0]
    assert given.prompts["input_ids"].tolist() == [[4, 5, 0], [4, 6, 5]]
    assert given.positions == given.batch["input_ids"].numel() == 2 + 3 + 4
    whole = collator.sampler(batch_size=8, micro_batches=1, seed=0, strategy="random", batch_tokens=100)
    assert whole.size([0, 1, 2]) == 2 + 3 + 4
