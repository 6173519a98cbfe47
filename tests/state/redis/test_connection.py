"""The Redis database beneath the stores: short waits, nothing sent twice, and a sentence that holds no secret."""

from __future__ import annotations

import os
import socketserver
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from crew_moe.errors import InvalidInput, MissingExtra, StateError
from crew_moe.state.redis.connection import SILENCE_S, Connection, Script
from tests.redis_server import RedisServer
from tests.waiting import until

ECHO = Script("return {KEYS[1], ARGV[1]}")


@pytest.fixture
def connection(redis_url: str) -> Iterator[Connection]:
    opened = Connection(redis_url)
    yield opened
    opened.close()


@pytest.fixture
def mortal(mortal_redis: RedisServer) -> Iterator[Connection]:
    opened = Connection(mortal_redis.url)
    yield opened
    opened.close()


@pytest.fixture
def forgetful() -> Iterator[tuple[str, list[bytes]]]:
    """The URL of a server that takes INCR and hangs up without an answer, and the commands that it saw."""
    seen: list[bytes] = []

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for count in self.rfile:  # *2, then $4, INCR, $5, count
                words = [(self.rfile.readline(), self.rfile.readline())[1].strip() for _ in range(int(count[1:]))]
                seen.append(words[0])
                if words[0] == b"INCR":
                    return
                self.wfile.write(b"+OK\r\n")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
    server.daemon_threads = True  # so that closing does not wait for open sessions
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"redis://127.0.0.1:{server.server_address[1]}/0", seen
    server.shutdown()
    server.server_close()
    thread.join()


def _answers(connection: Connection) -> bool:
    try:
        return bool(connection.execute("PING"))
    except StateError:
        return False


@pytest.mark.parametrize("text", ["", "Zoë", "a\r\nb", "\ud800", "\0"])
def test_any_text_survives_the_way(connection: Connection, text: str) -> None:
    connection.execute("SET", "key", text)

    assert connection.execute("GET", "key") == text


def test_script_is_sent_again_to_a_server_that_forgot_it(connection: Connection) -> None:
    for _ in range(2):
        assert connection.run(ECHO, ["key"], ["value"]) == ["key", "value"]
        connection.execute("SCRIPT", "FLUSH")

    assert connection.run(ECHO, ["key"], [0.1]) == ["key", "0.1"]


def test_failing_script_is_one_clear_error(connection: Connection) -> None:
    with pytest.raises(StateError, match=r"redis://127\.0\.0\.1:\d+/0 can't be used: .*spoilt"):
        connection.run(Script("return redis.error_reply('spoilt')"), [])


def test_lost_server_is_said_at_once_and_used_again_when_it_is_back(
    mortal_redis: RedisServer, mortal: Connection
) -> None:
    mortal.execute("SET", "key", "kept")
    mortal_redis.kill()

    with pytest.raises(StateError, match=r"can't be used: .*refused"):
        mortal.execute("GET", "key")
    with pytest.raises(StateError, match="refused"):
        Connection(mortal_redis.url)
    mortal_redis.start()

    assert mortal.execute("GET", "key") == "kept"
    assert mortal.run(ECHO, ["key"], ["value"]) == ["key", "value"]


def test_server_that_hangs_is_waited_for_once(mortal_redis: RedisServer, mortal: Connection) -> None:
    mortal_redis.freeze()
    with pytest.raises(StateError, match="did not answer in time"):
        mortal.execute("PING")
    began = time.monotonic()

    with pytest.raises(StateError, match="a moment ago"):
        mortal.execute("PING")

    assert time.monotonic() - began < SILENCE_S
    mortal_redis.thaw()
    until(lambda: _answers(mortal))


def test_command_whose_answer_is_lost_is_not_sent_again(forgetful: tuple[str, list[bytes]]) -> None:
    url, seen = forgetful
    connection = Connection(url)

    with pytest.raises(StateError, match="closed"):
        connection.execute("INCR", "count")

    assert seen.count(b"INCR") == 1
    connection.close()


def test_password_is_used_and_never_shown(mortal_redis: RedisServer) -> None:
    mortal_redis.ask("CONFIG", "SET", "requirepass", "sesame")
    host = mortal_redis.url.removeprefix("redis://")
    Connection(f"redis://:sesame@{host}").close()

    for secret in ("", ":hunter2@", "ali:hunter2@"):
        with pytest.raises(StateError) as caught:
            Connection(f"redis://{secret}{host}")
        assert "hunter2" not in str(caught.value)
        assert mortal_redis.url in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis:///0",
        "redis://:hunter2/x@host",
        "redis://host:port",
        "redis://ali:hunter2@host/zero",
        "redis://host/0#hunter2",
        "redis://[hunter2",
        "redis://localhost" + "o" * 64,
        "unix:///tmp/hunter2",
    ],
)
def test_url_that_names_no_database_is_refused_unrepeated(url: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"names no Redis database; allowed: redis://user:password@host:6379/0"
    ) as caught:
        Connection(url)

    assert "hunter2" not in str(caught.value)


def test_unknown_option_is_refused_with_the_closest() -> None:
    with pytest.raises(InvalidInput, match="'ssl_ca_cert' in the URL; did you mean 'ssl_ca_certs'"):
        Connection("rediss://host/0?ssl_ca_cert=ca.pem")
    with pytest.raises(InvalidInput, match="unknown option 'db'"):
        Connection("redis://host/0?db=1")


def test_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(MissingExtra, match=r"pip install 'crew-moe\[redis\]'"):
        Connection("redis://localhost")


def test_closed_connection_says_so(connection: Connection) -> None:
    connection.close()
    connection.close()

    with pytest.raises(StateError, match="is closed"):
        connection.execute("PING")


def test_forked_child_begins_with_a_client_of_its_own(connection: Connection) -> None:
    parents, client = connection.execute("CLIENT", "ID"), connection._client
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        other = connection._client is not client and connection.execute("CLIENT", "ID") != parents
        os.write(writer, b"other" if other else b"same")
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reader, 5) == b"other"
    assert connection.execute("CLIENT", "ID") == parents
    os.close(reader)
    os.close(writer)
