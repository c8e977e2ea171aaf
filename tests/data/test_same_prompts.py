"""Which prompts are the same: white space does not tell them apart, case only unless it is ignored."""

import json
import unicodedata

import datasets
import numpy as np
import polars as pl
import pytest

from conftest import MAKERS, TEXTS
from valuefree.batches.collate import Collator
from valuefree.batches.rendering import Limits, tokenize
from valuefree.data import RewardScaler, read_pairs, read_triplets, split_by_prompt, split_top_score, summarize
from valuefree.data.columns import list_numbers
from valuefree.data.triplets import prompts_of, read_with_summary
from valuefree.data.validation import normalize, normalize_column, prompt_key
from valuefree.models.logprobs import response_logps
from valuefree.models.modules import is_encoder_decoder
from valuefree.objectives import RPO
from valuefree.training.mismatched_pairs import draw_partners, prompt_classes
from valuefree.training.training_rows import training_rows

SAME = ["What is 2 + 2?", "What is 2 + 2? ", "What is 2 + 2?\n", " What is\t2 +  2?", "What is\u00a02 + 2?\r\n"]


def written(file, prompts):
    lines = (
        json.dumps({"prompt": prompt, "response": f"r{i}", "reward": i % 3}, ensure_ascii=False)
        for i, prompt in enumerate(prompts)
    )
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def messages(text, system="Be brief."):
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


@pytest.mark.parametrize("shape", ["text", "messages"])
def test_prompts_that_differ_in_white_space_are_one_and_are_counted(tmp_path, shape):
    prompts = [*SAME, "Another one", *SAME]
    given = [messages(p, f" Be  brief.{' ' * i}") for i, p in enumerate(prompts)] if shape == "messages" else prompts
    rows, summary = read_with_summary(written(tmp_path / "rows.jsonl", given))
    assert rows["prompt_id"] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert rows["prompt"][:5] == given[:5]  # what is trained on is not changed
    exact = len({json.dumps(prompt) for prompt in given})
    assert (summary.prompts, summary.merged) == (2, exact - 2)
    assert f"{exact - 2} prompts merged with one that differs only in white space" in str(summary)
    assert summarize(rows) == summary


def test_columns_and_rows_are_grouped_alike(tmp_path):
    prompts = [*SAME, "b\n", "a", "b", "a  a", "a a", " a a", "b "]
    columns = {"prompt": prompts, "response": [f"r{i}" for i in range(12)], "reward": [float(i) for i in range(12)]}
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "rows.parquet")
    by_column, first = read_with_summary(tmp_path / "rows.parquet")
    by_row, second = read_with_summary(written(tmp_path / "rows.jsonl", prompts))
    assert by_column["prompt_id"] == by_row["prompt_id"] == [0, 0, 0, 0, 0, 1, 2, 1, 3, 3, 3, 1]
    assert first.merged == second.merged == 4 + 2 + 2


def test_nothing_is_said_where_nothing_was_merged(tmp_path):
    _, summary = read_with_summary(written(tmp_path / "rows.jsonl", ["a\n", "b", "a\n"]))
    assert summary.merged == 0
    assert "merged" not in str(summary)


def test_case_tells_prompts_apart_unless_it_is_ignored(tmp_path):
    file = written(tmp_path / "rows.jsonl", ["Say Hi", "say hi ", "STRASSE", "Straße", "say hi"])
    assert read_triplets(file)["prompt_id"] == [0, 1, 2, 3, 1]
    rows, summary = read_with_summary(file, ignore_case=True)
    assert rows["prompt_id"] == [0, 0, 1, 1, 0]
    assert summary.merged == 3
    records = [{"prompt": p, "chosen": "a", "rejected": "b"} for p in ("Say Hi", "say hi")]
    assert read_pairs(datasets.Dataset.from_list(records))["prompt_id"] == [0, 0, 1, 1]
    assert read_pairs(datasets.Dataset.from_list(records), ignore_case=True)["prompt_id"] == [0, 0, 0, 0]


@pytest.mark.parametrize("ignore_case", [False, True])
def test_a_column_is_normalised_as_each_text_is(ignore_case):
    """Every character that Unicode has, between and around others, so that the fast pass overlooks none."""
    characters = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) != "Cs"]
    for texts in (characters, [f"a{one}b" for one in characters], [f"ab{one}" for one in characters]):
        found = normalize_column(pl.Series(texts, dtype=pl.String), ignore_case=ignore_case).to_list()
        assert found == [normalize(text, ignore_case=ignore_case) for text in texts]


def test_normalising_is_idempotent_and_takes_messages_one_by_one():
    assert normalize(normalize(" A \n b ")) == normalize(" A \n b ") == "A b"
    assert prompt_key([{"role": "user", "content": " x\n"}]) == prompt_key("x") == "x"
    assert prompt_key(messages("x \n y")) == prompt_key(messages(" x y", system="Be  brief. "))
    assert prompt_key(messages("x y")) != prompt_key(messages("xy"))


def test_no_prompt_is_on_both_sides_of_a_split(tmp_path):
    prompts = [text + end for text in ("x", "y", "z", "w") for end in ("", " ", "\n", "  \t")]
    rows = read_triplets(written(tmp_path / "rows.jsonl", prompts))
    for seed in range(10):
        train, held_out = split_by_prompt(rows, test_prompts=2, seed=seed)
        assert not {normalize(p) for p in train["prompt"]} & {normalize(p) for p in held_out["prompt"]}
        assert (len(train), len(held_out)) == (8, 8)
        train, validation = split_top_score(rows, validation_prompts=2, seed=seed, top_score=2)
        assert not {normalize(p) for p in train["prompt"]} & {normalize(p) for p in validation["prompt"]}


def test_the_instructions_of_messages_are_split_without_white_space_too(tmp_path):
    prompts = [messages(text + end, system) for text in "xyz" for end in ("", "\n") for system in ("one", "two")]
    rows = read_triplets(written(tmp_path / "rows.jsonl", prompts))
    for seed in range(5):
        train, validation = split_top_score(rows, validation_prompts=1, seed=seed, top_score=2)
        texts = [{normalize(prompt[1]["content"]) for prompt in side["prompt"]} for side in (train, validation)]
        assert not texts[0] & texts[1]


def test_a_held_out_prompt_is_evaluated_once(tmp_path):
    rows = read_triplets(written(tmp_path / "rows.jsonl", ["x", "y", "x ", "y\n"]))
    assert prompts_of(rows) == ["x", "y"]


def test_mismatched_pairs_join_no_prompt_with_its_own_response(tmp_path):
    rows = read_triplets(written(tmp_path / "rows.jsonl", ["x", "x ", "x\n", "y", "y "]))
    prompt_of = np.array(rows["prompt_id"])
    classes = prompt_classes(prompt_of, [[1], [2]])
    for epoch in range(20):
        partners = draw_partners(classes, seed=0, epoch=epoch)
        assert all(prompt_key(rows["prompt"][i]) != prompt_key(rows["prompt"][j]) for i, j in enumerate(partners))


@pytest.mark.parametrize("ignore_case", [False, True])
def test_reference_samples_join_their_prompt_whatever_its_white_space(tmp_path, ignore_case):
    prompts = ["x", "Y", *(["y"] if ignore_case else []), "z"]
    rows = read_triplets(written(tmp_path / "rows.jsonl", prompts), ignore_case=ignore_case)
    samples = read_triplets(written(tmp_path / "samples.jsonl", ["x\n", " x", "Y ", prompts[-2], "other"]))
    found = training_rows(rows, RPO(), RewardScaler(0, 1), samples)
    assert found.reference_prompt_of is not None
    assert found.reference_prompt_of.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("make", [*MAKERS.values()], ids=[*MAKERS])
def test_prompts_that_differ_in_white_space_are_never_packed_as_one(make, tmp_path, chat_tokenizer):
    """Their tokens differ, so each response is scored under its own prompt, packed, shared or padded."""
    prompts = [TEXTS[0], TEXTS[0] + " the", TEXTS[0].replace("the", "the the"), TEXTS[0]]
    rows = read_triplets(written(tmp_path / "rows.jsonl", prompts))
    rows = rows.remove_columns("prompt_id").add_column("prompt_id", [0, 0, 0, 0])
    model = make(chat_tokenizer)
    encoder_decoder = is_encoder_decoder(model)
    table, _ = tokenize(rows, chat_tokenizer, limits=Limits(), encoder_decoder=encoder_decoder)
    assert list_numbers(table, "prompt_ids").tolist() == [0, 1, 2, 0]
    plain = Collator(0, encoder_decoder, share_prompts=False, padding_free=False)
    expected = [response_logps(model, plain.batch(table, [row])).total.item() for row in range(4)]
    for padding_free in (True, False):
        collator = Collator(0, encoder_decoder, share_prompts=True, padding_free=padding_free)
        found = response_logps(model, collator.batch(table, range(4))).total.tolist()
        assert found == pytest.approx(expected, abs=1e-4)


def test_lists_are_numbered_by_their_content(tmp_path):
    lists = [[1, 2], [], [12], [1, 2], [1], [2], [], [1, 2, 0], [258]]
    table = datasets.Dataset.from_dict({"ids": lists})
    assert list_numbers(table, "ids").tolist() == [0, 1, 2, 0, 3, 4, 1, 5, 6]
    assert list_numbers(table.select([8, 3, 0, 6]), "ids").tolist() == [0, 1, 1, 2]
    assert list_numbers(table.select(range(3, 9)), "ids").tolist() == [0, 1, 2, 3, 4, 5]
