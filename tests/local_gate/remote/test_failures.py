"""What goes wrong with servers elsewhere, told by what the caller may do about it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.remote import open_remote
from tests import waiting
from tests.local_gate.remote.servers import MAX_CHARS, Played, playing
from tests.local_gate.remote.test_host import CHAT, KINDS, TOOL, failure, one, opened

SECRET = "a text that nobody else may read"


@pytest.fixture
def played() -> Iterator[Played]:
    with playing(HostKind.VLLM) as played:
        yield played


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (400, Trouble.INVALID_INPUT),
        (408, Trouble.TIMEOUT),
        (413, Trouble.INPUT_TOO_LONG),
        (422, Trouble.INVALID_INPUT),
        (424, Trouble.MODEL_FAILED),
        (429, Trouble.OVERLOADED),
        (500, Trouble.UNAVAILABLE),
        (502, Trouble.UNAVAILABLE),
        (503, Trouble.OVERLOADED),
        (504, Trouble.TIMEOUT),
        (404, Trouble.UNAVAILABLE),
        (302, Trouble.UNAVAILABLE),
        (418, Trouble.INVALID_INPUT),
    ],
)
def test_status_has_its_trouble_and_the_body_is_not_quoted(played: Played, status: int, trouble: Trouble) -> None:
    host = opened(played)
    played.faults[CHAT] = (status, SECRET.encode(), {"Location": "http://192.0.2.1/"})
    told = failure(one(host, SECRET))

    assert (told.trouble, str(status) in told.what, SECRET in str(told)) == (trouble, True, False)


@pytest.mark.parametrize("kind", KINDS)
def test_too_much_text_is_told_as_such_by_every_kind(kind: HostKind) -> None:
    with playing(kind) as played:
        told = failure(one(opened(played), SECRET * MAX_CHARS))

    assert (told.trouble, SECRET in str(told)) == (Trouble.INPUT_TOO_LONG, False)


@pytest.mark.parametrize(
    ("body", "trouble"),
    [
        (b'{"error":{"type":"exceed_context_size_error","n_ctx":512}}', Trouble.INPUT_TOO_LONG),
        (
            b'{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096"}',
            Trouble.INPUT_TOO_LONG,
        ),
        (b'{"error":{"message":"CUDA out of memory"}}', Trouble.OUT_OF_MEMORY),
        (b'{"error":{"message":"input is too large to process"}}', Trouble.INPUT_TOO_LONG),
    ],
)
def test_words_of_servers_are_known(played: Played, body: bytes, trouble: Trouble) -> None:
    host = opened(played)
    played.faults[CHAT] = (500, body, {})

    assert failure(one(host)).trouble is trouble


@pytest.mark.parametrize(("told", "expected"), [("7", 7.0), ("0.5", 0.5), ("soon", None), ("-1", None), ("nan", None)])
def test_busy_server_says_when_to_come_back(played: Played, told: str, expected: float | None) -> None:
    host = opened(played)
    played.faults[CHAT] = (429, b"", {"Retry-After": told})

    assert failure(one(host)).retry_after_s == expected


def test_nothing_is_asked_twice(played: Played) -> None:
    host = opened(played)
    played.faults[CHAT] = (503, b"", {})
    one(host)

    assert len(played.asked(CHAT)) == 1


def test_key_is_sent_and_a_wrong_one_named_by_its_variable(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAR_KEY", "right-one")
    played.key = "right-one"
    host = opened(played, api_key_env="FAR_KEY")
    first = one(host)
    monkeypatch.setenv("FAR_KEY", "wrong-one")
    told = failure(one(host))

    assert not isinstance(first, HostFailed)
    assert (told.trouble, "FAR_KEY" in told.what, "wrong-one" in repr(told.__dict__)) == (
        Trouble.UNAVAILABLE,
        True,
        False,
    )


def test_server_that_wants_a_key_says_where_to_name_it(played: Played) -> None:
    played.key = "right-one"
    with pytest.raises(HostFailed) as caught:
        opened(played)

    assert "api_key_env" in caught.value.next_steps[0]


def test_key_that_no_header_carries_is_not_shown(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAR_KEY", "ключ")

    with pytest.raises(HostFailed, match="the key in FAR_KEY has characters"):
        opened(played, api_key_env="FAR_KEY")


def test_slow_answer_ends_at_its_timeout(played: Played) -> None:
    host = opened(played, options={"timeout_s": 0.2})
    played.go_on.clear()

    with pytest.raises(HostFailed) as caught:
        list(host.stream(Work(text="a b c")))
    assert caught.value.trouble is Trouble.TIMEOUT


def test_answer_that_only_drips_ends_at_its_timeout(played: Played) -> None:
    host = opened(played, options={"timeout_s": 0.2})
    played.drips = True

    with pytest.raises(HostFailed) as caught:
        list(host.stream(Work(text="a b c")))
    assert caught.value.trouble is Trouble.TIMEOUT
    waiting.until(played.hung_up.is_set)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": {}}]}'])
def test_answer_that_is_none_is_a_failure_of_the_model(played: Played, body: bytes) -> None:
    host = opened(played)
    played.faults[CHAT] = (200, body, {})

    assert failure(one(host)).trouble is Trouble.MODEL_FAILED


def test_thinking_that_used_up_all_tokens_is_an_answer_cut_short(played: Played) -> None:
    host = opened(played)
    played.faults[CHAT] = (200, b'{"choices":[{"message":{"content":null},"finish_reason":"length"}]}', {})
    answer = one(host)

    assert (getattr(answer, "text", None), getattr(answer, "finish_reason", None)) == ("", "length")


def test_options_that_json_cannot_say_are_invalid(played: Played) -> None:
    assert failure(one(opened(played), options={"extra": {"top_p": object()}})).trouble is Trouble.INVALID_INPUT


@pytest.mark.parametrize("kind", KINDS)
def test_stream_comes_in_pieces(kind: HostKind) -> None:
    with playing(kind) as played:
        pieces = list(opened(played).stream(Work(text="one two three")))

    assert pieces == ["ONE", " TWO", " THREE"]


def test_first_piece_comes_before_the_last_is_made_and_leaving_ends_the_request(played: Played) -> None:
    host = opened(played)
    played.go_on.clear()
    pieces = host.stream(Work(text="one " * 200))
    first = next(pieces)
    pieces.close()  # type: ignore[attr-defined]  # a generator, as every reader of a stream may close
    played.go_on.set()

    assert first == "ONE"
    waiting.until(played.hung_up.is_set)


def test_stream_that_breaks_off_is_told(played: Played) -> None:
    host = opened(played)
    played.cut = True

    with pytest.raises(HostFailed, match="ended its answer in the middle"):
        list(host.stream(Work(text="one two")))


def test_error_in_the_middle_of_a_stream_is_told(played: Played) -> None:
    host = opened(played)
    body = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"error":{"message":"%s"}}\n\n' % SECRET.encode()
    played.faults[CHAT] = (200, body, {"Content-Type": "text/event-stream"})
    pieces = host.stream(Work(text="one"))

    assert next(pieces) == "a"
    with pytest.raises(HostFailed, match="began to answer and failed") as caught:
        next(pieces)
    assert SECRET not in str(caught.value)


def test_stream_of_a_busy_server_is_refused_as_any_other(played: Played) -> None:
    host = opened(played)
    played.faults[CHAT] = (429, b"", {"Retry-After": "3"})

    with pytest.raises(HostFailed) as caught:
        next(iter(host.stream(Work(text="one"))))
    assert (caught.value.trouble, caught.value.retry_after_s) == (Trouble.OVERLOADED, 3.0)


def test_calls_of_tools_are_not_lost_in_a_stream_but_refused(played: Played) -> None:
    chat = ChatRequest(messages=[{"role": "user", "content": "where?"}], tools=[TOOL])

    with pytest.raises(HostFailed) as caught:
        next(iter(opened(played).stream(Work(text="where?", chat=chat))))
    assert caught.value.trouble is Trouble.NOT_CAPABLE


def test_server_that_hangs_up_is_unavailable(played: Played) -> None:
    host = opened(played)
    played.faults[CHAT] = (200, b"{", {"Content-Length": "99", "Connection": "close"})

    assert failure(one(host)).trouble in {Trouble.UNAVAILABLE, Trouble.TIMEOUT}


def test_host_asks_nothing_before_it_is_asked() -> None:
    open_remote(HostSpec(name="far", kind=HostKind.VLLM, base_url="http://127.0.0.1:1", model="tiny")).unload()
