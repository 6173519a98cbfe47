"""Models of servers elsewhere, asked over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.remote import open_remote
from crew_moe.local_gate.remote.server import MAX_BODY
from crew_moe.ports import Host
from tests.local_gate.remote.servers import MAX_CHARS, ROUTES, Played, playing

KINDS = sorted(ROUTES)
CHAT = "/v1/chat/completions"
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}


@pytest.fixture
def played() -> Iterator[Played]:
    with playing(HostKind.VLLM) as played:
        yield played


def opened(played: Played, **told: object) -> Host:
    """A host of that server, loaded."""
    values = {"name": "far", "kind": played.kind, "base_url": played.url, "model": "tiny", **told}
    host = open_remote(HostSpec(**values))  # type: ignore[arg-type]  # checked by what the tests expect
    host.load()
    return host


def one(host: Host, text: str = "hello", **told: object) -> Made | HostFailed:
    (answer,) = host.process([Work(text=text, **told)])  # type: ignore[arg-type]  # as above
    return answer


def failure(answer: Made | HostFailed) -> HostFailed:
    assert isinstance(answer, HostFailed)
    return answer


@pytest.mark.parametrize("kind", KINDS)
def test_text_becomes_one_message_of_the_user(kind: HostKind) -> None:
    with playing(kind) as played:
        answer = one(opened(played), "hello")

    assert answer == Made(text="HELLO", input_tokens=5, output_tokens=1)
    assert played.asked(CHAT)[0]["messages"] == [{"role": "user", "content": "hello"}]


def test_text_goes_to_its_server_whatever_proxy_the_environment_names(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    with playing(HostKind.OPENAI) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)

        assert isinstance(one(opened(played)), Made)

    assert proxy.calls == []


def test_options_may_have_keys_of_any_kind(played: Played) -> None:
    host = opened(played, options={"logit_bias": {7: -1.0, "8": 2.0}})

    assert isinstance(one(host), Made)
    assert host.version != opened(played, options={"logit_bias": {7: -1.0, "8": 3.0}}).version


@pytest.mark.parametrize(
    ("of_chat", "of_work", "sent"), [(None, 10**9, 77), (10**9, None, 77), (50, 20, 20), (20, 50, 20), (None, None, 77)]
)
def test_no_answer_is_longer_than_the_expert_s_longest(
    played: Played, of_chat: int | None, of_work: int | None, sent: int
) -> None:
    chat = ChatRequest(messages=[{"role": "user", "content": "hello"}], max_output_tokens=of_chat)

    one(opened(played, max_output_tokens=77), max_output_tokens=of_work, chat=chat)

    assert played.asked(CHAT)[0]["max_tokens"] == sent


@pytest.mark.parametrize("kind", KINDS)
def test_whole_chat_goes_and_comes_with_its_tool_calls(kind: HostKind) -> None:
    chat = ChatRequest(
        messages=[{"role": "system", "content": "be brief"}, {"role": "user", "content": "where?"}],
        tools=[TOOL],
        tool_choice="auto",
        temperature=0.0,
        response_format={"type": "json_object"},
        stop=["END"],
    )
    with playing(kind) as played:
        answer = one(opened(played), "where?", chat=chat)
    body = played.asked(CHAT)[0]

    assert (body["tools"], body["tool_choice"], body["temperature"]) == ([TOOL], "auto", 0.0)
    assert (body["stop"], body["response_format"], len(body["messages"])) == (["END"], {"type": "json_object"}, 2)
    assert isinstance(answer, Made)
    assert answer.reply is not None
    called = {"name": "find", "arguments": json.dumps({"q": "where?"})}
    assert answer.reply.tool_calls == ({"id": "call00000", "type": "function", "function": called},)


def test_options_go_along_and_never_replace_what_is_asked(played: Played) -> None:
    host = opened(played, options={"temperature": 0.5, "top_p": 0.9, "timeout_s": 9}, max_output_tokens=77)
    one(host, options={"temperature": 0.1, "extra": {"model": "other", "messages": [], "stream": True, "guided": 1}})
    body = played.asked(CHAT)[0]

    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.1, 0.9, 77)
    assert (body["model"], body["stream"], body["guided"]) == ("tiny", False, 1)
    assert body.keys().isdisjoint({"timeout_s", "extra"})


def test_several_works_are_answered_in_their_order(played: Played) -> None:
    answers = opened(played).process([Work(text=text) for text in ("a", "b" * (MAX_CHARS + 1), "c")])

    assert [getattr(answer, "text", None) for answer in answers] == ["A", None, "C"]


def test_calls_run_side_by_side_over_one_host(played: Played) -> None:
    host = opened(played)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: one(host, f"n{n}"), range(40)))

    assert [answer.text for answer in answers if isinstance(answer, Made)] == [f"N{n}" for n in range(40)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not HostKind.TGI])
def test_embeddings_have_length_one_and_the_order_of_the_texts(kind: HostKind) -> None:
    with playing(kind) as played:
        rows = opened(played).embed(["aab", "ccc"])

    assert rows.dtype == np.float32
    assert np.allclose(rows, np.array([[2, 1, 0, 1], [0, 0, 3, 1]]) / np.array([[6**0.5], [10**0.5]]), rtol=1e-6)


@pytest.mark.parametrize(("kind", "embeds"), [(HostKind.TGI, True), (HostKind.LLAMACPP, False)])
def test_server_without_embeddings_is_not_capable(kind: HostKind, embeds: bool) -> None:
    with playing(kind, embeds=embeds) as played, pytest.raises(HostFailed) as caught:
        opened(played).embed(["a"])

    assert caught.value.trouble is Trouble.NOT_CAPABLE


@pytest.mark.parametrize("rows", ["[]", "[[1, 2], [3]]", '[["a"]]', "[[0.0, 0.0]]", "[[NaN, 1]]", "7"])
def test_embeddings_that_are_none_are_a_failure_of_the_model(rows: str) -> None:
    with playing(HostKind.OLLAMA) as played:
        played.faults["/api/embed"] = (200, f'{{"embeddings": {rows}}}'.encode(), {})
        with pytest.raises(HostFailed) as caught:
            opened(played).embed(["a"])

    assert caught.value.trouble is Trouble.MODEL_FAILED


@pytest.mark.parametrize("kind", KINDS)
def test_model_that_is_not_there_is_told_with_those_that_are(kind: HostKind) -> None:
    with playing(kind) as played, pytest.raises(HostFailed, match="no model 'huge'; it has: tiny") as caught:
        opened(played, model="huge")

    assert caught.value.trouble is Trouble.MISSING_WEIGHTS


def test_model_that_went_away_is_told_with_what_came(played: Played) -> None:
    host = opened(played)
    played.models[:] = ["newer"]

    assert failure(one(host)).trouble is Trouble.MISSING_WEIGHTS
    assert "no model 'tiny'; it has: newer" in failure(one(host)).what


@pytest.mark.parametrize("kind", KINDS)
def test_only_model_of_a_server_needs_no_name(kind: HostKind) -> None:
    with playing(kind) as played:
        assert isinstance(one(opened(played, model=None)), Made)


def test_one_of_several_models_must_be_named(played: Played) -> None:
    played.models.append("large")

    with pytest.raises(HostFailed, match="has 2 models, and none is named; it has: large, tiny"):
        opened(played, model=None)


@pytest.mark.parametrize("kind", [HostKind.OLLAMA, HostKind.SGLANG, HostKind.TGI])
def test_version_changes_with_the_weights(kind: HostKind) -> None:
    with playing(kind) as played:
        host = opened(played)
        before, played.digest = host.version, "0f00ba12"
        same = host.version
        host.health()

    assert (same == before, host.version == before, before.startswith(f"{kind}:tiny@")) == (True, False, True)


@pytest.mark.parametrize("kind", KINDS)
def test_version_stays_while_nothing_changes(kind: HostKind) -> None:
    with playing(kind) as played:
        first, second = opened(played), opened(played)

    assert first.version == second.version


def test_address_may_end_in_v1(played: Played) -> None:
    assert isinstance(one(opened(played, base_url=f"{played.url}/v1/")), Made)


def test_unloaded_host_can_be_loaded_again(played: Played) -> None:
    host = opened(played)
    host.unload()
    host.unload()
    host.load()

    assert isinstance(one(host), Made)


def test_answer_without_end_is_cut_at_the_limit(played: Played) -> None:
    host = opened(played)
    played.faults[CHAT] = (200, b" " * (MAX_BODY + 1), {})

    assert "sent more than" in failure(one(host)).what


@pytest.mark.parametrize("value", [0, -1, "soon", True, float("inf")])
def test_timeout_that_is_none_is_refused(played: Played, value: object) -> None:
    with pytest.raises(HostFailed, match="timeout_s"):
        opened(played, options={"timeout_s": value})
