from __future__ import annotations

import json

import pytest

from crew_moe.sim.answer import DRIP_PIECES, Ending, plain, streamed, struck
from crew_moe.sim.script import Rule

WHOLE = plain(b'{"text": "The door is red."}', delay_s=0.5)
STREAM = streamed((b'data: {"a": 1}\n\n', b'data: {"b": 2}\n\n', b"data: [DONE]\n\n"), delay_s=1.0)


def test_rule_without_error_changes_nothing() -> None:
    assert struck(WHOLE, Rule(latency_ms=5)) is WHOLE


@pytest.mark.parametrize("status", [429, 500, 503, 401, 404])
def test_error_status_replaces_the_answer(status: int) -> None:
    answer = struck(WHOLE, Rule.model_validate({"error": status}))

    assert (answer.status, answer.delay_s, answer.ending) == (status, 0.5, Ending.KEEP)
    assert json.loads(b"".join(answer.pieces))["error"]["message"]


def test_retry_after_is_whole_seconds_and_exact_milliseconds() -> None:
    answer = struck(WHOLE, Rule(error=429, retry_after_s=0.25))

    assert dict(answer.headers) == {"retry-after": "1", "retry-after-ms": "250"}


@pytest.mark.parametrize(("error", "ending"), [("timeout", Ending.HANG), ("reset", Ending.RESET)])
def test_silent_faults_send_nothing(error: str, ending: Ending) -> None:
    answer = struck(WHOLE, Rule.model_validate({"error": error}))

    assert (answer.status, answer.ending) == (None, ending)


def test_malformed_body_keeps_its_length_true() -> None:
    answer = struck(WHOLE, Rule(error="malformed"))
    body = b"".join(answer.pieces)

    assert answer.length == len(body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_malformed_stream_breaks_one_event_and_goes_on() -> None:
    answer = struck(STREAM, Rule(error="malformed"))

    assert answer.pieces[0] == b'data: {"\n\n'
    assert answer.pieces[1:] == STREAM.pieces[1:]


def test_cut_answer_promises_more_than_it_sends() -> None:
    whole, stream = struck(WHOLE, Rule(error="cut_stream")), struck(STREAM, Rule(error="cut_stream"))

    assert (whole.length or 0) > len(b"".join(whole.pieces)) > 0
    assert stream.pieces == STREAM.pieces[:2]
    assert whole.ending is stream.ending is Ending.CLOSE


def test_drip_sends_everything_in_small_pieces() -> None:
    answer = struck(WHOLE, Rule(error="slow_drip", drip_ms=20))

    assert b"".join(answer.pieces) == b"".join(WHOLE.pieces)
    assert 1 < len(answer.pieces) <= DRIP_PIECES
    assert answer.gap_s == 0.02


def test_delay_of_a_stream_is_half_before_and_half_between() -> None:
    assert (STREAM.delay_s, STREAM.gap_s) == (0.5, 0.25)
