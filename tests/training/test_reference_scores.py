"""The score cache: what is scored again and what is not, damage, sharing, coverage."""

import multiprocessing
from dataclasses import replace

import datasets
import numpy as np
import pytest
import torch
from peft import LoraConfig

from conftest import MAKERS, make_llama, make_t5
from valuefree.batches.collate import Collator
from valuefree.batches.rendering import Limits, tokenize
from valuefree.errors import ConfigError, ScoringError
from valuefree.models.adapters import add_adapter
from valuefree.models.load import load_model
from valuefree.models.logprobs import response_logps
from valuefree.models.modules import is_encoder_decoder
from valuefree.models.sampler import Sampler
from valuefree.training.reference_scores import score_reference, scoring_context
from valuefree.training.score_cache import Score, ScoreCache

LIMITS = Limits()
ROPE = {"rope_type": "default", "rope_theta": 3.0}


def scores(model, rows, tokenizer, folder, limits=LIMITS, **knobs):
    table, _ = tokenize(rows, tokenizer, limits=limits, encoder_decoder=is_encoder_decoder(model))
    collator = Collator(0, is_encoder_decoder(model))
    return score_reference(model, table, collator, cache_dir=folder, progress=False, **knobs)


def test_scores_equal_a_plain_pass_over_each_row(model, rows, tokenizer):
    result = scores(model, rows, tokenizer, None, batch_tokens=64)
    table, _ = tokenize(rows, tokenizer, limits=LIMITS, encoder_decoder=is_encoder_decoder(model))
    plain = Collator(0, is_encoder_decoder(model), share_prompts=False)
    with torch.no_grad():
        each = [response_logps(model, plain.batch(table, [row])) for row in range(len(table))]
    assert result.logps == pytest.approx([one.total.item() for one in each], abs=5e-5)
    assert result.tokens.tolist() == [one.tokens.item() for one in each]


def test_batch_size_order_and_more_rows_rescore_nothing(model, rows, tokenizer, tmp_path):
    first = scores(model, rows, tokenizer, tmp_path)
    assert first.scored == 16
    again = scores(model, rows, tokenizer, tmp_path, batch_tokens=50)
    assert again.scored == 0
    order = list(range(15, -1, -1))
    turned = scores(model, rows.select(order), tokenizer, tmp_path)
    assert turned.scored == 0
    np.testing.assert_array_equal(turned.logps, first.logps[order])
    new = rows.select([0]).map(lambda row: {"response": "a new response"})
    assert scores(model, datasets.concatenate_datasets([rows, new]), tokenizer, tmp_path).scored == 1


def test_the_log_counts_what_was_computed_cached_and_equal(rows, tokenizer, tmp_path, caplog):
    """16 rows and one of them again; then 16 from the cache, one new row and the new row again."""
    caplog.set_level("INFO")
    model, first = make_llama(tokenizer), rows.select([0])
    scores(model, datasets.concatenate_datasets([rows, first]), tokenizer, tmp_path)
    new = first.map(lambda row: {"response": "a new response"})
    scores(model, datasets.concatenate_datasets([rows, new, new]), tokenizer, tmp_path, what="pairs")
    assert [message for message in caplog.messages if "scores" in message] == [
        "reference scores: 17 rows, 16 computed, 1 equal to another",
        "reference scores: 18 pairs, 1 computed, 16 from the cache, 1 equal to another",
    ]


def test_one_character_rescores_one_row(model, rows, tokenizer, tmp_path):
    scores(model, rows, tokenizer, tmp_path)
    changed = rows.map(lambda row, i: {"response": row["response"] + ("!" if i == 3 else "")}, with_indices=True)
    assert scores(model, changed, tokenizer, tmp_path).scored == 1


def test_one_weight_rescores_all(model, rows, tokenizer, tmp_path):
    scores(model, rows, tokenizer, tmp_path)
    with torch.no_grad():
        next(model.parameters()).view(-1)[7] += 1e-3
    assert scores(model, rows, tokenizer, tmp_path).scored == 16


def test_the_template_rescores_all(rows, chat_tokenizer, tmp_path):
    model = make_llama(chat_tokenizer)
    scores(model, rows, chat_tokenizer, tmp_path)
    chat_tokenizer.chat_template = chat_tokenizer.chat_template.replace("assistant: ", "the answer: ")
    assert scores(model, rows, chat_tokenizer, tmp_path).scored == 16


def test_a_limit_rescores_exactly_the_rows_that_it_cuts(model, rows, tokenizer, tmp_path):
    scores(model, rows, tokenizer, tmp_path)
    table, _ = tokenize(rows, tokenizer, limits=LIMITS, encoder_decoder=is_encoder_decoder(model))
    cut = sum(len(ids) > 14 for ids in table["response_ids"])
    assert 0 < cut < 16
    assert scores(model, rows, tokenizer, tmp_path, limits=replace(LIMITS, max_response_length=14)).scored == cut


def test_compute_type_and_attention_are_part_of_the_key(rows, tokenizer, tmp_path):
    model = make_llama(tokenizer)
    scores(model, rows, tokenizer, tmp_path)
    assert scores(model, rows, tokenizer, tmp_path, autocast=torch.bfloat16).scored == 16
    model.set_attn_implementation("eager")
    assert scores(model, rows, tokenizer, tmp_path).scored == 16


def test_a_damaged_file_is_found_removed_and_scored_again(model, rows, tokenizer, tmp_path, caplog):
    first = scores(model, rows, tokenizer, tmp_path)
    (file,) = tmp_path.rglob("*.parquet")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    again = scores(model, rows, tokenizer, tmp_path)
    assert again.scored == 16
    assert "damaged" in caplog.text
    np.testing.assert_array_equal(again.logps, first.logps)
    assert scores(model, rows, tokenizer, tmp_path).scored == 0


def test_an_interrupted_write_leaves_nothing_that_is_read(model, rows, tokenizer, tmp_path):
    scores(model, rows, tokenizer, tmp_path)
    (file,) = tmp_path.rglob("*.parquet")
    file.rename(file.with_name("half.part"))
    assert scores(model, rows, tokenizer, tmp_path).scored == 16


def _write_many(folder: str, start: int) -> None:
    cache = ScoreCache(folder, "context")
    for number in range(start, start + 50):
        cache.write({f"key{number}": Score(float(number), 1)})


def test_two_processes_share_a_cache(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_many, args=(str(tmp_path), start)) for start in (0, 25)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert ScoreCache(tmp_path, "context").read() == {f"key{n}": Score(float(n), 1) for n in range(75)}


def test_an_adapter_does_not_change_the_reference(rows, tokenizer, tmp_path):
    first = scores(make_llama(tokenizer), rows, tokenizer, tmp_path)
    model = add_adapter(make_llama(tokenizer), LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    again = scores(model, rows, tokenizer, tmp_path)
    assert again.scored == 0
    np.testing.assert_allclose(again.logps, first.logps)
    fresh = scores(model, rows, tokenizer, tmp_path / "other")
    np.testing.assert_allclose(fresh.logps, first.logps, atol=1e-4)


def test_compute_type_is_part_of_the_context(tokenizer):
    model = make_t5(tokenizer)
    assert scoring_context(model, None) != scoring_context(model, torch.bfloat16)


def test_models_of_equal_weights_and_another_configuration_share_no_scores(rows, tokenizer, tmp_path):
    near, far = make_llama(tokenizer), make_llama(tokenizer, rope_parameters=ROPE)
    far.load_state_dict(near.state_dict())
    first = scores(near, rows, tokenizer, tmp_path)
    second = scores(far, rows, tokenizer, tmp_path)
    assert second.scored == 16
    fresh = scores(far, rows, tokenizer, None)
    np.testing.assert_array_equal(second.logps, fresh.logps)
    assert abs(second.logps - first.logps).max() > 1e-4


@pytest.mark.parametrize("make", [*MAKERS.values()], ids=[*MAKERS])
def test_the_same_model_in_another_folder_shares_its_scores(make, rows, tokenizer, tmp_path):
    scores(make(tokenizer), rows, tokenizer, tmp_path / "cache")
    for folder in (tmp_path / "one", tmp_path / "two"):
        model = make(tokenizer)
        model.generation_config.update(do_sample=True, temperature=0.3)
        model.config.architectures = ["Another"]
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        assert scores(load_model(str(folder))[0], rows, tokenizer, tmp_path / "cache").scored == 0


def test_a_score_that_is_not_finite_is_an_error_that_names_the_row(rows, tokenizer):
    model = make_llama(tokenizer)
    with torch.no_grad():
        model.lm_head.weight[tokenizer("cats")["input_ids"][0]] = float("nan")
    with pytest.raises(ScoringError, match=r"16 of 16 rows have no finite reference score"):
        scores(model, rows, tokenizer, None)


def test_a_folder_that_cannot_be_made_is_an_error_before_any_work(rows, tokenizer, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be written"):
        scores(make_llama(tokenizer), rows, tokenizer, tmp_path / "file")


def test_each_sampler_has_its_own_scores(model, rows, tokenizer, tmp_path):
    plain = scores(model, rows, tokenizer, tmp_path)
    warm = scores(model, rows, tokenizer, tmp_path, sampler=Sampler(temperature=0.7))
    assert warm.scored == 16
    assert scores(model, rows, tokenizer, tmp_path, sampler=Sampler(temperature=0.7)).scored == 0
    assert scores(model, rows, tokenizer, tmp_path, sampler=Sampler()).scored == 0
    table, _ = tokenize(rows, tokenizer, limits=LIMITS, encoder_decoder=is_encoder_decoder(model))
    with torch.no_grad():
        batch = Collator(0, is_encoder_decoder(model), share_prompts=False).batch(table, [0])
        expected = response_logps(model, batch, temperature=0.7).total.item()
    assert warm.logps[0] == pytest.approx(expected, abs=1e-4)
    assert abs(warm.logps - plain.logps).max() > 1e-3


def test_a_truncating_sampler_may_give_probability_zero(model, rows, tokenizer, tmp_path):
    for _ in range(2):
        result = scores(model, rows, tokenizer, tmp_path, sampler=Sampler(top_k=1))
        assert np.isneginf(result.logps).all()
        assert result.statistics is None
    assert result.scored == 0


def test_statistics_come_from_the_cache_as_they_went_in(model, rows, tokenizer, tmp_path):
    first = scores(model, rows, tokenizer, tmp_path)
    again = scores(model, rows, tokenizer, tmp_path, batch_tokens=50)
    assert again.scored == 0
    np.testing.assert_array_equal(again.statistics.values, first.statistics.values)
    fresh = scores(model, rows, tokenizer, None, batch_tokens=50)
    np.testing.assert_allclose(fresh.statistics.values, first.statistics.values, atol=1e-3)


def test_a_file_without_statistics_counts_as_not_scored(model, rows, tokenizer, tmp_path):
    first = scores(model, rows, tokenizer, tmp_path)
    (file,) = tmp_path.rglob("*.parquet")
    cache = ScoreCache(tmp_path, scoring_context(model, None))
    known = cache.read()
    file.unlink()
    cache.write({key: Score(score.logp, score.tokens) for key, score in known.items()})
    again = scores(model, rows, tokenizer, tmp_path)
    assert again.scored == 16
    np.testing.assert_array_equal(again.statistics.values, first.statistics.values)
