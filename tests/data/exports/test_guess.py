"""Guesses of columns, each worked out by hand from the names and values."""

import pytest

from valuefree.data.exports.guess import guess_columns, words_of


def table(header: str, *rows: tuple) -> list[dict]:
    return [dict(zip(header.split(","), row, strict=True)) for row in rows]


def found(rows: list[dict]) -> tuple:
    guess = guess_columns(rows)
    return guess.prompt, guess.response, guess.reward


def test_a_log_of_a_chat_application():
    rows = table(
        "id,timestamp,user_question,bot_answer,thumb",
        ("1", "2025-03-01T10:00:00Z", "How do I reset my password?", "Open the settings.", "up"),
        ("2", "2025-03-01T10:05:00Z", "Where is my invoice?", "I do not know.", "down"),
        ("3", "2025-03-01T10:09:00Z", "Can I cancel?", "Yes, at any time.", ""),
    )
    guess = guess_columns(rows)
    assert (guess.prompt, guess.response, guess.reward) == ("user_question", "bot_answer", "thumb")
    assert guess.thumbs
    assert guess.reasons == {
        "prompt": "by name; 3 texts, 3 distinct",
        "response": "by name; 3 texts, 3 distinct",
        "reward": "by name; 2 thumbs, 2 distinct",
    }
    assert guess.alternatives == {"prompt": [], "response": [], "reward": []}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("prompt,completion,label", ("prompt", "completion", "label")),
        ("userInput,modelOutput,starRating", ("userInput", "modelOutput", "starRating")),
        ("user_message,assistant_message,feedback_score", ("user_message", "assistant_message", "feedback_score")),
        ("instruction,replyText,Votes", ("instruction", "replyText", "Votes")),
        ("Question,Question_Answer,answer_rating", ("Question", "Question_Answer", "answer_rating")),
    ],
)
def test_names_in_snake_case_and_camel_case(header, expected):
    rows = table(header, ("Say a word", "a word", 1), ("Say two words", "two words", 5), ("Say no word", "no word", 3))
    assert found(rows) == expected


def test_words_of_a_name():
    assert words_of("userQuestions") == ("user", "question")
    assert words_of("HTTPResponse_text2") == ("http", "response", "text", "2")


def test_a_name_must_fit_the_contents():
    """`feedback` is a comment, `user` and `model` are names, `response_id` and `rating_at` say ids and times."""
    rows = table(
        "user,model,response_id,rating_at,input,output,feedback,rating",
        ("ann", "small", "7f", 1700000000, "Say a", "a", "too short", 2),
        ("bob", "small", "8a", 1700000050, "Say b", "b", "fine", 4),
        ("ann", "large", "9c", 1700000090, "Say c", "c", "wrong", 4),
    )
    guess = guess_columns(rows)
    assert (guess.prompt, guess.response, guess.reward) == ("input", "output", "rating")
    assert guess.alternatives["reward"] == ["feedback"]
    assert not guess.thumbs


def test_two_equal_names_are_not_decided():
    rows = table("prompt,response,helpful_score,safe_score", ("a b", "c d", 1, 2), ("e f", "g h", 2, 1))
    guess = guess_columns(rows)
    assert guess.reward is None
    assert guess.alternatives["reward"] == ["helpful_score", "safe_score"]
    assert guess.reasons["reward"] == "the names of 'helpful_score', 'safe_score' fit equally well"


def test_contents_decide_without_telling_names():
    """Column a counts rows, b repeats while c does not, d has two numbers, e is constant."""
    rows = table(
        "a,b,c,d,e",
        (1, "Name a colour", "It is red", 0.0, 3),
        (2, "Name a colour", "It is blue", 1.0, 3),
        (3, "Name a bird", "It is a wren", 1.0, 3),
    )
    guess = guess_columns(rows)
    assert (guess.prompt, guess.response, guess.reward) == ("b", "c", "d")
    assert guess.reasons["prompt"] == "by contents: texts repeat, 2 distinct in 3"
    assert guess.reasons["reward"] == "by contents; 3 numbers, 2 distinct"


def test_shorter_texts_are_the_prompts_and_equal_lengths_are_not_decided():
    """Medians of 9 and 20 characters: 2 × 9 ≤ 20. Of 9 and 16 characters: 18 > 16."""
    clear = table("a,b", ("four five", "one two three four ab"), ("nine tens", "one two three four a"))
    assert found(clear)[:2] == ("a", "b")
    equal = table("a,b", ("four five", "one two three fo"), ("nine tens", "one two three fi"))
    guess = guess_columns(equal)
    assert (guess.prompt, guess.response) == (None, None)
    assert guess.alternatives["prompt"] == guess.alternatives["response"] == ["a", "b"]


def test_a_missing_column_is_the_only_one_left():
    rows = table("question,said,kept", ("Say a", "a is it", True), ("Say b", "b is it", False), ("Say c", "c is", True))
    guess = guess_columns(rows)
    assert (guess.prompt, guess.response, guess.reward) == ("question", "said", "kept")
    assert guess.thumbs
    assert guess.reasons["response"] == "by contents: the only other column of texts; 3 texts, 3 distinct"


def test_a_reference_answer_and_a_system_prompt_are_never_chosen():
    rows = table(
        "system_prompt,prompt_text,expected_answer,answer", ("be b", "Say a", "a", "a"), ("be b", "c", "c", "d")
    )
    assert found(rows) == ("prompt_text", "answer", None)


def test_a_name_of_two_roles_is_decided_by_the_contents():
    """`user_satisfaction` has a word of the prompt, but numbers; `user_mood` too, and no word of the reward."""
    rows = table("user_msg,ai_msg,user_satisfaction", ("say a", "a it is", 1), ("say b", "b it is", 2))
    assert found(rows) == ("user_msg", "ai_msg", "user_satisfaction")
    rows = table("user_msg,ai_msg,user_mood", ("say a", "a it is", 1), ("say b", "b it is", 2), ("say c", "c it", 2))
    assert found(rows) == ("user_msg", "ai_msg", "user_mood")


def test_a_prompt_of_messages_is_a_text():
    rows = [{"prompt": [{"role": "user", "content": "Say a"}], "response": "a", "reward": 1.0}]
    assert found(rows) == ("prompt", "response", "reward")


def test_a_table_without_rows_has_no_columns():
    guess = guess_columns([])
    assert (guess.prompt, guess.response, guess.reward) == (None, None, None)
    assert guess.reasons["reward"] == "no column of thumbs or of 2 to 20 distinct numbers that repeat"


def test_the_last_speaker_of_messages_tells_prompt_from_response():
    asked = [{"role": "user", "content": "Why is it so?"}]
    rows = [{"messages": asked, "content": f"It is so {i}.", "rating": i % 3} for i in range(6)]
    guess = guess_columns(rows)
    assert (guess.prompt, guess.response, guess.reward) == ("messages", "content", "rating")
    said = [{"role": "assistant", "content": "So it is."}]
    guess = guess_columns([{"turns": said, "content": f"Why is it {i}?", "rating": i % 3} for i in range(6)])
    assert (guess.prompt, guess.response, guess.reward) == ("content", "turns", "rating")
