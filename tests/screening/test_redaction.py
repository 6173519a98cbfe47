"""Redact and restore: whatever goes in comes back, whatever a model does to it and however it is cut."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.screening import Span
from crew_moe.screening.pii import PiiDetector
from crew_moe.screening.placeholders import LONGEST
from crew_moe.screening.redaction import Vault, disjoint, in_json, redact_messages, restore_message

KINDS = ("EMAIL", "PHONE", "CREDIT_CARD", "ID_NUMBER", "OTHER", "a kind of somebody else's")
PIECES = (
    "[", "(", "\\", "\\[", "\\]", "]", " ", "_", "1", "2", "-", "{", "}", "EMAIL", "EMAIL_1", "[EMAIL_1",
    "EMAIL_1]", "[EMAIL_1]", "email 1", "credit", "card", "CREDIT_CARD_1", "ID", "[ID_NUMBER_2", "<ip 1>",
    "OTHER_1", "[OTHER_1]", "[[",
)  # fmt: skip
TEXTS = st.lists(st.one_of(st.text(max_size=6), st.sampled_from(PIECES)), max_size=12).map("".join)


@st.composite
def marked_texts(draw: st.DrawFn) -> tuple[str, list[Span]]:
    text = draw(TEXTS)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    return text, [Span(start=a, end=b, type=draw(st.sampled_from(KINDS))) for a, b in pairs if a < b]


def spans_of(text: str) -> tuple[Span, ...]:
    return PiiDetector().assess(text).spans


def given_out() -> Vault:
    vault = Vault()
    for kind in ("EMAIL", "CREDIT_CARD", "ID_NUMBER", "OTHER", "IP"):
        vault.placeholder(kind, f"<{kind}>")
        vault.placeholder(kind, f'2 "{kind}"\n')
    return vault


@given(st.lists(marked_texts(), min_size=1, max_size=3))
def test_restoring_gives_any_text_back(texts: list[tuple[str, list[Span]]]) -> None:
    vault = Vault()

    redacted = [vault.redact(text, spans) for text, spans in texts]

    assert [vault.restore(text) for text in redacted] == [text for text, _ in texts]


@given(TEXTS, st.lists(st.integers(1, 9), max_size=30))
def test_restoring_in_chunks_is_restoring_the_whole(text: str, sizes: list[int]) -> None:
    vault, position, out = given_out(), 0, ""
    restorer = vault.restorer()

    for size in [*sizes, len(text) + 1]:
        out += restorer.feed(text[position : position + size])
        position += size

    assert out + restorer.finish() == vault.restore(text)


def test_the_same_value_has_the_same_placeholder_in_every_message() -> None:
    vault = Vault()

    first = vault.redact("ann@x.org or bob@x.org", spans_of("ann@x.org or bob@x.org"))
    second = vault.redact("again bob@x.org", spans_of("again bob@x.org"))

    assert (first, second) == ("[EMAIL_1] or [EMAIL_2]", "again [EMAIL_2]")


GARBLED = (
    "[email_1]", "[ EMAIL_1 ]", "[Email 1]", "[EMAIL-1]", "(EMAIL_1)", "<EMAIL_1>", "{EMAIL_1}", "[EMAIL_1", "EMAIL_1]",
    r"\[EMAIL\_1\]",
)  # fmt: skip


@pytest.mark.parametrize("garbled", GARBLED)
def test_what_a_model_garbles_is_restored(garbled: str) -> None:
    vault = Vault()
    vault.placeholder("EMAIL", "ann@x.org")

    assert vault.restore(f"write to {garbled}, please") == "write to ann@x.org, please"


@pytest.mark.parametrize(
    "other", ["[EMAIL_2]", "[PHONE_1]", "EMAIL", "email 1", "(email 1 of 3", "[EMAIL_0]", "[EMAIL_11]"]
)
def test_what_was_not_given_out_stays(other: str) -> None:
    vault = Vault()
    vault.placeholder("EMAIL", "ann@x.org")

    assert vault.restore(other) == other


def test_a_users_own_placeholder_is_not_taken_for_the_vaults() -> None:
    vault = Vault()
    vault.redact("ann@x.org", spans_of("ann@x.org"))

    redacted = vault.redact("print [EMAIL_1] literally", ())

    assert redacted == "print [OTHER_1] literally"
    assert vault.restore(redacted) == "print [EMAIL_1] literally"


def test_a_stream_holds_back_no_more_than_a_placeholder_may_need() -> None:
    restorer = given_out().restorer()

    out = [restorer.feed(chunk) for chunk in ["Mail [EMA", "IL_", "1", "] now. ", "x" * 10 * LONGEST, "[EMAIL_1]"]]

    assert out == ["Mail ", "", "", "<EMAIL> now. ", "x" * 10 * LONGEST, "<EMAIL>"]


def test_values_in_json_keep_it_valid() -> None:
    vault = Vault()
    arguments = json.dumps({"to": vault.placeholder("EMAIL", 'say "hi"\n\\o/')})

    assert json.loads(vault.restore(arguments, escape=in_json)) == {"to": 'say "hi"\n\\o/'}


def test_no_value_shows_in_a_repr() -> None:
    vault = Vault()
    vault.redact("ann@x.org", spans_of("ann@x.org"))
    restorer = vault.restorer()
    restorer.feed("[EMAIL_1")

    assert (repr(vault), repr(restorer)) == ("Vault(1 values)", "Restorer(8 characters held)")


def test_threads_agree_on_placeholders() -> None:
    vault = Vault()

    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda n: vault.placeholder("EMAIL", f"{n % 50}@x.org"), range(2_000)))

    assert len(set(given)) == len(vault) == 50
    assert all(vault.restore(one) == f"{n % 50}@x.org" for n, one in enumerate(given))


def test_overlapping_spans_become_one_under_the_surest_kind() -> None:
    spans = [Span(start=0, end=5, type="PHONE", score=0.6), Span(start=3, end=99, type="SSN", score=0.9)]

    assert disjoint(spans, 8) == [Span(start=0, end=8, type="SSN", score=0.9)]


def test_every_text_of_a_message_is_redacted_and_nothing_else() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,ann@x.org"}}
    call = {"id": "c1", "type": "function", "function": {"name": "mail", "arguments": '{"to": "ann@x.org", "n": 1.50}'}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Serve ann@x.org"},
        {"role": "user", "name": "ann_lee", "content": [{"type": "text", "text": "I am Ann Lee"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "name": "ann_lee", "content": "sent to ann@x.org"},
    ]
    vault = Vault()

    system, user, assistant, tool = redact_messages(messages, vault, spans_of)

    assert (system["content"], tool["content"], tool["name"]) == ("Serve [EMAIL_1]", "sent to [EMAIL_1]", "ann_lee")
    assert user["content"] == [{"type": "text", "text": "I am [PERSON_1]"}, image]
    assert user["name"] == "PERSON_2"
    assert assistant["tool_calls"][0]["function"]["arguments"] == '{"to": "[EMAIL_1]", "n": 1.50}'
    assert messages[0]["content"] == "Serve ann@x.org"


MAIL: Final = "ann@x.org"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": ({"type": "text", "text": MAIL},)},
        {"role": "user", "content": [({"type": "text", "text": MAIL},)]},
        {"role": "user", "content": {"note": MAIL}},
        {"role": "tool", "content": MAIL.encode()},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": MAIL}]}]},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"to": MAIL}}}]},
    ],
)
def test_no_shape_of_a_message_that_is_sent_hides_its_text(message: dict[str, Any]) -> None:
    (redacted,) = redact_messages([message], Vault(), spans_of)

    assert MAIL not in repr(redacted)
    assert "[EMAIL_1]" in repr(redacted)


def test_a_number_in_arguments_that_is_personal_becomes_a_placeholder() -> None:
    call = {"function": {"name": "pay", "arguments": '{"card": 4111111111111111, "usd": 5}'}}
    vault = Vault()

    (message,) = redact_messages([{"role": "assistant", "tool_calls": [call]}], vault, spans_of)

    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"card": "[CREDIT_CARD_1]", "usd": 5}
    assert (
        json.loads(restore_message(message, vault)["tool_calls"][0]["function"]["arguments"])["card"]
        == "4111111111111111"
    )


def test_arguments_that_are_no_json_are_redacted_as_text() -> None:
    message = {"role": "assistant", "function_call": {"name": "mail", "arguments": '{"to": "ann@x.org"'}}

    (redacted,) = redact_messages([message], Vault(), spans_of)

    assert redacted["function_call"]["arguments"] == '{"to": "[EMAIL_1]"'


def test_an_experts_own_placeholders_stay_in_its_earlier_answer() -> None:
    vault = Vault()
    vault.placeholder("EMAIL", "ann@x.org")

    (message,) = redact_messages([{"role": "assistant", "content": "I wrote to [EMAIL_1]"}], vault, spans_of)

    assert message["content"] == "I wrote to [EMAIL_1]"
