"""The quick connection keeps the promises of the other one, and looks at each new socket first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from crew_moe.errors import StateError
from crew_moe.state.redis.connection import Script
from crew_moe.state.redis.line import Ask, Line
from tests.redis_server import RedisServer

ECHO = Script("return ARGV[1]")
BROKEN = Script("return redis.call('NOSUCH')")


class Greeter:
    """Counts sockets, and refuses them when told to."""

    def __init__(self) -> None:
        self.seen = 0
        self.refuses = False

    def __call__(self, ask: Ask) -> None:
        self.seen += 1
        assert ask("PING") == "PONG"
        if self.refuses:
            raise StateError("not this one")


@pytest.fixture
def greeter() -> Greeter:
    return Greeter()


@pytest.fixture
def line(mortal_redis: RedisServer, greeter: Greeter) -> Iterator[Line]:
    opened = Line(mortal_redis.url, greeter)
    yield opened
    opened.close()


@pytest.mark.parametrize("word", [b"", b"a\r\nb", "東京 🐙".encode(), b"\xff\x00", bytes(300_000)])
def test_words_arrive_as_they_were_sent(line: Line, word: bytes) -> None:
    assert line.call(ECHO, (b"k",), (word,)) == word


def test_one_socket_serves_one_thread_after_the_other(line: Line, greeter: Greeter) -> None:
    for number in range(20):
        assert line.call(ECHO, (b"k",), (b"%d" % number,)) == b"%d" % number

    assert greeter.seen == 1


def test_threads_hear_their_own_answers(line: Line) -> None:
    with ThreadPoolExecutor(8) as pool:
        heard = list(pool.map(lambda number: line.call(ECHO, (b"k",), (b"%d" % number,)), range(400)))

    assert heard == [b"%d" % number for number in range(400)]


def test_error_of_a_script_is_one_sentence_and_the_line_goes_on(line: Line) -> None:
    with pytest.raises(StateError, match=r"redis://127.0.0.1:\d+/0 can't be used"):
        line.call(BROKEN, (b"k",), ())

    assert line.call(ECHO, (b"k",), (b"a",)) == b"a"


def test_refused_socket_is_not_used(line: Line, greeter: Greeter) -> None:
    greeter.refuses = True
    with pytest.raises(StateError, match="not this one"):
        line.call(ECHO, (b"k",), (b"a",))
    greeter.refuses = False

    assert line.call(ECHO, (b"k",), (b"a",)) == b"a"


def test_sockets_of_a_server_that_went_away_are_weeded_out(
    line: Line, greeter: Greeter, mortal_redis: RedisServer
) -> None:
    line.call(ECHO, (b"k",), (b"a",))
    mortal_redis.restart()

    assert line.call(ECHO, (b"k",), (b"a",)) == b"a"
    assert greeter.seen == 2


def test_server_that_does_not_answer_is_given_up_within_two_seconds(line: Line, mortal_redis: RedisServer) -> None:
    line.call(ECHO, (b"k",), (b"a",))
    mortal_redis.freeze()
    begun = time.monotonic()

    with pytest.raises(StateError, match="did not answer in time"):
        line.call(ECHO, (b"k",), (b"a",))
    with pytest.raises(StateError):
        line.call(ECHO, (b"k",), (b"a",))

    assert time.monotonic() - begun < 2.0
    mortal_redis.thaw()


def test_closed_line_is_closed(line: Line) -> None:
    line.close()

    with pytest.raises(StateError, match="is closed"):
        line.call(ECHO, (b"k",), (b"a",))
