"""Whatever a client says, the service goes on, without a word of it in the log."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from crew_moe.service.conversation import Code
from tests.service.running import Running
from tests.service.talking import ended, heard, talking

WORDS = st.sampled_from(["token", "cursor", "kinds", "decision", "1-2", "7-0", "", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
ONLY_THESE = set(Code)


@given(messages=st.lists(st.text(max_size=30) | st.dictionaries(WORDS, VALUES, max_size=3).map(json.dumps), max_size=4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_words_end_it_in_one_of_the_known_ways(
    service: Running, caplog: pytest.LogCaptureFixture, messages: list[str]
) -> None:
    with talking(service.url) as client:
        try:
            for message in messages:
                client.send(message)
            client.send("good bye")
        except ConnectionClosed:
            pass
        code = ended(client)

    assert code in ONLY_THESE
    assert caplog.records == []


def test_bytes_are_no_message(service: Running) -> None:
    with talking(service.url) as client:
        heard(client, "ready")
        client.send(b"{}")

        assert ended(client) == Code.BAD_MESSAGE


def test_clients_that_hang_up_in_the_middle_leave_no_trace(service: Running, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        with talking(service.url) as client:
            heard(client, "ready")
            client.socket.close()
        service.post("/api/v1/route", {"task_type": "planning", "text": "x"})

    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []
