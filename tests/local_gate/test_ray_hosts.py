"""Calls of replicas, which may be lost: over Ray Serve's own handles, with the deployment in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("ray", reason="ray is not installed")

from ray import serve
from ray.exceptions import ActorDiedError

from crew_moe.domain.local_work import (
    Asked,
    HostHealth,
    Loaded,
    LocalHealth,
    LocalRefusal,
    Made,
    Processed,
    Trouble,
    Work,
)
from crew_moe.errors import HostFailed, StateError
from crew_moe.local_gate.hosts import HostPool
from crew_moe.local_gate.ray_hosts import RayPool
from crew_moe.local_gate.ray_options import RayOptions
from crew_moe.local_gate.ray_replicas import Replicas, Told
from crew_moe.local_gate.ray_serving import on_ray
from crew_moe.ports import Host
from tests.local_gate.engine_hosts import plan

LOST = ActorDiedError()
NO = LocalRefusal(trouble=Trouble.OVERLOADED, what="upper: too many wait", next_steps=("wait",), retry_after_s=2.0)


class Scripted:
    """A replica that says or raises what it is told to, one thing a call; the last one holds for all that follow.

    An event is waited for.
    """

    script: list[Any]
    seen: list[tuple[Any, ...]]

    async def answer(self, call_id: str, asked: Asked) -> Any:
        self.seen.append((call_id, asked))
        said = self.next()
        return await said().wait() if said is asyncio.Event else said

    async def stream(self, asked: Asked) -> AsyncIterator[Any]:
        self.seen.append((asked,))
        for piece in self.next():
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def load(self, name: str) -> Any:
        return (
            LocalRefusal(trouble=Trouble.MISSING_WEIGHTS, what="gone")
            if name == "second"
            else Told(version="v1", takes_chats=False)
        )

    async def reload(self, name: str) -> LocalRefusal | None:
        self.seen.append((name,))
        refusal: LocalRefusal | None = self.next()
        return refusal

    async def health(self) -> LocalHealth:
        hosts = {"upper": HostHealth(name="upper", state=Loaded.READY, memory_bytes=5)}
        return LocalHealth(hosts={**hosts, "second": HostHealth(name="second", state=Loaded.COLD)})

    def next(self) -> Any:
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(said, Exception):
            raise said
        return said


def done(text: str) -> Processed:
    return Processed(result=text, expert_used="upper", confidence=1.0, processing_time_s=0.1, model_version="v2")


@pytest.fixture
def seen() -> list[tuple[Any, ...]]:
    return []


def pool_of(
    seen: list[tuple[Any, ...]], *script: Any, timeout_s: float = 30.0, replica: type[Scripted] = Scripted
) -> RayPool:
    scripted = type("Replica", (replica,), {"script": list(script), "seen": seen})
    handle = serve.run(serve.deployment(scripted).bind(), _local_testing_mode=True)
    return RayPool(plan("upper", "second"), Replicas(handle, timeout_s=timeout_s), HostPool({}, 1), concurrent=8)


@contextmanager
def upper(seen: list[tuple[Any, ...]], *script: Any) -> Iterator[Host]:
    with pool_of(seen, *script).use("upper") as host:
        yield host


def test_call_whose_replica_is_lost_is_made_once_more_under_its_id(seen: list[tuple[Any, ...]]) -> None:
    with upper(seen, LOST, done("A")) as host:
        (answer,) = host.process([Work(text="a", max_output_tokens=7)])

    assert isinstance(answer, Made)
    assert answer.text == "A"
    (first, asked), (second, again) = seen
    assert (first, asked) == (second, again)
    assert (asked.expert, dict(asked.options), asked.flexible) == ("upper", {"max_output_tokens": 7}, False)


def test_every_call_has_an_id_of_its_own(seen: list[tuple[Any, ...]]) -> None:
    with upper(seen, done("A")) as host:
        host.process([Work(text="a"), Work(text="a")])

    assert len({call_id for call_id, _ in seen}) == 2


def test_call_is_made_no_third_time(seen: list[tuple[Any, ...]]) -> None:
    with upper(seen, LOST) as host:
        (answer,) = host.process([Work(text="a")])

    assert isinstance(answer, HostFailed)
    assert (answer.trouble, len(seen)) == (Trouble.UNAVAILABLE, 2)


def test_refusal_is_told_as_a_host_tells_it(seen: list[tuple[Any, ...]]) -> None:
    with upper(seen, NO) as host:
        (answer,) = host.process([Work(text="a")])

    assert isinstance(answer, HostFailed)
    assert (answer.trouble, answer.what, answer.next_steps) == (Trouble.OVERLOADED, "too many wait", ("wait",))
    assert (answer.retry_after_s, len(seen)) == (2.0, 1)


def test_version_is_that_of_the_last_answer(seen: list[tuple[Any, ...]]) -> None:
    with upper(seen, done("A")) as host:
        before = host.version
        host.process([Work(text="a")])

    assert (before, host.version) == ("v1", "v2")


def test_call_that_takes_too_long_is_given_up(seen: list[tuple[Any, ...]]) -> None:
    with pool_of(seen, asyncio.Event, timeout_s=0.01).use("upper") as host:
        (answer,) = host.process([Work(text="a")])

    assert isinstance(answer, HostFailed)
    assert answer.trouble is Trouble.TIMEOUT


def test_call_that_nobody_waits_for_is_given_up(seen: list[tuple[Any, ...]]) -> None:
    with upper(seen, asyncio.Event) as host:
        (answer,) = host.process([Work(text="a", gone=lambda: True)])

    assert isinstance(answer, HostFailed)
    assert answer.trouble is Trouble.CANCELLED


class Together(Scripted):
    """Answers as soon as two calls are there."""

    both = asyncio.Event()

    async def answer(self, call_id: str, asked: Asked) -> Any:
        self.seen.append((call_id, asked))
        if len(self.seen) == 2:
            self.both.set()
        await self.both.wait()
        return done(asked.text.upper())


def test_calls_that_come_together_are_made_side_by_side(seen: list[tuple[Any, ...]]) -> None:
    with pool_of(seen, None, replica=Together, timeout_s=2.0).use("upper") as host:
        answers = host.process([Work(text=text) for text in "ab"])

    assert [answer.text for answer in answers if isinstance(answer, Made)] == ["A", "B"]


def test_stream_that_was_not_begun_is_begun_elsewhere(seen: list[tuple[Any, ...]]) -> None:
    with upper(seen, [LOST], ["A", "B", done("AB")]) as host:
        assert list(host.stream(Work(text="ab"))) == ["A", "B"]


def test_stream_that_was_begun_is_not_begun_again(seen: list[tuple[Any, ...]]) -> None:
    with upper(seen, ["A", LOST], ["A", "B"]) as host:
        pieces = host.stream(Work(text="ab"))
        first = next(pieces)
        with pytest.raises(HostFailed) as caught:
            next(pieces)

    assert (first, caught.value.trouble, len(seen)) == ("A", Trouble.UNAVAILABLE, 1)


def test_stream_that_is_refused_is_told(seen: list[tuple[Any, ...]]) -> None:
    with upper(seen, [NO]) as host, pytest.raises(HostFailed, match="too many wait"):
        list(host.stream(Work(text="ab")))


def test_embedding_is_a_row(seen: list[tuple[Any, ...]]) -> None:
    with upper(seen, Processed(result=(0.6, 0.8), expert_used="upper", confidence=1.0, processing_time_s=0.1)) as host:
        assert host.embed(["a", "b"]).shape == (2, 2)


def test_expert_that_no_replica_can_load_is_told(seen: list[tuple[Any, ...]]) -> None:
    with pytest.raises(HostFailed) as caught, pool_of(seen, None).use("second"):
        pass

    assert caught.value.trouble is Trouble.MISSING_WEIGHTS


def test_reload_reaches_the_replicas_and_tells_what_failed(seen: list[tuple[Any, ...]]) -> None:
    pool = pool_of(seen, None, NO)
    pool.reload("upper")

    with pytest.raises(HostFailed, match="too many wait"):
        pool.reload("upper")
    assert seen == [("upper",), ("upper",)]


def test_reload_in_the_very_moment_of_a_call_does_it_no_harm(seen: list[tuple[Any, ...]]) -> None:
    pool = pool_of(seen, done("A"))

    @contextmanager
    def reloaded_after() -> Iterator[None]:
        yield
        pool._hosts.clear()

    pool._locks["upper"] = reloaded_after()  # type: ignore[assignment]  # all that is used of a lock

    with pool.use("upper") as host:
        assert host.version == "v1"


def test_health_is_what_the_replicas_tell(seen: list[tuple[Any, ...]]) -> None:
    health = pool_of(seen, None).health()

    assert (health["upper"].state, health["upper"].memory_bytes) == (Loaded.READY, 5)
    assert health["second"].state is Loaded.COLD


def test_address_where_nothing_answers_is_told_at_once() -> None:
    there = on_ray(plan("upper"), RayOptions(address="127.0.0.1:1"))

    with pytest.raises(StateError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"), there:
        pass
