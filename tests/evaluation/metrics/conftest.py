"""What the tests of metrics share; nltk's data is put by `make nltk-data` where nltk finds it."""

import nltk
import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoTokenizer,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
    RobertaTokenizer,
)

from metric_texts import SENTENCES, texts


@pytest.fixture
def pairs() -> tuple[list[str], list[str]]:
    return texts(40)


@pytest.fixture
def wordnet() -> None:
    for place in ("corpora/wordnet", "tokenizers/punkt_tab/english"):
        try:
            nltk.data.find(place)
        except LookupError:
            pytest.skip(f"{place} is missing: `make nltk-data`, which `make test` runs by itself")


@pytest.fixture(scope="session")
def roberta(tmp_path_factory):
    """A byte-level BPE with the words of the texts, and a RoBERTa with random weights."""
    folder = tmp_path_factory.mktemp("roberta")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        [SENTENCES] * 50, vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    )
    trained.save_model(str(folder))
    tokenizer = RobertaTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    settings = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    settings |= {"num_hidden_layers": 3, "max_position_embeddings": 66, "pad_token_id": 1, "initializer_range": 0.5}
    config = RobertaConfig(**settings)
    RobertaModel(config).save_pretrained(folder)
    return folder, config


@pytest.fixture(scope="session")
def classifier(roberta, tmp_path_factory):
    """One that takes the word "sea" for hate, after some steps of training."""
    source, config = roberta
    folder = tmp_path_factory.mktemp("classifier")
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.save_pretrained(folder)
    labels = {0: "nothate", 1: "Hate"}
    torch.manual_seed(0)
    settings = config.to_dict() | {"id2label": labels, "label2id": {"nothate": 0, "Hate": 1}, "num_labels": 2}
    model = RobertaForSequenceClassification(RobertaConfig(**settings | {"initializer_range": 0.02}))
    lines = [f"{word} is {end}" for word in ("sea", "bread", "cats") for end in ("wide", "blue", "old", "content")]
    batch = tokenizer(lines, return_tensors="pt", padding=True)
    targets = torch.tensor([int("sea" in line) for line in lines])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.eval()
    for _ in range(30):
        model(**batch, labels=targets).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder
