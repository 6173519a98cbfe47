"""What is told of a complaint holds no key and nothing of the prompt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.execution.detail import MAX_CHARS, scrub, tell

KEYS = [
    "sk-proj-4f9Qx82LmZt7Rw1Yc6Vb3Nn8",
    "sk-ant-api03-Abc123def456",
    "sk-ab12********wxyz",
    "AIzaSyD4f9Qx82LmZt7Rw1Yc6Vb3Nn8Pq0",
    "Bearer abc.def",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.abc",
    "0123456789abcdef0123456789abcdef",
]


@pytest.mark.parametrize("key", KEYS)
def test_whatever_looks_like_a_key_is_scrubbed(key: str) -> None:
    told = scrub(f"Incorrect API key provided: {key}. Find yours in the console.")

    assert key.split()[-1] not in told
    assert "[key]" in told


def test_ordinary_words_stay() -> None:
    told = "HTTP 400: unsupported_parameter: use max_completion_tokens with gpt-4o-mini-2024-07-18"

    assert scrub(told) == told


def test_key_of_the_call_is_never_told_whatever_it_looks_like() -> None:
    assert tell("no account for horse battery staple correct", ["horsebatterystaplecorrect"]) == ""


def test_message_that_quotes_the_prompt_is_not_told() -> None:
    prompt = "Our merger with Initech closes on Friday, tell nobody."

    assert tell('Invalid input: "merger with  INITECH closes"', [prompt]) == ""
    assert tell("Invalid input: unsupported parameter", [prompt]) == "Invalid input: unsupported parameter"


def test_message_is_one_short_line() -> None:
    told = tell("first\n\tsecond " + "word " * 1_000)

    assert told.startswith("first second word")
    assert len(told) <= MAX_CHARS


@given(prompt=st.text(min_size=24), around=st.text(max_size=80))
def test_nothing_of_the_prompt_gets_through(prompt: str, around: str) -> None:
    letters = "".join(character for character in prompt if character.isalnum())
    told = tell(f"{around} {prompt} {around}", [prompt])

    assert len(letters) < 16 or letters[:24] not in told
