"""`crew-moe local serve` as its users have it: a program of its own, asked by curl, by clients and by other routers."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from crew_moe import Router, RoutingRequest
from crew_moe.domain.outcome import Completion, Piece
from tests.service.program import Program, serving

LOCAL = ("local", "serve")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The packaged configuration, on a machine that has no weights."""
    place = tmp_path_factory.mktemp("serving")
    with serving(place, "--models", str(place / "models"), command=LOCAL) as found:
        yield found


def test_a_fresh_machine_has_a_useful_answer(program: Program) -> None:
    with program.client() as client:
        health = client.get("/health").json()
        row = client.post("/process/sync", json={"text": "The pump failed. It was old. The door is red."}).json()

    assert (health["status"], health["experts"]["byt5"]["trouble"]) == ("healthy", "missing_weights")
    assert (row["expert_used"], "pump" in row["result"]) == ("extractive", True)


def test_what_has_no_weights_says_how_to_get_some(program: Program) -> None:
    with program.client() as client:
        told = client.post("/process/sync", json={"text": "x", "expert": "byt5"}).json()

    assert (told["status"], told["code"]) in [(503, "missing_weights"), (503, "missing_extra")]
    assert told["suggestions"]


def test_an_openai_client_is_answered(program: Program) -> None:
    with openai.OpenAI(base_url=f"{program.url}/v1", api_key="unused") as client:
        done = client.chat.completions.create(
            model="moe-auto", messages=[{"role": "user", "content": "What failed?\n\nThe pump failed. It is red."}]
        )

    assert "pump" in str(done.choices[0].message.content)


def test_a_router_elsewhere_reaches_it_by_its_address(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_MOE_LOCAL_URL", f"{program.url}/v1")
    request = RoutingRequest(text="What failed?\n\nThe pump failed at noon. It is red.", pii="local_only")

    with Router.from_config(state=":memory:") as router:
        done = router.complete(request)
        pieces = [piece for piece in router.stream(request) if isinstance(piece, Piece)]

    assert isinstance(done, Completion)
    assert (done.expert_id, "pump" in done.text) == ("local/auto", True)
    assert "".join(piece.text for piece in pieces) == done.text
    assert program.process.poll() is None
