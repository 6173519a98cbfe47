"""Hosts are loaded when they are needed, once, and go when others need the memory."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue
from random import Random

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import HostHealth, Loaded, Trouble
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts import HostPool
from crew_moe.ports import Host
from tests.local_gate.hosts.blocks import MIB, Block, Blocks

THREADS = 8


def test_nothing_is_loaded_before_it_is_used() -> None:
    blocks = Blocks({"a": 10, "b": 10})

    blocks.pool.health()

    assert blocks.memory.loads == []
    assert blocks.ask("a")
    assert blocks.loaded() == {"a"}


def test_many_who_come_at_once_wait_for_one_load() -> None:
    blocks = Blocks({"a": 10})
    blocks.memory.held.clear()
    with ThreadPoolExecutor(THREADS) as threads:
        asked = [threads.submit(blocks.ask, "a") for _ in range(THREADS)]
        assert blocks.memory.loading.wait(10)
        assert blocks.pool.health()["a"].state is Loaded.LOADING
        blocks.memory.held.set()

        assert {one.result(10) for one in asked} == {"v1"}

    assert blocks.memory.loads == ["a"]


def test_longest_unused_goes_first_when_memory_is_short() -> None:
    blocks = Blocks({"a": 40, "b": 40, "c": 40})
    for name in ("a", "b", "a", "c"):
        blocks.ask(name)

    assert blocks.loaded() == {"a", "c"}
    assert blocks.memory.peak <= 100


def test_evicted_host_is_loaded_again_when_it_is_asked() -> None:
    blocks = Blocks({"a": 60, "b": 60})
    for name in ("a", "b", "a"):
        assert blocks.ask(name)

    assert blocks.memory.loads == ["a", "b", "a"]
    assert blocks.memory.peak == 60


def test_host_in_use_is_never_evicted() -> None:
    blocks = Blocks({"a": 60, "b": 60})

    with blocks.pool.use("a"):
        assert blocks.trouble("b") is Trouble.OUT_OF_MEMORY

    assert blocks.memory.unloads == []


def test_memory_of_a_host_that_is_being_loaded_is_taken() -> None:
    blocks = Blocks({"a": 60, "b": 60})
    blocks.memory.held.clear()
    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(blocks.ask, "a")
        assert blocks.memory.loading.wait(10)
        try:
            assert blocks.trouble("b") is Trouble.OUT_OF_MEMORY
        finally:
            blocks.memory.held.set()

    assert loading.result(10)


def test_load_waits_for_memory_that_is_in_use() -> None:
    blocks = Blocks({"a": 60, "b": 60}, patience_s=10)
    with ThreadPoolExecutor(1) as threads:
        with blocks.pool.use("a"):
            waiting = threads.submit(blocks.ask, "b")
        assert waiting.result(10)

    assert blocks.memory.unloads == ["a"]


def test_load_waits_for_memory_no_longer_than_it_may_whatever_others_do() -> None:
    blocks = Blocks({"a": 60, "b": 60, "busy": 0}, patience_s=0.05)
    with ThreadPoolExecutor(1) as threads, blocks.pool.use("a"):
        waiting = threads.submit(blocks.trouble, "b")
        for _ in range(300):  # each of them tells the pool that something has changed
            blocks.ask("busy")
            wait([waiting], 0.01)
            if waiting.done():
                break
        else:
            pytest.fail("it waits as long as others come")

    assert waiting.result(10) is Trouble.OUT_OF_MEMORY


@pytest.mark.parametrize("told", [True, False])
def test_model_larger_than_the_limit_is_refused_and_the_others_stay(told: bool) -> None:
    blocks = Blocks({"a": 50, "giant": 101}, told=told)
    blocks.ask("a")

    with pytest.raises(HostFailed, match=r"'giant' takes 101 MiB.* 100 MiB") as refused, blocks.pool.use("giant"):
        pass

    assert refused.value.trouble is Trouble.OUT_OF_MEMORY
    assert blocks.loaded() == {"a"}
    assert blocks.memory.used == 50


def test_size_that_only_loading_tells_makes_others_go() -> None:
    blocks = Blocks({"a": 60, "b": 60}, told=False)

    blocks.ask("a")
    blocks.ask("b")

    assert blocks.loaded() == {"b"}


def test_host_without_weights_never_goes() -> None:
    blocks = Blocks({"light": 0, "a": 60, "b": 60})
    for name in ("light", "a", "b"):
        blocks.ask(name)

    assert blocks.loaded() == {"light", "b"}


def test_failed_load_is_not_tried_again_before_a_pause_that_doubles() -> None:
    blocks = Blocks({"a": 10})
    blocks.memory.broken.add("a")
    tries = []
    for _ in range(4):
        assert blocks.trouble("a") is Trouble.BAD_WEIGHTS
        blocks.clock.advance(1.0)
        tries.append(len(blocks.memory.loads))

    assert tries == [1, 2, 2, 3]  # after 0 s, 1 s, not after 2 s, after 3 s


def test_host_that_could_not_be_loaded_says_why_and_comes_back() -> None:
    blocks = Blocks({"a": 10})
    blocks.memory.broken.add("a")
    assert blocks.trouble("a")
    health = blocks.pool.health()["a"]
    assert (health.state, health.trouble, health.what) == (Loaded.FAILED, Trouble.BAD_WEIGHTS, "broken")

    blocks.memory.broken.clear()
    blocks.clock.advance(1.0)

    assert blocks.trouble("a") is None
    assert blocks.pool.health()["a"].state is Loaded.READY


def test_reload_tries_at_once_what_could_not_be_loaded() -> None:
    blocks = Blocks({"a": 10})
    blocks.memory.broken.add("a")
    assert blocks.trouble("a")
    blocks.memory.broken.clear()

    blocks.pool.reload("a")

    assert blocks.trouble("a") is None


def test_reload_serves_the_old_until_the_new_is_ready() -> None:
    blocks = Blocks({"a": 10})
    old = blocks.ask("a")
    blocks.memory.held.clear()
    blocks.memory.loading.clear()
    with ThreadPoolExecutor(1) as threads:
        reloading = threads.submit(blocks.pool.reload, "a")
        assert blocks.memory.loading.wait(10)
        assert blocks.ask("a") == old
        blocks.memory.held.set()
        reloading.result(10)

    assert blocks.ask("a") != old
    assert blocks.memory.used == 10


def test_old_host_goes_with_its_last_user() -> None:
    blocks = Blocks({"a": 10})
    with blocks.pool.use("a") as old:
        blocks.pool.reload("a")
        assert blocks.memory.unloads == []
        assert old.version == "v1"

    assert blocks.memory.unloads == ["a"]


def test_reload_that_fails_leaves_the_old_one() -> None:
    blocks = Blocks({"a": 10})
    old = blocks.ask("a")
    blocks.memory.broken.add("a")

    with pytest.raises(HostFailed, match="broken"):
        blocks.pool.reload("a")

    assert blocks.ask("a") == old
    assert blocks.pool.health()["a"].state is Loaded.READY


def test_reload_drops_no_call() -> None:
    blocks = Blocks({"a": 10})
    done = threading.Event()

    answers: SimpleQueue[str] = SimpleQueue()

    def hammer() -> None:
        while not done.is_set():
            answers.put(blocks.ask("a"))  # an unloaded host would refuse

    with ThreadPoolExecutor(THREADS) as threads:
        hammering = [threads.submit(hammer) for _ in range(THREADS)]
        for version in range(2, 22):
            assert answers.get(timeout=10)
            blocks.pool.reload("a")
            while answers.get(timeout=10) != f"v{version}":
                pass
        done.set()
        for one in hammering:
            one.result(10)

    assert blocks.memory.used == 10
    assert blocks.memory.unloads == ["a"] * 20


def test_memory_stays_under_its_limit_whoever_comes() -> None:
    blocks = Blocks({"a": 30, "b": 40, "c": 50, "d": 60, "e": 0}, patience_s=10)

    def come(seed: int) -> None:
        rng = Random(seed)
        for _ in range(60):
            blocks.ask(rng.choice("abcde"))

    with ThreadPoolExecutor(THREADS) as threads:
        for one in [threads.submit(come, seed) for seed in range(THREADS)]:
            one.result(60)

    assert blocks.memory.peak <= 100
    assert blocks.memory.used == sum(blocks.sizes[name] for name in blocks.loaded())


def test_error_of_a_user_gives_the_host_back() -> None:
    blocks = Blocks({"a": 60, "b": 60})

    with pytest.raises(ZeroDivisionError), blocks.pool.use("a"):
        _ = 1 / 0

    assert blocks.trouble("b") is None


def test_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(HostFailed, match="did you mean 'byt5'"), Blocks({"byt5": 1}).pool.use("byte5"):
        pass


class Silent(Block):
    """A host of somebody's own, which can't say how it is."""

    def health(self) -> HostHealth:
        raise KeyError("state")


def test_health_of_the_others_is_told_whatever_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = Blocks({"a": 10, "silent": 10, "wrong": 10})
    made = {"silent": Silent(HostSpec(name="silent", kind=HostKind.PYTHON), blocks.memory, 10, 1)}

    def opened(spec: HostSpec) -> Host:
        if spec.name == "wrong":
            raise HostFailed(Trouble.UNAVAILABLE, "an option is wrong")
        return made.get(spec.name) or Block(spec, blocks.memory, 10, 1)

    monkeypatch.setattr(blocks.pool, "_open", opened)
    health = blocks.pool.health()

    assert [health[name].state for name in ("a", "silent", "wrong")] == [Loaded.COLD, Loaded.FAILED, Loaded.FAILED]
    assert health["wrong"].what == "an option is wrong"


def test_closed_pool_holds_nothing() -> None:
    blocks = Blocks({"a": 10, "b": 10})
    blocks.ask("a")

    with blocks.pool.use("b"):
        blocks.pool.close()
        assert blocks.memory.used == 10

    assert blocks.memory.used == 0


@pytest.mark.parametrize("again", [False, True])
def test_close_does_not_wait_for_a_load_which_leaves_nothing_behind(again: bool) -> None:
    blocks = Blocks({"a": 10})
    if again:
        blocks.ask("a")
    blocks.memory.loading.clear()
    blocks.memory.held.clear()
    with ThreadPoolExecutor(2) as threads:
        loading = threads.submit(blocks.pool.reload if again else blocks.ask, "a")
        assert blocks.memory.loading.wait(10)
        closing = threads.submit(blocks.pool.close)
        done, _ = wait([closing], 1)
        blocks.memory.held.set()
        wait([loading], 10)

    assert done == {closing}
    assert blocks.memory.used == 0
    assert blocks.trouble("a") is Trouble.UNAVAILABLE


def test_weight_files_tell_the_size_before_anything_is_loaded(tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(101 * MIB)  # a hole: it takes no room
    spec = HostSpec(name="giant", kind=HostKind.CODET5, path=tmp_path)
    pool = HostPool({"giant": spec}, 100 * MIB)

    with pytest.raises(HostFailed, match="takes 101 MiB"), pool.use("giant"):
        pass
