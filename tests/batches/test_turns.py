"""How a response ends, and what separates it from its prompt, by the chat template or without one."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast

from chat_templates import CHATML, GEMMA, LLAMA2, NO_END, PROMPT_ONLY, byte_tokenizer
from valuefree.batches.rendering import prompt_ids, response_ids
from valuefree.batches.reward_inputs import RewardInputs
from valuefree.batches.turns import end_of_turn, stop_ids

CASES = {
    "chatml": (CHATML, ("<|im_start|>", "<|im_end|>"), (), "<|im_end|>"),
    "gemma": (GEMMA, ("<start_of_turn>", "<end_of_turn>"), (), "<end_of_turn>"),
    "gemma, tokens added but not special": (GEMMA, (), ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>"),
    "the longest of two tokens": (GEMMA, ("<end_of", "<end_of_turn>"), (), "<end_of_turn>"),
    "end of sequence after a space": (LLAMA2, (), (), "<eos>"),
    "chatml whose marks are no tokens": (CHATML, (), (), "<eos>"),
    "a template without an end": (NO_END, (), (), "<eos>"),
    "a template that leaves answers out": (PROMPT_ONLY, (), (), "<eos>"),
    "no template": (None, ("<|im_end|>",), (), "<eos>"),
}


@pytest.mark.parametrize("case", list(CASES))
def test_a_response_ends_with_the_token_that_ends_an_assistants_turn_in_the_template(case):
    template, special, added, end = CASES[case]
    tokenizer = byte_tokenizer(template, special=special, added=added)
    ids = response_ids(tokenizer, "Four", encoder_decoder=False)
    assert tokenizer.decode(ids[:-1]) == "Four"
    assert tokenizer.convert_ids_to_tokens(ids[-1]) == end
    assert ids[-1] == end_of_turn(tokenizer) == stop_ids(tokenizer)[0]


def test_prompt_and_response_are_the_rendered_chat_up_to_its_end_of_turn():
    """Training reads the tokens of the template's own rendering of the whole conversation."""
    for name in ("chatml", "gemma"):
        template, special, _, end = CASES[name]
        tokenizer = byte_tokenizer(template, special=special)
        chat = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "Four"}]
        whole = tokenizer(tokenizer.apply_chat_template(chat, tokenize=False), add_special_tokens=False)["input_ids"]
        ours = [
            *prompt_ids(tokenizer, "2+2?", encoder_decoder=False),
            *response_ids(tokenizer, "Four", encoder_decoder=False),
        ]
        assert whole[: len(ours)] == ours
        assert tokenizer.decode(whole[len(ours) :]) == "\n"
        assert tokenizer.decode(ours).endswith(end)


def test_generation_stops_at_the_ends_of_template_tokenizer_and_model():
    tokenizer = byte_tokenizer(GEMMA, special=("<start_of_turn>", "<end_of_turn>"))
    turn = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    assert stop_ids(tokenizer, GenerationConfig(eos_token_id=[1, 9, turn])) == [turn, 1, 9]
    assert stop_ids(tokenizer, GenerationConfig(eos_token_id=7)) == [turn, 1, 7]
    assert stop_ids(tokenizer, GenerationConfig()) == [turn, 1]


def test_where_the_templates_end_is_the_tokenizers_there_is_one_end():
    """As with SmolLM2-135M-Instruct, whose end of sequence is ChatML's."""
    tokenizer = byte_tokenizer(CHATML, special=("<|im_start|>", "<|im_end|>"))
    tokenizer.eos_token = "<|im_end|>"
    assert stop_ids(tokenizer, GenerationConfig(eos_token_id=tokenizer.eos_token_id)) == [tokenizer.eos_token_id]


# ---------------------------------------------------------------------------------------------- without a template


def joined(tokenizer, prompt, response, *, encoder_decoder=False) -> str:
    ids = prompt_ids(tokenizer, prompt, encoder_decoder=encoder_decoder)
    return tokenizer.decode([*ids, *response_ids(tokenizer, response, encoder_decoder=encoder_decoder)[:-1]])


def test_a_decoder_without_a_template_reads_its_prompt_and_response_on_two_lines():
    tokenizer = byte_tokenizer()
    assert joined(tokenizer, "What is 2+2?", "Four") == "What is 2+2?\nFour"
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    assert joined(tokenizer, talk, "Four") == "user: hi\nassistant: yes\nFour"


@pytest.mark.parametrize("prompt", ["Q: 2+2? A: ", "2+2?\n", "2+2?\t"])
def test_a_prompt_that_ends_in_white_space_has_its_own_separator(prompt):
    assert joined(byte_tokenizer(), prompt, "Four") == prompt + "Four"


def test_a_template_decides_alone_what_stands_between_prompt_and_response():
    assert joined(byte_tokenizer("{{ messages[0]['content'] }}"), "What is 2+2?", "Four") == "What is 2+2?Four"


def test_nothing_is_added_where_the_tokenizer_separates_texts_or_has_no_newline(tokenizer):
    """A Metaspace tokenizer writes a space before every text; a vocabulary of words has no newline."""
    assert prompt_ids(tokenizer, "the sea", encoder_decoder=False) == tokenizer("the sea")["input_ids"]
    words = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "sea": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    by_word = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", unk_token="<unk>", pad_token="</s>")
    assert prompt_ids(by_word, "sea", encoder_decoder=False) == [2]


def test_nothing_is_added_for_an_encoder():
    assert prompt_ids(byte_tokenizer(), "2+2?", encoder_decoder=True) == byte_tokenizer()("2+2?")["input_ids"]


def test_a_reward_model_reads_prompt_and_response_apart():
    decoder, encoder = (
        RewardInputs(byte_tokenizer(pair=pair), max_length=64).batch(["2+2?"], ["Four"])[0]["input_ids"][0]
        for pair in (False, True)
    )
    assert byte_tokenizer().decode(decoder) == "2+2?\nFour"
    assert byte_tokenizer().decode(encoder) == "2+2?<eos>Four<eos>"
